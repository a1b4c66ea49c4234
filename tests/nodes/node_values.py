"""Values for the inputs of any node, from its schema: usual ones, extreme ones, and broken ones.

A node that is added is covered as long as its inputs are of types that are known here.
"""

import ast
import sys
from functools import cached_property

import numpy as np
import torch
from hypothesis import strategies as st
from support import ROOT

PACK = str(ROOT).replace(".", "_x_")
AUDIO_MODEL, LANDMARK_MODEL = "denoising_unet.pth", "denoising_unet_pose_acc.pth"
WHISPER = "audio_processor/whisper_tiny.pt"
# What would cost time or memory and shows nothing: most at which such an input is tried.
CAPS = {"width": 72, "height": 72, "size": 72, "length": 9, "window_batch": 2, "fps": 60.0}
FEW = {"steps": (1, 2), "num_inference_steps": (1, 2)}
PLAIN = {"INT", "FLOAT", "BOOLEAN", "STRING", "COMBO"}
IMAGES = ((1, 24, 20, 3), (3, 17, 9, 3), (1, 16, 16, 4), (2, 8, 8, 1), (0, 8, 8, 3), (1, 1, 1, 3))
MASKS = ((1, 24, 20), (24, 20), (2, 5, 5), (1, 1, 1), (0, 8, 8))
SOUNDS = ((1, 1, 1600), (1, 2, 4000), (2, 1, 100), (1, 1, 1), (1, 1, 0), (1, 9, 80), (1, 0, 5))
LATENTS = ((1, 4, 8, 8), (3, 4, 8, 8), (0, 4, 8, 8), (1, 16, 8, 8), (1, 4, 2, 8, 8), (1, 4, 1, 1))
FILLS = ("noise", "noise", "noise", "zero", "nan", "inf", "huge")
NUMBERS = (-1e9, -3, 0, 0.5, 4, 12, 40, 1e9, float("nan"), float("inf"))
TEXTS = (
    "", " ", "../out", "/etc/x", "a/../../b", "a\0b", "x" * 300, "%date%", "%width%", "~", "..",
    "a:b", "\ud800", "[]", "{}", "null", '[{"part": "mouth", "scale": NaN}]', "1,2",
    "0.3,0.4 0.6,0.4 0.5,0.6 0.4,0.7 0.6,0.7", "nan,nan nan,nan nan,nan nan,nan nan,nan",
)  # fmt: skip


def module(name):
    """A module of the pack as ComfyUI imported it."""
    return sys.modules[f"{PACK}.{name}"]


def node_ids():
    """Of all nodes, read from the source, since tests are named before ComfyUI is loaded."""
    tree = ast.parse((ROOT / "nodes/__init__.py").read_text())
    lists = [n.value for n in ast.walk(tree) if isinstance(n, ast.AnnAssign)]
    return [name.id for found in lists for name in found.elts]


def tensor(shape, fill, seed=0):
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    filled = {"zero": 0.0, "nan": torch.nan, "inf": torch.inf, "huge": 1e30}
    return noise if fill == "noise" else torch.full_like(noise, filled[fill])


def tensors(shapes):
    return st.builds(tensor, st.sampled_from(shapes), st.sampled_from(FILLS))


