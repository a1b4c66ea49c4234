"""Section 2: one face's motion on another (the paper's Fig. 7), by geometry alone.

The same performance by the portrait's own person is known for puppets: it is what a perfect method
makes of the driver's landmarks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np

from echomimic.evaluation.motion import landmark_error, lip_motion
from echomimic.landmarks.track import LandmarkTrack
from echomimic.motion.pose import points_of
from echomimic.motion.sync import synchronise
from echomimic.puppets.geometry import face_track
from echomimic.puppets.identity import TEST_SEEDS, Identity, identity
from echomimic.puppets.perform import Motion, perform
from echomimic.puppets.performance import Performance
from echomimic.puppets.voice import speak

from .films import FIRST_VOICE, FPS
from .scale import Scale
from .statistics import LOWER, differences, over_films
from .statistics import verdict as judged

SIZE = (512, 512)
FARTHER, ASIDE = 1.25, (3.0, 1.5, 0.0)  # of the driver's camera: a factor, and centimetres
FACES: dict[str, dict[str, float]] = {  # beyond what puppets otherwise have
    "average": {},
    "narrow and long": {"face_width": 0.235, "face_height": 0.380, "eye_distance": 0.104},
    "wide and round": {"face_width": 0.335, "face_height": 0.300, "eye_distance": 0.155},
    "large eyes, high": {"eye_width": 0.095, "eye_height": 0.090, "eye_level": -0.100},
    "small eyes, low": {"eye_width": 0.056, "eye_height": 0.044, "eye_level": -0.020},
    "large mouth, low": {"mouth_width": 0.158, "mouth_level": 0.205},
    "small mouth, high": {"mouth_width": 0.078, "mouth_level": 0.135},
}
Method = Callable[[LandmarkTrack, LandmarkTrack], LandmarkTrack]
METHODS: dict[str, Method] = {
    "none": lambda driver, portrait: driver,
    "full face only": lambda driver, portrait: synchronise(driver, portrait, align_parts=False),
    "official, part-wise": lambda driver, portrait: synchronise(
        driver, portrait, method="official"
    ),
    "full face + residual": synchronise,
}
OURS = "full face + residual"
MEASURES = ("at rest: eyes", "at rest: face", "acting: face", "acting: eyes", "acting: mouth",
            "mouth's motion")  # fmt: skip


def faces(count: int) -> list[Identity]:
    """Reserved people with very different proportions."""
    people = enumerate(list(FACES.values())[:count])
    return [replace(identity(TEST_SEEDS.start + i), **changes) for i, changes in people]


def summary(scale: Scale) -> dict[str, Any]:
    """Every face drives every other one, with every method; the section as JSON."""
    found = {method: {name: [] for name in MEASURES} for method in METHODS}
    pairs = list(permutations(range(scale.faces), 2))
    people = faces(scale.faces)
    for number, (a, b) in enumerate(pairs):
        measured = _measured(people[a], people[b], number, scale.acted_frames)
        for method, figures in measured.items():
            for name, value in figures.items():
                found[method][name].append(value)
    return {
        "protocol": {"faces": list(FACES)[: scale.faces], "pairs": len(pairs),
                     "frames": scale.acted_frames},
        "measures": {
            method: {name: over_films(values).described() for name, values in known.items()}
            for method, known in found.items()
        },
        "claims": [
            _claim(name, other, found) for name in MEASURES[:-1] for other in METHODS
            if other != OURS
        ],
        "pairs": {
            method: {name: [float(f"{v:.5g}") for v in values] for name, values in known.items()}
            for method, known in found.items()
        },
    }  # fmt: skip


def _claim(name: str, other: str, found: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    difference = differences(found[OURS][name], found[other][name])
    return {
        "measure": name, "better": LOWER, "first": OURS, "second": other,
        "difference": difference.described(), "verdict": judged(difference, LOWER),
    }  # fmt: skip


def _measured(
    driver: Identity, person: Identity, voice: int, frames: int
) -> dict[str, dict[str, float]]:
    """All methods' figures of one pair."""
    portrait = face_track(person, Performance.still(FPS), SIZE)
    still, lively = (_acted(voice, frames, motion) for motion in ("still", "lively"))
    resting, acting_driver = (_elsewhere(face_track(driver, p, SIZE)) for p in (still, lively))
    found = {}
    for name, method in METHODS.items():
        rest = landmark_error(method(resting, portrait), face_track(person, still, SIZE))
        truth = face_track(person, lively, SIZE)
        made = method(acting_driver, portrait)
        acting = landmark_error(made, truth)
        figures = (
            rest["eyes"], rest["face"], acting["face"], acting["eyes"], acting["mouth"],
            lip_motion(made, truth)[0],
        )  # fmt: skip
        found[name] = dict(zip(MEASURES, figures, strict=True))
    return found


def _acted(voice: int, frames: int, motion: Motion) -> Performance:
    """ "still": nothing but the mouth moves, so all else should be the portrait's own."""
    speech = speak(FIRST_VOICE + voice, frames / FPS + 0.5)
    acted = perform(speech, TEST_SEEDS.start + voice, frames, FPS, motion=motion)
    return replace(acted, shift=0 * acted.shift)  # how far a shift goes depends on the camera


def _elsewhere(track: LandmarkTrack) -> LandmarkTrack:
    """The driver before a camera that stands farther away, and not in front of the face."""
    transforms = track.transforms.copy()
    transforms[:, :3, 3] = FARTHER * transforms[:, :3, 3] + ASIDE
    points = points_of(track.mesh, transforms, track.size)
    return replace(track, points=points, transforms=transforms)


def drawn_points(scale: Scale, first: int = 1, second: int = 2) -> dict[str, np.ndarray]:
    """Landmarks (478, 2) of one moment, by method and in truth, for the picture."""
    people = faces(scale.faces)
    person, driver = people[first % len(people)], people[second % len(people)]
    acted = _acted(0, scale.acted_frames, "lively")
    portrait = face_track(person, Performance.still(FPS), SIZE)
    track, moment = _elsewhere(face_track(driver, acted, SIZE)), scale.acted_frames // 2
    made = {name: method(track, portrait) for name, method in METHODS.items()}
    made["the same person acting"] = face_track(person, acted, SIZE)
    return {name: one.points[moment, :, :2] for name, one in made.items()}
