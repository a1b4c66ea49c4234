"""Landmarks from files, into files, and as pictures to look at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import folder_paths
import numpy as np
from comfy_api.latest import io, ui
from torch import Tensor

from ..echomimic.errors import LandmarkError, OptionsError
from ..echomimic.landmarks.draw import draw_track, overlay
from ..echomimic.landmarks.pose_files import import_landmarks
from ..echomimic.landmarks.track import LandmarkTrack
from ..echomimic.landmarks.track_file import save_track
from . import types
from .convert import image_from_frames, image_from_pictures, picture_from_image
from .files import new_file, within
from .runtime import Progress

SUFFIXES = (".npz", ".npy")
FIRST_POSE = "0.pkl"  # in each directory of the official code


def landmark_files() -> list[str]:
    """Files and official directories in ComfyUI's input folder, then those in its output folder.

    Links that lead out of these folders are left out, as ComfyUI itself does not follow them.
    """
    given = _found(folder_paths.get_input_directory())
    made = _found(folder_paths.get_output_directory())
    return [*given, *(f"{name} [output]" for name in made)]


def resolve(name: str) -> Path:
    """The path of a name that is listed; raises `LandmarkError` for all others."""
    if name not in landmark_files():
        raise LandmarkError(
            f"There are no landmarks named {name!r} in ComfyUI's input and output folders; put "
            "the file there, then press R to refresh the lists."
        )
    return Path(folder_paths.get_annotated_filepath(name))


def _found(folder: str) -> list[str]:
    names = folder_paths.recursive_search(folder)[0]
    files = [name for name in names if name.endswith(SUFFIXES)]
    directories = [os.path.dirname(name) for name in names if os.path.basename(name) == FIRST_POSE]
    return sorted(
        name.replace(os.sep, "/")
        for name in [*files, *directories]
        if name and within(folder, name)
    )


class EchoMimicLandmarkLoad(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicLandmarkLoad",
            display_name="EchoMimic Landmark Load",
            category="EchoMimic/landmarks",
            description="Load the landmarks of a face: tracks that were saved here, arrays of 478 "
            "MediaPipe points, or the official directories of 0.pkl, 1.pkl, ...",
            search_aliases=["echomimic import landmarks", "pose pkl", "load landmark track"],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=landmark_files(),
                    tooltip="A .npz or .npy file, or a directory of .pkl files, in ComfyUI's "
                    "input folder or output folder.",
                ),
                io.Float.Input(
                    "fps",
                    default=24.0,
                    min=1.0,
                    max=120.0,
                    step=0.01,
                    tooltip="Frames per second of arrays and directories, which do not say it "
                    "themselves. Saved tracks keep their own.",
                ),
                io.Int.Input(
                    "width",
                    default=512,
                    min=1,
                    max=16384,
                    advanced=True,
                    tooltip="Width in pixels of the pictures that arrays and directories were "
                    "made from. The official ones: 512.",
                ),
                io.Int.Input(
                    "height",
                    default=512,
                    min=1,
                    max=16384,
                    advanced=True,
                    tooltip="Height in pixels of those pictures. The official ones: 512.",
                ),
            ],
            outputs=[
                types.Landmarks.Output(display_name="landmarks"),
                io.Float.Output(display_name="fps"),
                io.Int.Output(display_name="length", tooltip="Number of frames."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file, **_values) -> int:
        path = resolve(file)
        return max(entry.stat().st_mtime_ns for entry in (path, *path.glob("*.pkl")))

    @classmethod
    def execute(cls, file, fps, width, height) -> io.NodeOutput:
        track = import_landmarks(resolve(file), fps=fps, size=(width, height))
        return io.NodeOutput(track, track.fps, track.num_frames)


class EchoMimicLandmarkSave(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicLandmarkSave",
            display_name="EchoMimic Landmark Save",
            category="EchoMimic/landmarks",
            description="Save landmarks as an .npz file in the output folder, from where EchoMimic "
            "Landmark Load and plain numpy read them.",
            search_aliases=["echomimic export landmarks", "save landmark track"],
            is_output_node=True,
            inputs=[
                types.Landmarks.Input("landmarks", tooltip="What to save."),
                io.String.Input(
                    "filename_prefix",
                    default="landmarks/EchoMimic",
                    tooltip="Folder and start of the file name, as in Save Image.",
                ),
            ],
            outputs=[types.Landmarks.Output(display_name="landmarks", tooltip="Unchanged.")],
        )

    @classmethod
    def execute(cls, landmarks, filename_prefix) -> io.NodeOutput:
        path, subfolder = new_file(filename_prefix, "output", ".npz")
        save_track(landmarks, path)
        said = (
            f"{Path(subfolder, path.name).as_posix()}: {landmarks.num_frames} frames, "
            f"{landmarks.fps:g} fps, {path.stat().st_size / 1000:.0f} kB"
        )
        return io.NodeOutput(landmarks, ui=ui.PreviewText(said))


class EchoMimicLandmarkPreview(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicLandmarkPreview",
            display_name="EchoMimic Landmark Preview",
            category="EchoMimic/landmarks",
            description="Draw landmarks as the model sees them, over pictures or on black.",
            search_aliases=["echomimic draw landmarks", "face mesh preview"],
            inputs=[
                types.Landmarks.Input("landmarks", tooltip="What to draw."),
                io.Int.Input(
                    "first_frame", default=0, min=0, max=1_000_000, tooltip="Where to begin."
                ),
                io.Int.Input(
                    "length",
                    default=0,
                    min=0,
                    max=1_000_000,
                    tooltip="How many frames to draw. 0: all of them.",
                ),
                io.Int.Input(
                    "width",
                    default=512,
                    min=16,
                    max=8192,
                    tooltip="Width in pixels on black. A picture beneath keeps its own size.",
                ),
                io.Int.Input(
                    "height",
                    default=512,
                    min=16,
                    max=8192,
                    tooltip="Height in pixels on black. A picture beneath keeps its own size.",
                ),
                types.Portrait.Input(
                    "portrait",
                    optional=True,
                    tooltip="Beneath every frame, to see whether the landmarks sit on its face.",
                ),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="Beneath the frames instead: the frames of the video the landmarks "
                    "come from, or one picture for all. Goes before the portrait.",
                ),
            ],
            outputs=[io.Image.Output(display_name="image")],
        )

    @classmethod
    def execute(
        cls, landmarks, first_frame, length, width, height, portrait=None, image=None
    ) -> io.NodeOutput:
        frames = range(landmarks.num_frames)[first_frame:][: length or None]
        if not frames:
            raise OptionsError(
                f"The first_frame {first_frame} lies behind the end of the landmarks, which have "
                f"{landmarks.num_frames} frames; choose an earlier one."
            )
        if image is None and portrait is not None:
            image = image_from_pictures(portrait.image[None])
        return io.NodeOutput(image_from_frames(_drawn(landmarks, frames, (width, height), image)))


def _drawn(
    track: LandmarkTrack, frames: range, size: tuple[int, int], image: Tensor | None
) -> Iterator[np.ndarray]:
    """Each frame's drawing, uint8 (H, W, 3), over the picture of that frame or the last one."""
    progress = Progress()
    if image is not None:
        size = (image.shape[2], image.shape[1])
    for done, frame in enumerate(frames, start=1):
        drawing = draw_track(track, size, [frame])[0]
        if image is None:
            yield drawing
        else:
            yield overlay(picture_from_image(image[min(frame, len(image) - 1) :][:1]), drawing)
        progress(done, len(frames))
