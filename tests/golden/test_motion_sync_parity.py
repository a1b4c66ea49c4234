"""The official motion synchronisation from the stored landmarks (golden face/j)."""

import numpy as np
import pytest
from support import GOLDEN, golden_arrays

from echomimic.landmarks.affine import apply_affine, fit_affine
from echomimic.landmarks.draw import draw_track
from echomimic.landmarks.mesh import EYELIDS, NUM_VERTICES
from echomimic.landmarks.track import LandmarkTrack
from echomimic.motion.sync import synchronise

FIXTURE = "face/j_motion_sync.npz"
CANVAS = 512


def cases() -> list[str]:
    if not (GOLDEN / FIXTURE).is_file():
        return []
    return sorted(
        name[: -len(".synced")] for name in golden_arrays(FIXTURE) if name.endswith(".synced")
    )


def stored_track(arrays: dict[str, np.ndarray], who: str) -> LandmarkTrack:
    """Detections as a track, the irises brought into the mesh (spec 9.3.2)."""
    points, mesh, transforms = (arrays[f"{who}.{key}"] for key in ("lmks", "lmks3d", "trans_mat"))
    points, mesh = points.reshape(-1, *points.shape[-2:]), mesh.reshape(-1, *mesh.shape[-2:])
    lids = list(EYELIDS)
    irises = [
        apply_affine(fit_affine(p[lids], m[lids]), p[NUM_VERTICES:])
        for p, m in zip(points, mesh, strict=True)
    ]
    return LandmarkTrack(
        points,
        (CANVAS, CANVAS),
        24,
        mesh=np.concatenate([mesh, irises], axis=1),
        transforms=transforms.reshape(-1, 4, 4),
    )


@pytest.mark.parametrize("case", cases())
@pytest.mark.parametrize(("key", "align"), [("synced", True), ("synced_no_part_align", False)])
def test_the_official_method_reproduces_the_stored_points(case, key, align):
    arrays = golden_arrays(FIXTURE)
    driving, portrait = (stored_track(arrays, f"{case}.{who}") for who in ("driver", "ref"))

    track = synchronise(driving, portrait, method="official", align_parts=align)

    assert np.abs(track.points[..., :2] * CANVAS - arrays[f"{case}.{key}"]).max() <= 1e-3


@pytest.mark.parametrize("case", cases())
def test_the_official_method_is_drawn_as_the_official_script_draws_it(case):
    pytest.importorskip("cv2")
    arrays = golden_arrays(FIXTURE)
    driving, portrait = (stored_track(arrays, f"{case}.{who}") for who in ("driver", "ref"))
    expected = arrays[f"{case}.drawn_first_last"]  # without mouth and irises

    track = synchronise(driving, portrait, method="official")

    ends = [0, track.num_frames - 1]
    np.testing.assert_array_equal(draw_track(track, expected.shape[2:0:-1], ends), expected)
