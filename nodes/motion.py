"""A driver's motion, made to fit the portrait's face, and made smooth."""

from __future__ import annotations

from comfy_api.latest import io

from ..echomimic.landmarks.detect import find_landmarker
from ..echomimic.landmarks.metric import find_canonical, with_mesh
from ..echomimic.landmarks.track import LandmarkTrack
from ..echomimic.motion.portrait_face import check_face_in, portrait_face
from ..echomimic.motion.smooth import STRENGTH, smooth_track
from ..echomimic.motion.sync import METHODS, synchronise
from . import files, types


class EchoMimicMotionSync(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicMotionSync",
            display_name="EchoMimic Motion Sync",
            category="EchoMimic/landmarks",
            description="Bring the motion of a driving face onto the portrait's own face, part by "
            "part, and into its picture.",
            search_aliases=["echomimic retarget", "motion transfer", "landmark alignment"],
            inputs=[
                types.Landmarks.Input(
                    "landmarks", tooltip="Of the driving video, from EchoMimic Landmark Extract."
                ),
                types.Portrait.Input(
                    "portrait", tooltip="Whose face will move, from EchoMimic Portrait."
                ),
                io.Combo.Input(
                    "method",
                    options=list(METHODS),
                    default=METHODS[0],
                    tooltip="part_aware: from the driver's most similar expression, the head "
                    "turning about its centre. official: as the official code does, from the "
                    "driver's mean expression and first pose; smooths over 3 and 5 frames.",
                ),
                io.Boolean.Input(
                    "align_parts",
                    default=True,
                    advanced=True,
                    tooltip="Give eyes, brows, nose and mouth the portrait's shapes. Off: they "
                    "keep the driver's.",
                ),
                types.Landmarks.Input(
                    "portrait_landmarks",
                    optional=True,
                    tooltip="The portrait's face, where none is found: from EchoMimic Place Face. "
                    "One frame, in the coordinates of the portrait's crop.",
                ),
            ],
            outputs=[
                types.Landmarks.Output(
                    display_name="landmarks", tooltip="On the portrait's face; for the sampler."
                )
            ],
        )

    @classmethod
    def execute(
        cls, landmarks, portrait, method, align_parts, portrait_landmarks=None
    ) -> io.NodeOutput:
        if portrait_landmarks is None:
            face = portrait_face(portrait, find_landmarker(files.landmarker_folders()))
        else:
            face = portrait_landmarks
            check_face_in(portrait, face)
        driving, face = _in_space(landmarks), _in_space(face)
        return io.NodeOutput(synchronise(driving, face, method=method, align_parts=align_parts))


def _in_space(track: LandmarkTrack) -> LandmarkTrack:
    """The track with its mesh, as far as the model files that tell it are there."""
    canonical = find_canonical(files.landmarker_folders()) if track.mesh is None else None
    return track if canonical is None else with_mesh(track, canonical)


class EchoMimicLandmarkSmooth(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicLandmarkSmooth",
            display_name="EchoMimic Landmark Smooth",
            category="EchoMimic/landmarks",
            description="Take the jitter out of landmarks without delaying or damping motion.",
            search_aliases=[
                "echomimic stabilise",
                "jitter",
                "one euro filter",
                "denoise landmarks",
            ],
            inputs=[
                types.Landmarks.Input(
                    "landmarks", tooltip="From a video: smooth them before EchoMimic Motion Sync."
                ),
                io.Float.Input(
                    "strength",
                    default=STRENGTH,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="0 changes nothing; 0.5 makes a still face rest and keeps blinks; "
                    "1 also calms small motion.",
                ),
            ],
            outputs=[types.Landmarks.Output(display_name="landmarks")],
        )

    @classmethod
    def execute(cls, landmarks, strength) -> io.NodeOutput:
        return io.NodeOutput(smooth_track(landmarks, strength))
