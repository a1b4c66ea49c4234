"""Reads the pose of a puppet's head back from pixels: draws it until it lies as in the picture."""

from __future__ import annotations

import numpy as np

from ..landmarks.draw import opencv
from .identity import Identity
from .performance import Performance
from .render import render_clip

SIZE = 64  # pixels that are compared
BLURS = (4.0, 2.0, 1.0)  # deviations in these pixels, one after another: wide ones find the way
ROUNDS = 3  # with each
STEPS = np.array([0.03, 0.03, 0.03, 0.008, 0.008, 0.15, 0.25])  # that slopes are measured over
LONGEST = 6.0  # of them at once
LOWEST = np.array([-0.8, -0.6, -0.6, -0.2, -0.2, 0.0, 0.0])
HIGHEST = np.array([0.8, 0.6, 0.6, 0.2, 0.2, 1.0, 1.0])
OUTLIER = 40.0  # levels, beyond which a difference counts by its size, no longer by its square


def read_poses(frames: np.ndarray, person: Identity) -> np.ndarray:
    """Poses in uint8 frames (f, S, S, 3) of a person, of whom only the portrait is known: (f, 5),
    yaw, pitch and roll in radians and the shift to the right and down in picture widths, as in
    `Performance`.

    By Gauss-Newton steps on the difference to what the puppet looks like, blurred less and less,
    from the pose of the frame before. The opening of mouth and eyes is fitted beside, so that it is
    not taken for a turn. On rendered truth angles are off by less than 1 degree on average.
    """
    cv2, found, values = opencv(), [], np.zeros(len(STEPS))
    for frame in frames:
        picture = cv2.resize(frame, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        for deviation in BLURS:
            wanted = _blurred(picture, deviation)
            for _ in range(ROUNDS):
                values = _nearer(values, wanted, person, deviation)
        found.append(values[:5])
    return np.stack(found)


def _nearer(values: np.ndarray, wanted: np.ndarray, person: Identity, blur: float) -> np.ndarray:
    """One step of pose, mouth and lids towards a blurred picture."""
    trials = np.vstack([values, values + np.diag(STEPS)])
    here, *beside = (_blurred(picture, blur) for picture in _drawn(person, trials))
    slopes = np.stack([(one - here).ravel() for one in beside], axis=1)
    away = (wanted - here).ravel()
    weights = np.sqrt(OUTLIER / np.maximum(np.abs(away), OUTLIER))
    change, *_ = np.linalg.lstsq(slopes * weights[:, None], away * weights, rcond=1e-3)
    change *= min(1.0, LONGEST / max(float(np.abs(change).max()), 1e-9))
    return np.clip(values + STEPS * change, LOWEST, HIGHEST)


def _drawn(person: Identity, values: np.ndarray) -> np.ndarray:
    still = Performance.still(num_frames=len(values))
    acting = Performance(
        still.fps, values[:, 5], still.mouth_width, values[:, 6], still.brow, still.gaze,
        rotation=values[:, :3], shift=values[:, 3:5],
    )  # fmt: skip
    return render_clip(person, acting, SIZE)


def _blurred(picture: np.ndarray, deviation: float) -> np.ndarray:
    return opencv().GaussianBlur(picture.astype(np.float32), (0, 0), deviation)
