"""Draws the demo portrait with numpy alone: signed distances, painted from back to front.

Lengths are pixels of a 512 x 512 picture; colours are RGB in 0..1; a distance is negative inside.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SIZE = 512
MARGIN = 40  # how far from a curve its distance still matters
Y, X = np.mgrid[0:SIZE, 0:SIZE] + 0.5
Field = np.ndarray  # (H, W)
Colour = Sequence[float]

SKIN = (0.93, 0.72, 0.60)
SHADE = (0.72, 0.45, 0.36)
HAIR = (0.27, 0.16, 0.11)
LIPS = (0.76, 0.36, 0.35)
DARK = (0.16, 0.10, 0.09)


def ellipse(x: float, y: float, a: float, b: float) -> Field:
    """Distance to an ellipse around (x, y) with half axes a and b, good near its border."""
    u, v = X - x, Y - y
    level = np.hypot(u / a, v / b)
    slope = np.hypot(u / a**2, v / b**2) + 1e-9
    return level * (level - 1) / slope


def smooth_curve(points: Sequence[tuple[float, float]], *, closed: bool = False) -> np.ndarray:
    """A Catmull-Rom spline through `points`, as (n, 2) vertices."""
    p = np.asarray(points, float)
    p = np.vstack([p[-1:], p, p[:2]]) if closed else np.vstack([p[:1], p, p[-1:]])
    t = np.linspace(0, 1, 8, endpoint=False)[:, None]
    pieces = [
        b
        + (c - a) * t / 2
        + (2 * a - 5 * b + 4 * c - d) * t**2 / 2
        + (3 * b - a - 3 * c + d) * t**3 / 2
        for a, b, c, d in zip(p, p[1:], p[2:], p[3:], strict=False)
    ]
    return np.vstack([*pieces, p[-2:-1]])


def stroke(points: Sequence[tuple[float, float]]) -> Field:
    """Unsigned distance to the smooth curve through `points`."""
    return _to_segments(smooth_curve(points))[0]


def shape(points: Sequence[tuple[float, float]]) -> Field:
    """Signed distance to the smooth closed outline through `points`."""
    distance, inside = _to_segments(smooth_curve(points, closed=True))
    return np.where(inside, -distance, distance)


def _to_segments(vertices: np.ndarray) -> tuple[Field, Field]:
    """Distance to a polyline, and the even-odd rule of the polygon it closes."""
    nearest, inside = np.full(X.shape, np.inf), np.zeros(X.shape, bool)
    first = np.maximum(vertices.min(0).astype(int) - MARGIN, 0)
    last = vertices.max(0).astype(int) + MARGIN
    near = slice(first[1], last[1]), slice(first[0], last[0])  # farther pixels stay outside
    x, y = X[near], Y[near]
    for (x0, y0), (dx, dy) in zip(vertices, np.diff(vertices, axis=0), strict=False):
        along = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx**2 + dy**2 + 1e-12), 0, 1)
        square = (x - x0 - along * dx) ** 2 + (y - y0 - along * dy) ** 2
        nearest[near] = np.minimum(nearest[near], square)
        if dy:
            inside[near] ^= ((y0 > y) != (y0 + dy > y)) & (x0 + (y - y0) / dy * dx > x)
    return np.sqrt(nearest), inside


def coverage(distance: Field, softness: float = 1.0) -> Field:
    """How much of each pixel lies inside, 0..1; `softness` is the width of the border."""
    t = np.clip(0.5 - distance / softness, 0, 1)
    return t * t * (3 - 2 * t)


class Canvas:
    """A picture that is painted on; `image` is (H, W, 3) in 0..1."""

    def __init__(self) -> None:
        self.image = np.zeros((SIZE, SIZE, 3))

    def paint(self, mask: Field, colour: Colour | np.ndarray, opacity: float = 1.0) -> None:
        """Lay `colour`, one or one per pixel, over the picture where `mask` is 1."""
        alpha = (mask * opacity)[..., None]
        self.image += alpha * (np.asarray(colour) - self.image)


def mirrored(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same points on the other half of the face."""
    return [(SIZE - x, y) for x, y in points]


def face_outline() -> Field:
    """Signed distance to cheeks, jaw and forehead."""
    half = [(256, 122), (196, 132), (155, 178), (147, 240), (155, 300), (182, 352), (222, 388)]
    return shape([*half, (256, 397), *mirrored(half[:0:-1])])