class World:
    """What comes over wires: made by our own nodes, once."""

    def __init__(self, pack, folder):
        self.pack, self.folder = pack, folder

    def run(self, node, *args, **values):
        return self.pack[node].execute(*args, **values).args

    @cached_property
    def models(self):
        """Outputs of the loader for a model driven by audio and one driven by landmarks."""
        names = (AUDIO_MODEL, LANDMARK_MODEL)
        return [self.run("EchoMimicModelLoader", model=name, dtype="fp32") for name in names]

    @cached_property
    def encoder(self):
        return self.run("EchoMimicAudioEncoderLoader", WHISPER)[0]

    @cached_property
    def portraits(self):
        image = tensor((1, 48, 48, 3), "noise", 1)
        box = {"x": 12, "y": 12, "width": 24, "height": 24}
        options = {"crop_ratio": 0.5, "mask_ratio": 0.1, "parity": False, "face_box": box}
        sizes = ((64, 64), (72, 64))
        return [self.run("EchoMimicPortrait", image, *size, **options)[0] for size in sizes]

    @cached_property
    def crops(self):
        image = tensor((1, 48, 40, 3), "noise", 2)
        box = {"x": 12, "y": 12, "width": 20, "height": 24}
        options = {"crop_ratio": 0.5, "feather": 0.1, "face_box": box}
        return [self.run("EchoMimicFaceCrop", image, 64, 64, **options)[2]]

    @cached_property
    def voices(self):
        sound = {"waveform": tensor((1, 1, 8000), "noise"), "sample_rate": 16_000}
        return [
            self.run("EchoMimicAudioEncode", self.encoder, sound, fps, 0, parity=False)[0]
            for fps in (10.0, 24.0)
        ]

    @cached_property
    def tracks(self):
        track = module("echomimic.landmarks.track").LandmarkTrack
        rng, size = np.random.default_rng(0), (64, 64)
        noise = rng.uniform(0.2, 0.8, (6, 478, 3))
        puppet = self.run("EchoMimicPuppet", seed=3, motion="lively", length=5, size=64)[3]
        return [
            puppet, puppet, track(noise, size, 24.0), track(noise[:1], (8, 400), 0.5),
            track(noise * 1e7, size, 1000.0), track(np.zeros((2, 478, 3)), size, 24.0),
            track(noise, size, 24.0, valid=np.zeros(6, bool)),
            track(noise, size, 24.0, parts=frozenset()),
            track(noise - 5, size, 25.0, blendshapes=np.ones((6, 52))),
        ]  # fmt: skip

    @cached_property
    def videos(self):
        from comfy_api.latest import InputImpl, Types

        path, broken = self.folder / "video.mp4", self.folder / "broken.mp4"
        frames = (tensor((3, 24, 20, 3), "noise").numpy() * 255).astype(np.uint8)
        write = module("echomimic.media.video").write_video
        write(path, frames, fps=10, num_frames=3, size=(20, 24))
        broken.write_bytes(path.read_bytes()[:600])
        parts = Types.VideoComponents(images=tensor(IMAGES[0], "noise"), audio=None, frame_rate=12)
        return [
            InputImpl.VideoFromFile(str(path)), InputImpl.VideoFromFile(str(broken)),
            InputImpl.VideoFromComponents(parts),
        ]  # fmt: skip

    @cached_property
    def _made(self):
        """Types whose values are made by nodes, and how."""
        return {
            "MODEL": lambda: [*self._of_models(0), OtherModel()],
            "ECHOMIMIC_REFERENCE_UNET": lambda: self._of_models(1),
            "ECHOMIMIC_LANDMARK_ENCODER": lambda: self._of_models(2),
            "VAE": lambda: [*self._of_models(3), OtherVAE()],
            "ECHOMIMIC_AUDIO_ENCODER": lambda: [self.encoder],
            "ECHOMIMIC_AUDIO_TRACK": lambda: self.voices,
            "ECHOMIMIC_PORTRAIT": lambda: self.portraits,
            "ECHOMIMIC_CROP": lambda: self.crops,
            "ECHOMIMIC_LANDMARKS": lambda: self.tracks,
            "VIDEO": lambda: self.videos,
        }

    def of_type(self, kind):
        """A strategy for values of ComfyUI's type `kind`, or None for a type not known here."""
        if kind in self._made:
            return st.sampled_from(self._made[kind]())
        drawn = {
            "IMAGE": tensors(IMAGES),
            "MASK": tensors(MASKS),
            "AUDIO": st.fixed_dictionaries({
                "waveform": tensors(SOUNDS).map(lambda x: x - 0.5),
                "sample_rate": st.sampled_from((16_000, 44_100, 8000, 400, 0, 192_000)),
            }),
            "LATENT": st.fixed_dictionaries({"samples": tensors(LATENTS)}),
            "BOUNDING_BOX": boxes(),
            "FACE_LANDMARKS": faces(),
        }  # fmt: skip
        return drawn.get(kind)

    def _of_models(self, index):
        audio, landmark = (outputs[index] for outputs in self.models)
        return [audio, audio, audio, landmark]

    def of_input(self, item):
        """A strategy for an input of a schema, or None if its type is not known here."""
        kind = item.get_io_type()
        if kind in PLAIN:
            return widget(item, kind)
        known = [self.of_type(name) for name in kind.split(",")]
        known = [strategy for strategy in known if strategy is not None]
        return st.one_of(known) if known else None

    def usual(self, name, **changes):
        """One set of values that a node works with; None if it needs a type not known here."""
        inputs = [item for item in self.pack[name].GET_SCHEMA().inputs if not item.optional]
        found = {item.id: self._usual(item) for item in inputs if item.id not in changes}
        return None if any(value is None for value in found.values()) else found | changes

    def _usual(self, item):
        kind = item.get_io_type().split(",")[0]
        if kind == "COMBO":
            return item.default or item.options[0]
        if kind in PLAIN:
            return FEW.get(item.id, [item.default])[0]
        simple = {
            "IMAGE": tensor(IMAGES[0], "noise"),
            "MASK": tensor(MASKS[0], "noise"),
            "AUDIO": {"waveform": tensor(SOUNDS[0], "noise"), "sample_rate": 16_000},
            "LATENT": {"samples": tensor(LATENTS[0], "noise")},
        }
        if kind in simple or kind not in self._made:
            return simple.get(kind)
        return self._made[kind]()[0]

    def of_node(self, name):
        """A strategy for all values of a node; the types of required inputs not known here."""
        inputs = self.pack[name].GET_SCHEMA().inputs
        found = {item.id: self.of_input(item) for item in inputs}
        optional = {item.id for item in inputs if item.optional}
        unknown = [i.get_io_type() for i in inputs if not i.optional and found[i.id] is None]
        known = {key: value for key, value in found.items() if value is not None}
        required = {key: value for key, value in known.items() if key not in optional}
        more = {key: value for key, value in known.items() if key in optional}
        return None if unknown else st.fixed_dictionaries(required, optional=more), unknown


