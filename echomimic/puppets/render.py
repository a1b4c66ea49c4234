"""Puppets as flat pictures with outlines: polygons on a larger canvas, averaged down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..landmarks.draw import opencv
from .geometry import Head, face_angle, head, in_space, poses, seen, surface
from .identity import (
    EYE_WHITE,
    MOUTH,
    PUPIL,
    TEETH,
    Colour,
    Identity,
    identity,
    mixed,
)
from .performance import Performance

CANVAS = 448  # pixels, at least; pictures are averaged down from twice their size or more
SUBPIXEL = 4  # bits of a pixel that corners are placed by
OUTLINE = 0.0085  # thickness of lines, in picture widths
LEAST_OPENING = 0.10  # of an eye, below which only the lid's line is drawn
ROUND = np.linspace(0, 2 * np.pi, 40, endpoint=False)
FRINGE = 12  # points of the hair's edge on the forehead


@dataclass
class Canvas:
    """A square picture that is painted on, in picture widths."""

    pixels: np.ndarray  # (S, S, 3) uint8

    @property
    def size(self) -> int:
        return len(self.pixels)

    def fill(self, points: np.ndarray, colour: Colour, outline: Colour | None = None) -> None:
        """A polygon (n, 2)."""
        cv2 = opencv()
        cv2.fillPoly(self.pixels, [self._fixed(points)], colour, cv2.LINE_8, SUBPIXEL)
        if outline is not None:
            self.line(points, outline, closed=True)

    def line(
        self,
        points: np.ndarray,
        colour: Colour,
        thickness: float = OUTLINE,
        *,
        closed: bool = False,
    ) -> None:
        """A line through points (n, 2)."""
        cv2 = opencv()
        cv2.polylines(
            self.pixels, [self._fixed(points)], closed, colour,
            max(1, round(thickness * self.size)), cv2.LINE_8, SUBPIXEL,
        )  # fmt: skip

    def inside(self, frame: np.ndarray) -> Window:
        """For painting that is cut off at the border of a polygon."""
        corners = frame * self.size
        x0, y0 = np.clip(np.floor(corners.min(axis=0)).astype(int) - 1, 0, self.size)
        x1, y1 = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 2, 0, self.size)
        return Window(self, frame, (slice(y0, y1), slice(x0, x1)))

    def _fixed(self, points: np.ndarray) -> np.ndarray:
        return np.rint((points * self.size - 0.5) * 2**SUBPIXEL).astype(np.int32)


@dataclass
class Window:
    """A context in which only the inside of a polygon is painted on."""

    canvas: Canvas
    frame: np.ndarray
    part: tuple[slice, slice]

    def __enter__(self) -> None:
        self._before = self.canvas.pixels[self.part].copy()

    def __exit__(self, *exception: object) -> None:
        cv2 = opencv()
        mask = np.zeros(self.canvas.pixels.shape[:2], np.uint8)
        cv2.fillPoly(mask, [self.canvas._fixed(self.frame)], 1, cv2.LINE_8, SUBPIXEL)
        outside = mask[self.part] == 0
        self.canvas.pixels[self.part][outside] = self._before[outside]


class Painter:
    """Paints the frames of one performance."""

    def __init__(self, person: Identity, performance: Performance) -> None:
        self._person = person
        self._poses = poses(performance)
        self._blink = performance.blink
        self._open = performance.mouth_open
        self._head = _flat(head(person, performance), self._poses)

    def frame(self, number: int, size: int) -> np.ndarray:
        """One frame as uint8 (size, size, 3)."""
        cv2 = opencv()
        scale = max(2, -(-CANVAS // size))
        canvas = Canvas(np.empty((size * scale, size * scale, 3), np.uint8))
        canvas.pixels[:] = self._person.background
        self._hair_behind(canvas, number)
        self._body(canvas, number)
        self._face(canvas, number)
        self._hair_in_front(canvas, number)
        self._nose(canvas, number)
        for eye in (0, 1):
            self._eye(canvas, number, eye)
        self._glasses(canvas, number)
        for brow in self._head.brows:
            canvas.fill(_ring(brow, number), _dark(self._person.hair))
        self._mouth(canvas, number)
        return cv2.resize(canvas.pixels, (size, size), interpolation=cv2.INTER_AREA)

    def _at(self, number: int, x: np.ndarray, y: np.ndarray, z: np.ndarray | float) -> np.ndarray:
        """Points of the head at rest, as the frame shows them, (n, 2)."""
        points = in_space(np.asarray(x), np.asarray(y), np.asarray(z, dtype=float))
        return seen(points[None], self._poses[number : number + 1])[0, :, :2]

    def _oval(self, number: int, x: float, y: float, a: float, b: float, z: float) -> np.ndarray:
        return self._at(number, x + a * np.cos(ROUND), y + b * np.sin(ROUND), z)

    def _hair_behind(self, canvas: Canvas, number: int) -> None:
        person, w, h = self._person, self._person.face_width, self._person.face_height
        edge = _dark(person.hair)
        if person.style == "bun":
            canvas.fill(self._oval(number, 0, -1.20 * h, 0.10, 0.085, -0.06), person.hair, edge)
        elif person.style == "bob":
            canvas.fill(self._oval(number, 0, -0.02, 1.24 * w, 1.14 * h, -0.07), person.hair, edge)
        elif person.style == "long":
            x = 1.26 * w * np.sign(np.cos(ROUND)) * np.abs(np.cos(ROUND)) ** 0.7
            y = 0.12 + 1.30 * h * np.sign(np.sin(ROUND)) * np.abs(np.sin(ROUND)) ** 0.8
            canvas.fill(self._at(number, x, y, -0.07), person.hair, edge)
        elif person.style == "curly":
            curls = 1 + 0.055 * np.abs(np.sin(5 * ROUND))
            x, y = 1.34 * w * curls * np.cos(ROUND), -0.09 + 1.10 * h * curls * np.sin(ROUND)
            canvas.fill(self._at(number, x, y, -0.07), person.hair, edge)

    def _body(self, canvas: Canvas, number: int) -> None:
        """Shoulders and neck follow the head half way and stay upright."""
        person = self._person
        middle = 0.5 + 0.5 * (self._at(number, [0.0], [0.25], 0.0)[0, 0] - 0.5)
        shoulders = np.stack([middle + 0.37 * np.cos(ROUND), 1.06 + 0.22 * np.sin(ROUND)], axis=1)
        neck = np.array([[-0.085, 0.72], [0.085, 0.72], [0.10, 0.89], [-0.10, 0.89]])
        canvas.fill(shoulders, person.shirt, _dark(person.shirt))
        canvas.fill(neck + [middle, 0.0], mixed(person.skin, person.outline, 0.25), person.outline)

    def _face(self, canvas: Canvas, number: int) -> None:
        person = self._person
        for side in (-1, 1):
            ear = self._oval(number, side * 1.01 * person.face_width, 0.0, 0.045, 0.066, -0.02)
            canvas.fill(ear, person.skin, person.outline)
        canvas.fill(self._head.face[number], person.skin, person.outline)

    def _hair_in_front(self, canvas: Canvas, number: int) -> None:
        """A cap from temple to temple, ending in a fringe on the forehead."""
        person = self._person
        low, sag, slant = {
            "short": (-24, 0.42, 0.25), "bob": (-14, 0.30, 0.0), "long": (-16, 0.34, -0.30),
            "bun": (-32, 0.70, 0.0), "curly": (-20, 0.24, 0.0), "crop": (-38, 0.62, 0.0),
        }[person.style]  # fmt: skip
        angle = np.radians(np.linspace(low, -180 - low, 24))
        x, y = face_angle(person, angle)
        across = np.linspace(-1, 1, FRINGE)
        fringe_x = x[-1] + (x[0] - x[-1]) * (across + 1) / 2
        rise = sag * person.face_height * (1 - across**2) * (1 + slant * across)
        fringe_y = np.maximum(y[0] - rise * 0.6, -0.97 * person.face_height)
        if person.style == "curly":
            fringe_y = fringe_y + 0.018 * np.cos(4 * np.pi * across)
        top = self._at(number, 1.045 * x, 1.045 * y, 0.0)
        fringe = self._at(number, fringe_x, fringe_y, surface(person, fringe_x, fringe_y))
        canvas.fill(np.concatenate([top, fringe]), person.hair, _dark(person.hair))

    def _nose(self, canvas: Canvas, number: int) -> None:
        person = self._person
        side = np.array([-1.0, -0.45, 0.0, 0.45, 1.0])
        drop = np.array([-0.35, 0.25, 0.45, 0.25, -0.35])
        base = self._head.nose[number]
        turned = self._at(number, person.nose * side, person.nose * drop, 0.0)
        middle = self._at(number, [0.0], [0.0], 0.0)
        canvas.line(base + (turned - middle), person.outline, 1.2 * OUTLINE)

    def _eye(self, canvas: Canvas, number: int, eye: int) -> None:
        person = self._person
        upper, lower = (lid[number] for lid in self._head.lids[eye])
        lashes = mixed(person.outline, PUPIL, 0.6)
        if self._blink[number] > 1 - LEAST_OPENING - 0.05:
            canvas.line((upper + lower) / 2, lashes, 1.7 * OUTLINE)
            return
        opening = np.concatenate([upper, lower[::-1]])
        centre = self._head.irises[eye][number]
        with canvas.inside(opening):
            canvas.fill(opening, EYE_WHITE)
            for radius, colour in ((1.0, person.iris), (0.52, PUPIL)):
                canvas.fill(self._disc(number, centre, radius * person.iris_radius), colour)
            glint = centre + np.array([0.30, -0.36]) * person.iris_radius
            canvas.fill(self._disc(number, glint, 0.24 * person.iris_radius), EYE_WHITE)
        canvas.line(lower, lashes, 0.8 * OUTLINE)
        canvas.line(upper, lashes, 1.5 * OUTLINE)

    @staticmethod
    def _disc(number: int, centre: np.ndarray, radius: float) -> np.ndarray:
        return centre + radius * np.stack([np.cos(ROUND), np.sin(ROUND)], axis=1)

    def _glasses(self, canvas: Canvas, number: int) -> None:
        person = self._person
        if person.glasses is None:
            return
        power = 0.45 if person.square_glasses else 1.0
        circle = np.stack([np.cos(ROUND), np.sin(ROUND)])
        rim = np.sign(circle) * np.abs(circle) ** power * 1.28 * person.eye_width
        depth = float(surface(person, np.array(person.eye_distance), np.array(0.0))) + 0.02
        for side in (-1, 1):
            x = side * person.eye_distance + rim[0]
            canvas.line(
                self._at(number, x, person.eye_level + 0.9 * rim[1], depth),
                person.glasses, 1.6 * OUTLINE, closed=True,
            )  # fmt: skip
        inner = person.eye_distance - 1.28 * person.eye_width
        level = np.full(2, person.eye_level - 0.01)
        bridge = self._at(number, [-inner, inner], level, depth + 0.01)
        canvas.line(bridge, person.glasses, 1.6 * OUTLINE)

    def _mouth(self, canvas: Canvas, number: int) -> None:
        person, shape = self._person, self._head
        canvas.fill(_ring(shape.outer_lips, number), person.lip)
        upper, lower = (lip[number] for lip in shape.inner_lips)
        line = mixed(person.lip, MOUTH, 0.7)
        if self._open[number] < 0.02:
            canvas.line(upper, line, OUTLINE)
            return
        opening = np.concatenate([upper, lower[::-1]])
        with canvas.inside(opening):
            canvas.fill(opening, MOUTH)
            down = (lower[5] - upper[5]) / max(1e-6, float(np.linalg.norm(lower[5] - upper[5])))
            height = min(0.026, 0.45 * float(np.linalg.norm(lower[5] - upper[5])))
            canvas.fill(np.concatenate([upper, (upper + height * down)[::-1]]), TEETH)
        canvas.line(opening, line, 0.8 * OUTLINE, closed=True)


def render_clip(person: Identity | int, performance: Performance, size: int) -> np.ndarray:
    """All frames, uint8 (f, size, size, 3); a number is the seed of a person."""
    person = identity(person) if isinstance(person, int) else person
    painter = Painter(person, performance)
    frames = np.empty((performance.num_frames, size, size, 3), np.uint8)
    for number in range(performance.num_frames):
        frames[number] = painter.frame(number, size)
    return frames


def _flat(head: Head, poses: np.ndarray) -> Head:
    """Every outline as the picture shows it, (f, n, 2)."""

    def look(points: np.ndarray) -> np.ndarray:
        return seen(points, poses)[..., :2]

    return Head(
        face=look(head.face),
        lids=tuple((look(upper), look(lower)) for upper, lower in head.lids),
        irises=tuple(look(iris) for iris in head.irises),
        brows=tuple((look(upper), look(lower)) for upper, lower in head.brows),
        outer_lips=(look(head.outer_lips[0]), look(head.outer_lips[1])),
        inner_lips=(look(head.inner_lips[0]), look(head.inner_lips[1])),
        nose=look(head.nose),
    )


def _ring(edges: tuple[np.ndarray, np.ndarray], number: int) -> np.ndarray:
    """Two edges from left to right as one closed outline."""
    upper, lower = edges
    return np.concatenate([upper[number], lower[number, ::-1]])


def _dark(colour: Colour) -> Colour:
    """For the outline of something."""
    return mixed(colour, (14, 10, 16), 0.5)
