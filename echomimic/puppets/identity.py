"""Who a puppet is: colours and proportions, from a number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]  # RGB

TEST_SEEDS = range(1_000_000, 2_000_000)  # people that no model is trained on
EXAMPLE_SEED = TEST_SEEDS.start  # whom demo, example inputs and pictures of the pages show
STYLES = ("short", "bob", "long", "bun", "curly", "crop")
STREAM = 1  # of the random numbers of a seed, so that looks do not depend on other draws
LEAST_CONTRAST = 110  # between hair and background, summed over the channels

# fmt: off
SKINS: tuple[Colour, ...] = (
    (250, 224, 200), (243, 205, 173), (232, 184, 148), (217, 163, 120),
    (196, 138, 92), (166, 110, 70), (136, 92, 60), (108, 74, 52),
)
HAIRS: tuple[Colour, ...] = (
    (40, 32, 36), (84, 54, 36), (140, 90, 45), (224, 182, 92),
    (176, 74, 40), (166, 168, 178), (92, 72, 146), (56, 108, 120),
)
IRISES: tuple[Colour, ...] = (
    (72, 138, 206), (104, 66, 34), (74, 146, 84), (116, 124, 140), (52, 84, 156),
)
SHIRTS: tuple[Colour, ...] = (
    (220, 80, 80), (70, 120, 200), (240, 190, 70), (90, 170, 110),
    (150, 100, 190), (238, 238, 232), (60, 70, 92), (240, 140, 170),
)
BACKGROUNDS: tuple[Colour, ...] = (
    (250, 240, 220), (198, 224, 246), (208, 240, 214), (246, 214, 226),
    (224, 214, 246), (178, 204, 210), (250, 224, 170),
)
# fmt: on
RIMS: tuple[Colour, ...] = ((40, 40, 52), (150, 40, 52), (36, 92, 110))
MOUTH: Colour = (104, 8, 24)  # the inside; no skin, hair or lip comes near it
TEETH: Colour = (255, 255, 255)
EYE_WHITE: Colour = (252, 252, 252)
PUPIL: Colour = (16, 12, 20)


@dataclass(frozen=True)
class Identity:
    """A person. Lengths are in picture widths, measured on the face that looks at us."""

    skin: Colour
    hair: Colour
    iris: Colour
    shirt: Colour
    background: Colour
    glasses: Colour | None
    square_glasses: bool
    style: str
    face_width: float  # half of it
    face_height: float  # half of it
    jaw: float  # width of the jaw, 1: that of an ellipse
    eye_width: float  # half of it
    eye_height: float  # half of it
    eye_distance: float  # from the middle of the face
    eye_level: float  # above the middle of the head, negative
    iris_radius: float
    brow_thickness: float
    nose: float
    mouth_width: float  # half of it
    mouth_level: float

    @property
    def lip(self) -> Colour:
        """Skin with a touch of red."""
        return mixed(self.skin, (206, 58, 72), 0.35)

    @property
    def outline(self) -> Colour:
        return mixed(self.skin, (20, 12, 16), 0.62)


def identity(seed: int) -> Identity:
    """The person of a seed; people of neighbouring seeds have nothing in common."""
    random = np.random.Generator(np.random.Philox([seed, STREAM]))

    def shade(colours: tuple[Colour, ...]) -> Colour:
        colour = np.array(colours[random.integers(len(colours))]) * random.uniform(0.95, 1.04)
        return _colour(colour)

    def between(low: float, high: float) -> float:
        return float(random.uniform(low, high))

    skin, hair = shade(SKINS), shade(HAIRS)
    contrasting = [
        colour
        for colour in BACKGROUNDS
        if np.abs(np.subtract(hair, colour)).sum() >= LEAST_CONTRAST
    ]
    eye_width = between(0.072, 0.082)
    return Identity(
        skin=skin,
        hair=hair,
        background=shade(tuple(contrasting)),
        iris=shade(IRISES),
        shirt=shade(SHIRTS),
        glasses=shade(RIMS) if random.random() < 0.25 else None,
        square_glasses=bool(random.random() < 0.5),
        style=STYLES[random.integers(len(STYLES))],
        face_width=between(0.270, 0.300),
        face_height=between(0.315, 0.350),
        jaw=between(0.78, 1.05),
        eye_width=eye_width,
        eye_height=eye_width * between(0.82, 1.0),
        eye_distance=between(0.118, 0.134),
        eye_level=between(-0.070, -0.045),
        iris_radius=between(0.038, 0.044),
        brow_thickness=between(0.014, 0.022),
        nose=between(0.022, 0.032),
        mouth_width=between(0.105, 0.130),
        mouth_level=between(0.160, 0.180),
    )


def mixed(colour: Colour, other: Colour, share: float) -> Colour:
    """`share` of the other colour in this one."""
    return _colour((1 - share) * np.array(colour) + share * np.array(other))


def _colour(values: np.ndarray) -> Colour:
    red, green, blue = np.rint(np.clip(values, 0, 255)).astype(int).tolist()
    return red, green, blue
