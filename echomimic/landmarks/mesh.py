"""The face mesh in MediaPipe's topology: which point is what, and how it is drawn (spec 8.3, 9.1).

Left and right are those of the person shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

NUM_POINTS = 478  # 468 of the face, then 5 of the right iris and 5 of the left
NUM_VERTICES = 468  # of the face mesh, without irises

Colour = tuple[int, int, int]  # RGB, as the network takes them


@dataclass(frozen=True)
class Line:
    """A line through points of the face."""

    colour: Colour
    points: tuple[int, ...]


@dataclass(frozen=True)
class Square:
    """A filled square of 6x6 pixels on one point of the face."""

    colour: Colour
    point: int


# What can be selected, in the order of the paper; "contour" is an option of ours.
PARTS = (
    "left_eye",
    "right_eye",
    "left_brow",
    "right_brow",
    "pupils",
    "nose",
    "mouth",
    "contour",
)
DRAWN_BY_DEFAULT = frozenset(PARTS) - {"mouth", "contour"}  # the official inference setting

# fmt: off
LINES: dict[str, tuple[Line, ...]] = {  # drawn in this order, later ones over earlier ones
    "left_eye": (
        Line((180, 200, 10), (263, 249, 390, 373, 374, 380, 381, 382, 362)),
        Line((180, 200, 10), (263, 466, 388, 387, 386, 385, 384, 398, 362)),
    ),
    "right_eye": (
        Line((10, 200, 180), (33, 7, 163, 144, 145, 153, 154, 155, 133)),
        Line((10, 200, 180), (33, 246, 161, 160, 159, 158, 157, 173, 133)),
    ),
    "left_brow": (
        Line((180, 220, 10), (276, 283, 282, 295, 285)),
        Line((180, 220, 10), (300, 293, 334, 296, 336)),
    ),
    "right_brow": (
        Line((10, 220, 180), (46, 53, 52, 65, 55)),
        Line((10, 220, 180), (70, 63, 105, 66, 107)),
    ),
    "irises": (  # not used by the published models
        Line((250, 200, 10), (474, 475, 476, 477, 474)),
        Line((10, 200, 250), (469, 470, 471, 472, 469)),
    ),
    "mouth": (
        Line((10, 180, 20), (61, 146, 91, 181, 84, 17)),
        Line((20, 10, 180), (17, 314, 405, 321, 375, 291)),
        Line((100, 100, 30), (78, 95, 88, 178, 87, 14)),
        Line((100, 150, 50), (14, 317, 402, 318, 324, 308)),
        Line((20, 80, 100), (61, 185, 40, 39, 37, 0)),
        Line((80, 100, 20), (0, 267, 269, 270, 409, 291)),
        Line((120, 100, 200), (78, 191, 80, 81, 82, 13)),
        Line((150, 120, 100), (13, 312, 311, 310, 415, 308)),
    ),
    "contour": (
        Line((10, 200, 10), (251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
                             148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21)),
    ),
}
SQUARES: dict[str, tuple[Square, ...]] = {
    "pupils": (Square((10, 200, 250), 468), Square((250, 200, 10), 473)),
    "nose": (Square((200, 200, 200), 4),),
}

# The points of each part that motion synchronisation moves together (spec 9.1).
SYNC_PARTS: dict[str, tuple[int, ...]] = {
    "left_eye": (249, 263, 362, 373, 374, 380, 381, 382, 384, 385, 386, 387, 388, 390, 398, 466,
                 473),
    "right_eye": (7, 33, 133, 144, 145, 153, 154, 155, 157, 158, 159, 160, 161, 163, 173, 246, 468),
    "mouth": (0, 13, 14, 17, 37, 39, 40, 61, 78, 80, 81, 82, 84, 87, 88, 91, 95, 146, 178, 181,
              185, 191, 267, 269, 270, 291, 308, 310, 311, 312, 314, 317, 318, 321, 324, 375, 402,
              405, 409, 415),
    "nose": (1, 4, 5, 44, 45, 51, 220, 274, 275, 281, 440),
    "left_brow": (276, 282, 283, 285, 293, 295, 296, 300, 334, 336),
    "right_brow": (46, 52, 53, 55, 63, 65, 66, 70, 105, 107),
}
# fmt: on
RIGHT_IRIS = tuple(range(468, 473))
LEFT_IRIS = tuple(range(473, 478))


def without_irises(points: Iterable[int]) -> tuple[int, ...]:
    """Those of the points that belong to the mesh itself."""
    return tuple(point for point in points if point < NUM_VERTICES)


# They tell where the irises are in space (spec 9.3).
EYELIDS = tuple(
    sorted(without_irises(SYNC_PARTS["left_eye"]) + without_irises(SYNC_PARTS["right_eye"]))
)
CONTOUR = LINES["contour"][0].points
