"""Picture → the part of it that is animated."""

from __future__ import annotations

from comfy_api.latest import io

from ..echomimic.config import Compatibility
from ..echomimic.landmarks.detect import find_face_box, find_landmarker
from ..echomimic.landmarks.face_box import FaceBox
from ..echomimic.landmarks.portrait import prepare_portrait
from . import files, types
from .convert import (
    bounding_box_from_box,
    box_from_bounding_boxes,
    box_from_face_landmarks,
    image_from_pictures,
    plane_from_mask,
)
from .video_file import first_picture


class EchoMimicPortrait(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicPortrait",
            display_name="EchoMimic Portrait",
            category="EchoMimic",
            description="Find the face and crop the picture around it to the size of the video.",
            search_aliases=["echomimic face crop", "face detection", "portrait crop"],
            inputs=[
                io.MultiType.Input(
                    "image",
                    [io.Image, io.Video],
                    tooltip="A face from the front. Of a batch or a video, the first frame.",
                ),
                io.Int.Input(
                    "width",
                    default=512,
                    min=64,
                    max=2048,
                    step=8,
                    tooltip="Width of the video in pixels. The models were trained at 512.",
                ),
                io.Int.Input(
                    "height",
                    default=512,
                    min=64,
                    max=2048,
                    step=8,
                    tooltip="Height of the video in pixels. The models were trained at 512.",
                ),
                io.Float.Input(
                    "crop_ratio",
                    default=0.5,
                    min=0.0,
                    max=4.0,
                    step=0.05,
                    tooltip="How far the crop reaches beyond the face on each side, in sizes of "
                    "the face.",
                ),
                io.Float.Input(
                    "mask_ratio",
                    default=0.1,
                    min=0.0,
                    max=4.0,
                    step=0.05,
                    advanced=True,
                    tooltip="How far the animated rectangle reaches beyond the face.",
                ),
                io.Boolean.Input(
                    "parity",
                    default=False,
                    advanced=True,
                    tooltip="Crop as the official code does: the square shrinks at borders and "
                    "is stretched to the size.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="What may move, instead of a rectangle around the face. Without a "
                    "box, the face is where the mask is.",
                ),
                types.BoundingBox.Input(
                    "face_box",
                    optional=True,
                    extra_dict={"forceInput": True},  # else a widget always gives some box
                    tooltip="The face, if it should not be looked for. Of several, the largest.",
                ),
                types.FaceLandmarks.Input(
                    "face_landmarks",
                    optional=True,
                    tooltip="Landmarks from ComfyUI's own detector, instead of MediaPipe's.",
                ),
            ],
            outputs=[
                types.Portrait.Output(display_name="portrait", tooltip="For EchoMimic Sampler."),
                io.Image.Output(display_name="crop", tooltip="What will be animated."),
                io.Mask.Output(display_name="face_mask", tooltip="Where the face is in the crop."),
                types.BoundingBox.Output(
                    display_name="crop_box", tooltip="Where the crop lies in the picture."
                ),
            ],
        )

    @classmethod
    def execute(
        cls, image, width, height, crop_ratio, mask_ratio, parity, mask=None, **face
    ) -> io.NodeOutput:
        compatibility = Compatibility.parity() if parity else Compatibility()
        picture = first_picture(image)
        box = _given_box(**face)
        if box is None and mask is None:
            landmarker = find_landmarker(files.landmarker_folders())
            box = find_face_box(picture, landmarker, bgr=compatibility.bgr_detector)
        portrait = prepare_portrait(
            picture,
            (width, height),
            face_box=box,
            mask=None if mask is None else plane_from_mask(mask, picture.shape[:2]),
            crop_ratio=crop_ratio,
            mask_ratio=mask_ratio,
            compatibility=compatibility,
        )
        return io.NodeOutput(
            portrait,
            image_from_pictures(portrait.image[None]),
            portrait.face_mask,
            bounding_box_from_box(portrait.crop.box),
        )


def _given_box(face_box=None, face_landmarks=None) -> FaceBox | None:
    if face_box is not None:
        return box_from_bounding_boxes(face_box)
    return None if face_landmarks is None else box_from_face_landmarks(face_landmarks)