def draw_background(canvas: Canvas) -> None:
    """A wall with soft light from the upper left."""
    light = np.clip(1 - np.hypot(X - 190, Y - 170) / 520, 0, 1)[..., None]
    canvas.paint(np.ones_like(X), np.asarray((0.22, 0.42, 0.46)) * (0.62 + 0.75 * light))


def draw_body(canvas: Canvas) -> None:
    """Hair behind the head, shoulders in a pullover, neck."""
    back = [(256, 62), (170, 84), (118, 160), (112, 260), (122, 350), (160, 396)]
    canvas.paint(coverage(shape([*back, (256, 410), *mirrored(back[:0:-1])]), 1.5), HAIR)
    for side in (-1, 1):
        for x in (96, 110, 124):
            lock = [
                (256 + side * x, 250),
                (256 + side * (x + 6), 320),
                (256 + side * (x - 14), 378),
            ]
            canvas.paint(coverage(stroke(lock), 8), (0.40, 0.25, 0.17), 0.35)
    canvas.paint(coverage(ellipse(256, 590, 215, 155), 1.5), (0.80, 0.40, 0.30))
    canvas.paint(coverage(ellipse(220, 500, 90, 30), 70), (0.92, 0.52, 0.40), 0.35)
    folds = (
        stroke([(150, 470), (140, 500), (138, 530)]),
        stroke([(366, 468), (374, 500), (376, 530)]),
    )
    for fold in folds:
        canvas.paint(coverage(fold - 3, 9), (0.60, 0.27, 0.21), 0.6)
    neck = shape(
        [(208, 350), (206, 415), (188, 446), (256, 478), (324, 446), (306, 415), (304, 350)]
    )
    collar = np.maximum(neck - 9, 424 - Y)
    canvas.paint(coverage(collar, 2), (0.68, 0.31, 0.24))
    canvas.paint(coverage(neck, 1.5), SKIN)
    canvas.paint(coverage(neck, 1.5) * coverage(ellipse(262, 372, 92, 62), 34), SHADE, 0.75)


def draw_head(canvas: Canvas) -> None:
    """Ears and the face with its light and shade."""
    for x in (146, 366):
        canvas.paint(coverage(ellipse(x, 264, 17, 33), 1.5), SKIN)
        canvas.paint(coverage(ellipse(x, 266, 8, 20), 8), SHADE, 0.55)
    face = face_outline()
    inside = coverage(face, 1.5)
    canvas.paint(inside, SKIN)
    canvas.paint(inside * coverage(-face - 6, 42), SHADE, 0.42)  # turns away at the rim
    canvas.paint(inside * coverage(240 - X + 70, 190), SHADE, 0.34)  # the side without light
    canvas.paint(inside * coverage(ellipse(232, 178, 62, 34), 60), (1.0, 0.88, 0.78), 0.45)
    for x in (194, 318):
        canvas.paint(inside * coverage(ellipse(x, 306, 26, 17), 34), (0.92, 0.50, 0.45), 0.42)
    canvas.paint(inside * coverage(ellipse(256, 378, 24, 9), 16), (1.0, 0.86, 0.76), 0.35)


def draw_eye(canvas: Canvas, x: float, side: int) -> None:
    """One eye around (x, 244); `side` is -1 on the left of the picture and 1 on the right."""
    y = 244

    def at(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(x + side * dx, y + dy) for dx, dy in points]

    canvas.paint(coverage(ellipse(x, y - 4, 38, 24), 22), SHADE, 0.40)
    lid = [(-27, 5), (-17, -8), (0, -14), (17, -10), (28, 1)]
    opening = shape(at([*lid, (16, 10), (0, 13), (-16, 11)]))
    white = coverage(opening, 1.5)
    canvas.paint(white, (0.97, 0.95, 0.93))
    canvas.paint(white * coverage(ellipse(x, y, 14.5, 14.5), 1.5), (0.22, 0.30, 0.22))
    canvas.paint(white * coverage(ellipse(x, y + 2, 11.5, 11), 5), (0.42, 0.50, 0.30))
    canvas.paint(white * coverage(ellipse(x, y, 6.5, 6.5), 1.5), (0.04, 0.03, 0.03))
    canvas.paint(white * coverage(stroke(at(lid)) - 4, 8), DARK, 0.35)  # shadow of the lid
    canvas.paint(coverage(ellipse(x - 5, y - 6, 3.4, 3.4), 1.5), (1, 1, 1))
    canvas.paint(coverage(stroke(at([*lid[:-1], (31, -2)])) - 2.3, 1.5), DARK)
    canvas.paint(coverage(stroke(at([(-24, 7), (0, 14), (26, 4)])) - 0.8, 2), SHADE, 0.8)
    canvas.paint(coverage(stroke(at([(-26, -9), (-4, -22), (26, -14)])) - 1, 3), SHADE, 0.8)
    brow = at([(-30, -41), (-8, -48), (18, -46), (37, -34), (18, -40), (-8, -41), (-30, -33)])
    canvas.paint(coverage(shape(brow), 2.5), HAIR, 0.95)


