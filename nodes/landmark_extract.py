"""Video, pictures or the faces of ComfyUI's own detector → landmarks of one face over time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ..echomimic.errors import OptionsError
from ..echomimic.landmarks.detect import find_landmarker
from ..echomimic.landmarks.extract import PICTURE_FPS, extract_track, track_from_faces
from ..echomimic.landmarks.metric import find_canonical
from ..echomimic.landmarks.track import LandmarkTrack
from . import files, types
from .convert import faces_from_face_landmarks, frames_from_image
from .runtime import Progress
from .video_file import frame_rate, video_frames


class EchoMimicLandmarkExtract(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicLandmarkExtract",
            display_name="EchoMimic Landmark Extract",
            category="EchoMimic/landmarks",
            description="Follow one face through a video. Connect one of video, images and "
            "face_landmarks; the last needs no MediaPipe.",
            search_aliases=["echomimic face tracking", "driving video", "face landmarks", "pose"],
            inputs=[
                io.Video.Input(
                    "video",
                    optional=True,
                    tooltip="The clip that drives the face, read frame by frame.",
                ),
                io.Image.Input(
                    "images", optional=True, tooltip="Or its frames, or a single picture."
                ),
                types.FaceLandmarks.Input(
                    "face_landmarks",
                    optional=True,
                    tooltip="Or what ComfyUI's Detect Face Landmarks (MediaPipe) has found.",
                ),
                io.Float.Input(
                    "fps",
                    default=0.0,
                    min=0.0,
                    max=240.0,
                    step=0.01,
                    tooltip="A video is brought to this frame rate; images and face_landmarks "
                    "are taken to have it. 0: that of the video, 24 for the others.",
                ),
                io.Combo.Input(
                    "face",
                    options=["nearest", "largest", "index"],
                    default="nearest",
                    tooltip="Of several faces: the one nearest to that of the frame before "
                    "(the largest at first), the largest of each frame, or the one of "
                    "face_index.",
                ),
                io.Int.Input(
                    "face_index",
                    default=0,
                    min=0,
                    max=15,
                    tooltip="For face index: 0 is the leftmost in the first frame that shows "
                    "so many; the face is followed from there.",
                ),
                io.Combo.Input(
                    "missing",
                    options=["interpolate", "hold"],
                    default="interpolate",
                    tooltip="What frames without the face show: something between those "
                    "around them, or the frame before.",
                ),
            ],
            outputs=[
                types.Landmarks.Output(display_name="landmarks", tooltip="One face over time."),
                io.Float.Output(display_name="fps", tooltip="Frames per second of the landmarks."),
                io.Int.Output(display_name="length", tooltip="Frames of the landmarks."),
            ],
        )

    @classmethod
    def execute(
        cls, fps, face, face_index, missing, video=None, images=None, face_landmarks=None
    ) -> io.NodeOutput:
        if sum(source is not None for source in (video, images, face_landmarks)) != 1:
            raise OptionsError(
                "EchoMimic Landmark Extract takes landmarks from one source; connect either "
                "video, images or face_landmarks."
            )
        options = {"face": face_index if face == "index" else face, "missing": missing}
        if video is not None:
            track = _from_video(video, fps, options)
        elif images is not None:
            track = _from_images(images, fps or PICTURE_FPS, options)
        else:
            track = _from_faces(face_landmarks, fps or PICTURE_FPS, options)
        return io.NodeOutput(track, track.fps, track.num_frames)


def _from_video(video: io.Video.Type, fps: float, options: dict[str, Any]) -> LandmarkTrack:
    rate = fps or frame_rate(video)
    frames = video_frames(video, rate, on_progress=Progress())
    return extract_track(frames, fps=rate, landmarker=_landmarker(), **options)


def _from_images(images: io.Image.Type, fps: float, options: dict[str, Any]) -> LandmarkTrack:
    return extract_track(
        frames_from_image(images),
        fps=fps,
        landmarker=_landmarker(),
        num_frames=len(images),
        on_progress=Progress(),
        **options,
    )


def _from_faces(found: dict[str, Any], fps: float, options: dict[str, Any]) -> LandmarkTrack:
    height, width = found["image_size"]
    return track_from_faces(
        faces_from_face_landmarks(found),
        size=(width, height),
        fps=fps,
        canonical=find_canonical(files.landmarker_folders()),
        **options,
    )


def _landmarker() -> Path | None:
    return find_landmarker(files.landmarker_folders())
