"""Which parts of the face drive it, and a face placed by hand."""

from __future__ import annotations

from dataclasses import replace

from comfy_api.latest import io

from ..echomimic.landmarks.mesh import DRAWN_BY_DEFAULT, PARTS
from ..echomimic.motion.edit import select_parts
from ..echomimic.motion.parts import PRESETS, edits_from_json, preset, selection_of
from . import types
from .convert import editor_from_track

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
                types.Landmarks.Input("landmarks"),
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
                    tooltip='Parts moved by hand, as JSON: [{"part": "mouth", "time": 0.5, '
                    '"offset": [0, 0.02], "scale": 1.1, "rotation": 5}]. Time in seconds; offset '
                    "right and down in shares of the face's width; rotation in degrees. Between "
                    "two times a part moves evenly.",
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