def draw_nose(canvas: Canvas) -> None:
    """A ridge of light, the shadow beside it, wings and nostrils."""
    canvas.paint(coverage(stroke([(272, 236), (270, 270), (278, 298)]) - 5, 20), SHADE, 0.40)
    canvas.paint(
        coverage(stroke([(253, 222), (252, 262), (254, 294)]) - 3, 15), (1, 0.89, 0.80), 0.5
    )
    canvas.paint(coverage(ellipse(256, 315, 25, 7), 12), SHADE, 0.55)
    canvas.paint(coverage(ellipse(254, 298, 10, 8), 13), (1, 0.90, 0.82), 0.55)
    for side in (-1, 1):
        wing = [(256 + side * dx, y) for dx, y in ((20, 294), (25, 304), (20, 313))]
        canvas.paint(coverage(stroke(wing) - 1.2, 4), SHADE, 0.8)
        canvas.paint(coverage(ellipse(256 + side * 10.5, 313, 6, 3), 3), (0.35, 0.17, 0.14), 0.9)


def draw_mouth(canvas: Canvas) -> None:
    """Closed lips with the beginning of a smile."""
    canvas.paint(coverage(ellipse(256, 368, 28, 6), 14), SHADE, 0.5)
    line = [(215, 335), (236, 345), (256, 346), (276, 345), (297, 335)]
    upper = [(215, 335), (240, 331), (250, 330), (256, 333), (262, 330), (272, 331), (297, 335)]
    lower = [(297, 335), (280, 355), (256, 362), (232, 355), (215, 335)]
    canvas.paint(coverage(shape([*upper, *line[::-1][1:-1]]), 1.8), np.asarray(LIPS) * 0.90)
    canvas.paint(coverage(shape([*line, *lower[1:-1]]), 1.8), LIPS)
    canvas.paint(coverage(ellipse(252, 353, 15, 3), 5), (0.95, 0.66, 0.62), 0.6)
    canvas.paint(coverage(stroke(line) - 1.1, 1.8), (0.38, 0.13, 0.14))
    for x in (213, 299):
        canvas.paint(coverage(ellipse(x, 335, 4, 5), 7), SHADE, 0.5)


def draw_hair(canvas: Canvas) -> None:
    """The fringe in front, parted on one side, with a few lighter strands."""
    top = [(256, 66), (180, 84), (134, 150), (132, 232), (141, 272), (154, 214), (178, 168)]
    fringe = [*top, (226, 148), (286, 128), (306, 124), (336, 160), (356, 212)]
    fringe += [(371, 272), (380, 232), (378, 150), (332, 84)]
    hair = coverage(shape(fringe), 1.5)
    under = coverage(shape([(x, y + 7) for x, y in fringe]), 12)
    canvas.paint(under * coverage(face_outline(), 1.5), SHADE, 0.55)
    canvas.paint(hair, HAIR)
    for shift in range(0, 64, 8):
        left = [
            (304 - shift, 78 + shift / 6),
            (222 - shift, 104 + shift / 3),
            (158 - shift / 3, 196),
        ]
        canvas.paint(hair * coverage(stroke(left), 7), (0.50, 0.32, 0.22), 0.45)
    for shift in range(0, 48, 8):
        right = [(314 + shift / 2, 86 + shift / 3), (344 + shift / 2, 124), (368 + shift / 4, 214)]
        canvas.paint(hair * coverage(stroke(right), 7), (0.46, 0.28, 0.19), 0.45)


def portrait() -> np.ndarray:
    """The picture as (512, 512, 3) uint8 RGB."""
    canvas = Canvas()
    draw_background(canvas)
    draw_body(canvas)
    draw_head(canvas)
    for x, side in ((203, -1), (309, 1)):
        draw_eye(canvas, x, side)
    draw_nose(canvas)
    draw_mouth(canvas)
    draw_hair(canvas)
    return np.round(255 * np.clip(canvas.image, 0, 1)).astype(np.uint8)
