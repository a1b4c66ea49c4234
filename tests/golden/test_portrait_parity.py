"""The official crop and mask from the stored face box (golden face/k)."""

import numpy as np
import pytest
from PIL import Image
from support import GOLDEN, golden_arrays, golden_file, golden_json, real_input

from echomimic.config import Compatibility
from echomimic.landmarks.detect import find_face_box
from echomimic.landmarks.face_box import largest_box
from echomimic.landmarks.portrait import prepare_portrait
from echomimic.media.image import read_image

LANDMARKER = "models/face_landmarker_v2_with_blendshapes.task"


def pictures() -> list[str]:
    if not (GOLDEN / "face/k_mtcnn.json").is_file():
        return []
    entries = golden_json("face/k_mtcnn.json").items()
    return [name for name, value in entries if isinstance(value, dict) and value.get("boxes")]


def stored_box(name: str):
    """The largest of the stored boxes with a probability above 0.8 (spec 7.3)."""
    entry = golden_json("face/k_mtcnn.json")[name]
    sure = [box for box, p in zip(entry["boxes"], entry["probs"], strict=True) if p > 0.8]
    return largest_box(tuple(box) for box in sure)


def output_size() -> tuple[int, int]:
    stored = golden_json("face/k_mtcnn.json")
    return stored["W"], stored["H"]


def stored_mask(name: str) -> np.ndarray:
    arrays = golden_arrays("face/k_mtcnn.npz")
    return next(value for key, value in arrays.items() if key.startswith(f"{name}.mask"))


def overlap(one, other) -> float:
    """Intersection over union of two boxes."""
    shared_w = min(one[2], other[2]) - max(one[0], other[0])
    shared_h = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0, shared_w) * max(0, shared_h)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (areas - shared)


@pytest.mark.parametrize("name", pictures())
def test_parity_reproduces_the_official_crop_and_mask(name):
    picture = read_image(real_input(f"test_imgs/{name}"))
    expected = read_image(golden_file(f"face/k_crop_{name}.png"))

    portrait = prepare_portrait(
        picture, output_size(), face_box=stored_box(name), compatibility=Compatibility.parity()
    )

    pixels = ((portrait.image + 1) / 2 * 255).permute(1, 2, 0).numpy()
    assert np.abs(pixels - expected).max() <= 2.01
    assert np.abs(portrait.face_mask[0].numpy() * 255 - stored_mask(name)).max() <= 1.01


@pytest.mark.parametrize("name", pictures())
@pytest.mark.parametrize("longest_side", [384, 512, 1024, None])
def test_our_face_box_agrees_with_the_official_detector_at_any_scale(name, longest_side):
    picture = read_image(real_input(f"test_imgs/{name}"))
    model = real_input(LANDMARKER)
    pytest.importorskip("mediapipe")
    scale = longest_side / max(picture.shape) if longest_side else 1
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))

    box = find_face_box(np.asarray(Image.fromarray(picture).resize(size)), model)

    assert overlap(np.divide(box, scale), stored_box(name)) >= 0.85
