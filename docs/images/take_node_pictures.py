"""Takes the pictures of nodes for the help pages, js/docs/images, in a graph that has run.

    COMFYUI_PATH=~/comfy/ComfyUI ECHOMIMIC_PLAYWRIGHT=FOLDER ECHOMIMIC_INPUTS=FOLDER \\
        python docs/images/take_node_pictures.py

Arguments are names of pictures, else all are taken. Needs what the tests in a browser need
(`tests/nodes/page.py`), and the face landmarker in the folder `models` of the inputs.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from make_help_images import ALL_PARTS, FOLDER
from page_pictures import Server, comfyui, photograph, save_small
from PIL import Image
from support import inputs_dir

from echomimic.landmarks.track_file import save_track
from echomimic.puppets.clip import PuppetClip
from echomimic.puppets.identity import EXAMPLE_SEED

FACE_POINTS = "0.374,0.472 0.626,0.472 0.5,0.585 0.385,0.735 0.615,0.735"  # in the example portrait
COLOURS, LARGEST = 224, 60_000  # of a picture, and bytes of its file
LANDMARKER = "face_landmarker_v2_with_blendshapes.task"  # EchoMimic Place Face needs it
MINI, STEPS, FRAMES, CFG = "mini (built in)", 8, 12, 1.5
PHOTO, SIDE, CORNER = (448, 320), 256, (160, 64)  # pixels: a photo, and the portrait in it
TRACK_FRAMES = 50


def nodes_of(*loader: str) -> dict:
    """The inputs of these names from the loader."""
    names = ("model", "reference_unet", "landmark_encoder", "vae")
    return {name: ("loader", names.index(name)) for name in loader or names}


VOICE = {"audio_track": ("encode", 0)}
FACE = {"x": CORNER[0] + SIDE // 4, "y": CORNER[1] + SIDE // 4, "width": SIDE // 2}
SIZE = {"width": 128, "height": 128}
SAMPLING = {"seed": 420, "steps": STEPS, "cfg": CFG}
GRAPH = {  # name → kind and inputs; a pair is a link: name of the node, number of its output
    "loader": ("EchoMimicModelLoader", {"model": MINI}),
    "hearer": ("EchoMimicAudioEncoderLoader", {"audio_encoder": MINI}),
    "example": ("EchoMimicExampleInputs", {}),
    "portrait": (
        "EchoMimicPortrait",
        {"image": ("example", 0), "face_box": ("example", 1), **SIZE},
    ),
    "encode": (
        "EchoMimicAudioEncode",
        {"audio_encoder": ("hearer", 0), "audio": ("example", 2), "fps": 25.0, "length": FRAMES},
    ),
    "whole": (
        "EchoMimicAudioEncode",
        {"audio_encoder": ("hearer", 0), "audio": ("example", 2), "fps": 25.0},
    ),
    "sound": ("PreviewAudio", {"audio": ("whole", 1)}),
    "frames": ("PreviewAny", {"source": ("whole", 2)}),
    "conditioning": ("EchoMimicConditioning", nodes_of() | {"portrait": ("portrait", 0)} | VOICE),
    "windows": ("EchoMimicContextWindows", nodes_of("model")),
    "ksampler": (
        "KSampler",
        {
            "model": ("windows", 0), "positive": ("conditioning", 0),
            "negative": ("conditioning", 1), "latent_image": ("conditioning", 2),
            "sampler_name": "euler", "scheduler": "simple", **SAMPLING,
        },
    ),
    "noise": ("EchoMimicNoise", nodes_of("model")),
    "guider": (
        "CFGGuider",
        {
            "model": ("windows", 0), "positive": ("conditioning", 0),
            "negative": ("conditioning", 1), "cfg": CFG,
        },
    ),
    "method": ("KSamplerSelect", {"sampler_name": "euler"}),
    "sigmas": ("BasicScheduler", {"scheduler": "simple", "steps": STEPS} | nodes_of("model")),
    "advanced": (
        "SamplerCustomAdvanced",
        {
            "noise": ("noise", 0), "guider": ("guider", 0), "sampler": ("method", 0),
            "sigmas": ("sigmas", 0), "latent_image": ("conditioning", 2),
        },
    ),
    "load": ("EchoMimicLandmarkLoad", {"file": "driver.npz"}),
    "loaded": (
        "EchoMimicLandmarkPreview",
        {"landmarks": ("load", 0), "first_frame": 20, "length": 1, "width": SIDE, "height": SIDE},
    ),
    "seen": ("PreviewImage", {"images": ("loaded", 0)}),
    "save": ("EchoMimicLandmarkSave", {"landmarks": ("example", 3)}),
    "smooth": ("EchoMimicLandmarkSmooth", {"landmarks": ("load", 0)}),
    "retime": (
        "EchoMimicLandmarkRetime",
        {"landmarks": ("smooth", 0), "fps": 25.0, "length": 100, "end": "ping_pong"},
    ),
    "retimed": ("PreviewAny", {"source": ("retime", 2)}),
    "long": (
        "EchoMimicLongRender",
        nodes_of() | VOICE | SAMPLING | {"portrait": ("portrait", 0), "audio": ("encode", 1)},
    ),
    "photo": ("LoadImage", {"image": "photo.png"}),
    "box": ("PrimitiveBoundingBox", FACE | {"height": SIDE // 2}),
    "cut": (
        "EchoMimicPortrait",
        {"image": ("photo", 0), "face_box": ("box", 0), "mask_ratio": 0.5, **SIZE},
    ),
    "sampler": (
        "EchoMimicSampler",
        nodes_of() | VOICE | SAMPLING | {"portrait": ("cut", 0)},
    ),
    "paste": (
        "EchoMimicPasteBack",
        {
            "face": ("sampler", 0), "original": ("photo", 0), "crop": ("cut", 0), "fps": 25.0,
            "audio": ("encode", 1), **nodes_of("vae"),
        },
    ),
    "place": ("EchoMimicPlaceFace", {"portrait": ("portrait", 0), "points": FACE_POINTS}),
    "placed": (
        "EchoMimicLandmarkPreview",
        {"landmarks": ("place", 0), "portrait": ("portrait", 0)},
    ),
    "drawn": ("PreviewImage", {"images": ("placed", 0)}),
    "plan": (
        "EchoMimicPlan",
        nodes_of("model", "vae") | {"portrait": ("portrait", 0), "audio_track": ("whole", 0)},
    ),
    "said": ("PreviewAny", {"source": ("plan", 0)}),
}  # fmt: skip
PICTURES = {  # name → columns of nodes that it shows
    "model_loader": (("loader",), ("conditioning",)),
    "audio_encoder_loader": (("hearer",), ("whole",)),
    "audio_encode": (("whole",), ("sound", "frames")),
    "conditioning": (("conditioning",), ("ksampler",)),
    "context_windows": (("windows",), ("ksampler",)),
    "noise": (("noise", "guider"), ("advanced",)),
    "landmark_load": (("load", "loaded"), ("seen",)),
    "landmark_save": (("example",), ("save",)),
    "landmark_smooth": (("load",), ("smooth",)),
    "landmark_retime": (("retime",), ("retimed",)),
    "long_render": (("long",),),
    "paste_back": (("photo",), ("paste",)),
    "place_face": (("place",), ("drawn",)),
    "plan": (("plan",), ("said",)),
}
HEIGHTS = {"said": 330}  # pixels, of nodes that show more than they have room for
NUMBERS = {name: str(number) for number, name in enumerate(GRAPH, 1)}


def api_format() -> dict:
    """The graph as ComfyUI takes it."""

    def value(given: object) -> object:
        return [NUMBERS[given[0]], given[1]] if isinstance(given, tuple) else given

    return {
        NUMBERS[name]: {"class_type": kind, "inputs": {k: value(v) for k, v in inputs.items()}}
        for name, (kind, inputs) in GRAPH.items()
    }


def write_inputs(base: Path) -> None:
    """A photo with a person in it, a track to load, and the landmarker."""
    clip = PuppetClip(EXAMPLE_SEED, TRACK_FRAMES, 25.0, "lively")
    person = clip.portrait(SIDE)
    photo = Image.new("RGB", PHOTO, tuple(int(value) for value in person[4, 4]))
    photo.paste(Image.fromarray(np.asarray(person)), CORNER)
    photo.save(base / "input/photo.png")
    save_track(replace(clip.track(SIDE), parts=ALL_PARTS), base / "input/driver.npz")
    models = base / "models/echo_mimic"
    models.mkdir(parents=True, exist_ok=True)
    shutil.copy((inputs_dir() or Path()) / "models" / LANDMARKER, models)


def take(browser: dict, server: Server, names: list[str], folder: Path) -> None:
    """Run the graph once and take these pictures into the folder."""
    shots = {
        str(folder / f"{name}.png"): [[NUMBERS[node] for node in column] for column in columns]
        for name, columns in PICTURES.items()
        if name in names
    }
    heights = {NUMBERS[name]: height for name, height in HEIGHTS.items()}
    setup = {"graph": api_format(), "heights": heights, "shots": shots}
    photograph(browser, server, "take_node_pictures.mjs", "vue", **setup)


def main() -> None:
    names = sys.argv[1:] or list(PICTURES)
    with comfyui() as (browser, server), tempfile.TemporaryDirectory() as folder:
        write_inputs(server.base)
        take(browser, server, names, Path(folder))
        for name in names:
            save_small(Path(folder, f"{name}.png"), FOLDER / f"{name}.png", COLOURS, LARGEST)


if __name__ == "__main__":
    main()
