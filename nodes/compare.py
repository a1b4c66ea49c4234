"""Two clips → how alike they are, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from comfy_api.latest import Input, io, ui
from torch import Tensor

from ..echomimic.errors import OptionsError
from ..echomimic.evaluation.clip_comparison import compare_clips
from ..echomimic.evaluation.comparison_plot import draw_comparison
from ..echomimic.landmarks.track import LandmarkTrack
from ..echomimic.train.lpips import BACKBONES, LPIPS, read_lpips
from . import types
from .convert import frames_from_image, image_from_frames
from .files import model_folders
from .runtime import Progress
from .video_file import frame_rate, is_image, video_frames

LPIPS_FOLDER = "lpips"  # below models/echo_mimic
UNKNOWN = -1.0  # 0 is the best value of some


class EchoMimicCompare(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicCompare",
            display_name="EchoMimic Compare Clips",
            category="EchoMimic",
            description="Hold a clip against a reference, frame by frame: SSIM, PSNR, LPIPS if its "
            "files are there, and with landmarks of both how far the face and the mouth are from "
            "where they should be. Shows the frame that differs most.",
            search_aliases=[
                "echomimic metrics",
                "ssim",
                "psnr",
                "lpips",
                "landmark distance",
                "compare videos",
                "image difference",
            ],
            is_output_node=True,
            inputs=[
                io.MultiType.Input(
                    "frames", [io.Image, io.Video], tooltip="The clip that is judged."
                ),
                io.MultiType.Input(
                    "reference",
                    [io.Image, io.Video],
                    tooltip="What it should look like: the real video, or the same clip with other "
                    "settings. Brought to the clip's size, which must be of the same shape.",
                ),
                types.Landmarks.Input(
                    "landmarks", optional=True, tooltip="Of the clip, from EchoMimic Landmark "
                    "Extract; give those of the reference too.",
                ),
                types.Landmarks.Input(
                    "reference_landmarks",
                    optional=True,
                    tooltip="Of the reference; or the landmarks that drove the clip, to see how "
                    "well it follows them.",
                ),
                io.Float.Input(
                    "fps",
                    default=0.0,
                    min=0.0,
                    max=240.0,
                    step=0.01,
                    tooltip="Frames per second at which videos are read. 0: the clip's own rate.",
                ),
                io.Int.Input(
                    "width", default=1024, min=480, max=4096, tooltip="Of the plot, in pixels."
                ),
                io.Int.Input(
                    "height", default=768, min=360, max=4096, tooltip="Of the plot, in pixels."
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="plot", tooltip="The curves over time and the least alike frame."
                ),
                io.String.Output(display_name="report", tooltip="The figures in words."),
                io.Float.Output(
                    display_name="ssim", tooltip="Mean structural similarity; 1 for equal clips."
                ),
                io.Float.Output(
                    display_name="psnr", tooltip="Mean over frames in dB; 100 for equal clips."
                ),
                io.Float.Output(
                    display_name="lpips",
                    tooltip="Mean difference as people see it; 0: equal clips, -1: no files.",
                ),
                io.Float.Output(
                    display_name="landmark_error",
                    tooltip="Of the face, in distances between the eyes; -1 without landmarks.",
                ),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, frames, reference, fps, width, height, landmarks=None, reference_landmarks=None
    ) -> io.NodeOutput:
        tracks, lpips = _tracks(landmarks, reference_landmarks), _lpips()
        rate = _rate(frames, reference, fps, landmarks)
        found = compare_clips(
            _frames(frames, rate, Progress()), _frames(reference, rate), fps=rate, tracks=tracks,
            lpips=lpips,
        )  # fmt: skip
        figures = found.figures()
        numbers = [
            UNKNOWN if figures.get(name) is None else figures[name]
            for name in ("ssim", "psnr", "lpips", "landmarks_face")
        ]
        text = found.text() if lpips is not None else f"{found.text()}\n{_without_lpips()}"
        plot = image_from_frames([draw_comparison(found, (width, height))])
        shown = ui.PreviewImage(plot, cls=cls).as_dict() | ui.PreviewText(text).as_dict()
        return io.NodeOutput(plot, text, *numbers, ui=shown)


def _tracks(
    ours: LandmarkTrack | None, theirs: LandmarkTrack | None
) -> tuple[LandmarkTrack, LandmarkTrack] | None:
    if (ours is None) != (theirs is None):
        raise OptionsError(
            "Landmarks are compared with landmarks; connect both landmarks and "
            "reference_landmarks, or neither."
        )
    return None if ours is None else (ours, theirs)


def _rate(
    frames: Tensor | Input.Video,
    reference: Tensor | Input.Video,
    fps: float,
    track: LandmarkTrack | None,
) -> float | None:
    """Frames per second of both, as far as anything tells; None for pictures alone."""
    if fps > 0:
        return fps
    for source in (frames, reference):
        if not is_image(source):
            return frame_rate(source)
    return None if track is None else track.fps


def _frames(
    source: Tensor | Input.Video, rate: float | None, progress: Progress | None = None
) -> Iterator[np.ndarray]:
    if not is_image(source):
        yield from video_frames(source, rate, progress)
        return
    for number, frame in enumerate(frames_from_image(source), start=1):
        if progress is not None:
            progress(number, len(source))
        yield frame


def _lpips() -> LPIPS | None:
    """With AlexNet, as evaluations have it, of the user's files; None where there are none.

    A folder with something else raises `WeightsError`: nothing stands in for it.
    """
    for folder in model_folders():
        if (folder / LPIPS_FOLDER).is_dir():
            return read_lpips(folder / LPIPS_FOLDER, "alex")
    return None


def _without_lpips() -> str:
    place, needed = model_folders()[0] / LPIPS_FOLDER, BACKBONES["alex"]
    return (
        f"LPIPS is not computed: put torchvision's {needed.file} and LPIPS' {needed.heads} (v0.1) "
        f"into {place}."
    )
