"""Which parts of the face drive it, and a face placed by hand."""

from __future__ import annotations

from dataclasses import replace

from comfy_api.latest import io, ui

from ..echomimic.errors import WeightsError
from ..echomimic.landmarks.mesh import DRAWN_BY_DEFAULT, PARTS
from ..echomimic.landmarks.metric import find_canonical
from ..echomimic.motion.edit import select_parts
from ..echomimic.motion.parts import PRESETS, edits_from_json, preset, selection_of
from ..echomimic.motion.place import place_face, points_from_text
from . import files, types
from .convert import editor_from_track, image_from_pictures

CUSTOM = "custom"
MOST_SHOWN = 240  # frames handed to the editor


def _gain_input(name: str, what: str) -> io.Float.Input:
    return io.Float.Input(
        name,
        default=1.0,
        min=0.0,
        max=2.0,
        step=0.05,
        advanced=True,
        tooltip=f"How strongly {what} moves: 0 rests, 1 as in the landmarks, 2 twice as much.",
    )


class EchoMimicPartSelection(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicPartSelection",
            display_name="EchoMimic Part Selection",
            category="EchoMimic/landmarks",
            description="Choose which parts of the face the landmarks drive, how strongly, and "
            "move them by hand. The rest is left to the voice.",
            search_aliases=["echomimic landmark editor", "facial parts", "expression gain"],
            is_output_node=True,  # so that the editor can be filled without a sampler
            inputs=[
                types.Landmarks.Input(
                    "landmarks",
                    tooltip="On the portrait's face, from EchoMimic Motion Sync or Blink & Gaze.",
                ),
                io.Combo.Input(
                    "preset",
                    options=[*PRESETS, CUSTOM],
                    default="all but mouth",
                    tooltip="What drives: 'all but mouth' leaves the mouth to the voice, 'head "
                    "pose only' holds the expression still. 'custom' goes by the switches below.",
                ),
                *(
                    io.Boolean.Input(
                        part,
                        default=part in DRAWN_BY_DEFAULT,
                        tooltip="Whether the landmarks drive this part; counts with 'custom'.",
                    )
                    for part in PARTS
                ),
                *(_gain_input(f"{part}_gain", "this part") for part in PARTS),
                _gain_input("head_gain", "the head"),
                io.String.Input(
                    "edits",
                    default="",
                    multiline=True,
                    tooltip="Parts moved by hand, as a JSON list whose objects have part (mouth, "
                    "for example), time in seconds, offset (a list: right and down, in shares of "
                    "the face's width), scale and rotation in degrees. Between two times a part "
                    "moves evenly.",
                ),
            ],
            outputs=[
                types.Landmarks.Output(
                    display_name="landmarks", tooltip="For EchoMimic Sampler, or another edit."
                )
            ],
        )

    @classmethod
    def execute(cls, landmarks, preset, head_gain, edits, **parts) -> io.NodeOutput:
        selection = _selection(preset, parts)
        selection = replace(selection, head_gain=head_gain).with_edits(edits_from_json(edits))
        selected = select_parts(landmarks, selection)
        editor = editor_from_track(selected, MOST_SHOWN)
        return io.NodeOutput(selected, ui={"echomimic_landmarks": [editor]})


def _selection(name: str, widgets: dict[str, bool | float]):
    chosen = (
        selection_of(part for part in PARTS if widgets[part]) if name == CUSTOM else preset(name)
    )
    return chosen.with_gains({part: widgets[f"{part}_gain"] for part in PARTS})


class EchoMimicPlaceFace(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicPlaceFace",
            display_name="EchoMimic Place Face",
            category="EchoMimic/landmarks",
            description="Put a face on a portrait in which none is found, such as a painting or a "
            "cartoon: set both eyes, the tip of the nose and the corners of the mouth.",
            search_aliases=["echomimic face by hand", "cartoon face", "painting face"],
            is_output_node=True,  # so that the points can be set on the picture
            inputs=[
                types.Portrait.Input(
                    "portrait", tooltip="Whose face it is; from EchoMimic Portrait."
                ),
                io.String.Input(
                    "points",
                    default="0.35,0.42 0.65,0.42 0.5,0.58 0.38,0.72 0.62,0.72",
                    tooltip="Eye, eye, tip of the nose, mouth corner, mouth corner, each pair "
                    "from left to right in the portrait's crop: x,y in 0..1 of its width and "
                    "height. Drag them in the picture after the first run.",
                ),
            ],
            outputs=[
                types.Landmarks.Output(
                    display_name="landmarks",
                    tooltip="The portrait's face, for EchoMimic Motion Sync or Blink & Gaze.",
                )
            ],
        )

    @classmethod
    def execute(cls, portrait, points) -> io.NodeOutput:
        canonical = find_canonical(files.landmarker_folders())
        if canonical is None:
            raise WeightsError(
                "Placing a face needs the average face in face_landmarker.task; put that file "
                f"into {files.landmarker_folders()[0]}."
            )
        handles = points_from_text(points)  # (5, 2)
        face = place_face(handles, portrait.crop.size, canonical)
        editor = {
            **_saved_crop(portrait, cls),
            **editor_from_track(face, 1),
            "handles": handles.tolist(),
        }
        return io.NodeOutput(face, ui={"echomimic_face": [editor]})


def _saved_crop(portrait, node) -> dict[str, str]:
    """The crop as a file in ComfyUI's temp folder: its name, subfolder and type."""
    picture = image_from_pictures(portrait.image[None]).cpu()
    [saved] = ui.ImageSaveHelper.save_images(
        picture, "echomimic_face", io.FolderType.temp, cls=node, compress_level=1
    )
    return {key: str(saved[key]) for key in ("filename", "subfolder")} | {"type": "temp"}
