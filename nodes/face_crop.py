"""A face out of a picture, or out of every frame of a video."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from comfy_api.latest import Input, io
from torch import Tensor

from ..echomimic.landmarks.detect import find_face_box, find_landmarker
from ..echomimic.landmarks.face_box import (
    CROP_RATIO,
    Crop,
    FaceBox,
    box_from_landmarks,
    box_over_time,
    cut,
)
from ..echomimic.landmarks.paste_mask import FEATHER, paste_mask
from ..echomimic.landmarks.portrait import prepare_portrait
from ..echomimic.landmarks.track import LandmarkTrack
from . import files, types
from .convert import box_from_bounding_boxes, image_from_frames, plane_from_mask
from .runtime import Progress
from .video_file import first_picture, is_image, pictures, video_frames

DETECT_EVERY = 24  # frames; a head does not go far in a second


@dataclass(frozen=True)
class FaceCrop:
    """Where a crop was taken from, and where the face is."""

    crop: Crop
    face_box: FaceBox | None  # in pixels of the picture; None: not known


class EchoMimicFaceCrop(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicFaceCrop",
            display_name="EchoMimic Face Crop",
            category="EchoMimic",
            description="Cut the face out of a picture, or out of a video with one crop for all "
            "of its frames. EchoMimic Paste Back puts it back after any change.",
            search_aliases=["echomimic face cut", "crop face video", "face region"],
            inputs=[
                io.MultiType.Input(
                    "image",
                    [io.Image, io.Video],
                    tooltip="A picture, the frames of a video, or a video.",
                ),
                io.Int.Input(
                    "width",
                    default=512,
                    min=64,
                    max=2048,
                    step=8,
                    tooltip="Width of the crop in pixels.",
                ),
                io.Int.Input(
                    "height",
                    default=512,
                    min=64,
                    max=2048,
                    step=8,
                    tooltip="Height of the crop in pixels.",
                ),
                io.Float.Input(
                    "crop_ratio",
                    default=CROP_RATIO,
                    min=0.0,
                    max=4.0,
                    step=0.05,
                    tooltip="How far the crop reaches beyond the face on each side, in sizes of "
                    "the face.",
                ),
                feather_input(),
                types.Landmarks.Input(
                    "landmarks",
                    optional=True,
                    tooltip="The face in each frame of the image, so that it is not looked for.",
                ),
                types.BoundingBox.Input(
                    "face_box",
                    optional=True,
                    extra_dict={"forceInput": True},  # else a widget always gives some box
                    tooltip="The face, if it should not be looked for. Of several, the largest.",
                ),
                io.Mask.Input(
                    "mask", optional=True, tooltip="Or where the face is, painted white."
                ),
            ],
            outputs=[
                io.Image.Output(display_name="crop", tooltip="The face; of a video, each frame."),
                io.Mask.Output(display_name="mask", tooltip="What Paste Back will paste of it."),
                types.Crop.Output(display_name="crop_info", tooltip="For EchoMimic Paste Back."),
            ],
        )

    @classmethod
    def execute(
        cls, image, width, height, crop_ratio, feather, landmarks=None, face_box=None, mask=None
    ) -> io.NodeOutput:
        first = first_picture(image)
        box = _given_box(landmarks, face_box, (first.shape[1], first.shape[0]))
        if box is None and mask is None:
            box = _detected_box(image)
        portrait = prepare_portrait(
            first,
            (width, height),
            face_box=box,
            mask=None
            if mask is None or box is not None
            else plane_from_mask(mask, first.shape[:2]),
            crop_ratio=crop_ratio,
        )
        crop, box = portrait.crop, portrait.face_box
        area = paste_mask(crop, crop.size, face_box=box, feather=feather)
        return io.NodeOutput(
            image_from_frames(_cropped(image, crop)),
            torch.from_numpy(area)[None],
            FaceCrop(crop, box),
        )


def feather_input() -> io.Float.Input:
    """The softness of the paste's edge."""
    return io.Float.Input(
        "feather",
        default=FEATHER,
        min=0.0,
        max=0.5,
        step=0.01,
        tooltip="Width of the soft edge, as a share of the crop.",
    )


def _given_box(
    track: LandmarkTrack | None, face_box: object | None, size: tuple[int, int]
) -> FaceBox | None:
    if track is not None:
        seen = track.points[track.seen]
        return box_over_time(box_from_landmarks(points, *size) for points in seen)
    return None if face_box is None else box_from_bounding_boxes(face_box)


def _detected_box(image: Tensor | Input.Video) -> FaceBox | None:
    landmarker = find_landmarker(files.landmarker_folders())
    looked_at = islice(_with_progress(image), 0, None, DETECT_EVERY)
    boxes = [find_face_box(picture, landmarker) for picture in looked_at]
    return box_over_time(box for box in boxes if box is not None)


def _cropped(image: Tensor | Input.Video, crop: Crop) -> Iterator[np.ndarray]:
    for picture in _with_progress(image):
        pixels = torch.from_numpy(picture).permute(2, 0, 1)  # (3, H, W)
        yield cut(pixels, crop).permute(1, 2, 0).numpy()


def _with_progress(image: Tensor | Input.Video) -> Iterator[np.ndarray]:
    progress = Progress()
    if is_image(image):
        for done, picture in enumerate(pictures(image), start=1):
            yield picture
            progress(done, len(image))
    else:
        yield from video_frames(image, on_progress=progress)