class OtherModel:
    """A MODEL of another family."""

    model = torch.nn.Identity()
    load_device = offload_device = torch.device("cpu")


class OtherVAE:
    """A VAE of another family."""

    latent_channels, latent_dim = 16, 3


def widget(item, kind):
    """What ComfyUI lets through for a widget; it compares with min and max, which NaN passes."""
    if item.id in FEW:
        return st.sampled_from(FEW[item.id])
    if kind == "BOOLEAN":
        return st.booleans()
    if kind == "COMBO":
        return st.sampled_from(list(item.options) or [""])
    if kind == "STRING":
        return st.one_of(st.just(item.default or ""), st.sampled_from(TEXTS), st.text(max_size=12))
    most = max(item.min, min(item.max, CAPS.get(item.id, item.max)))
    usual = [value for value in (item.min, item.default, most) if item.min <= value <= most]
    if kind == "INT":
        return st.one_of(st.sampled_from(usual), st.integers(item.min, most))
    return st.one_of(st.sampled_from([*usual, float("nan")]), st.floats(item.min, most))


def boxes():
    number = st.sampled_from(NUMBERS)
    box = st.fixed_dictionaries({key: number for key in ("x", "y", "width", "height")})
    likely = st.just({"x": 4, "y": 4, "width": 9, "height": 9})
    odd = st.sampled_from(({}, {"x": 1}, [], [[]], [[], [{}]]))
    return st.one_of(
        likely, box, st.lists(box, max_size=2), st.lists(st.lists(box), max_size=2), odd
    )


def faces():
    """As ComfyUI's own detector gives them; (height, width), points in pixels."""
    points = st.sampled_from([tensor((478, 3), fill).numpy() * 20 for fill in FILLS])
    face = st.builds(
        lambda flat, deep: {"landmarks_xy": flat[:, :2], "landmarks_3d": deep, "blendshapes": {}},
        points, points,
    )  # fmt: skip
    return st.fixed_dictionaries({
        "image_size": st.sampled_from(((24, 20), (24, 20), (1, 1), (0, 0))),
        "frames": st.lists(st.lists(face, max_size=2), max_size=3),
    })  # fmt: skip
