"""Fréchet distance, SSIM, PSNR and blendshapes against what the published codes gave."""

import numpy as np
import pytest
import torch
from support import eval_json, eval_tensors

from echomimic.evaluation.frechet import frechet_distance, kernel_distance
from echomimic.evaluation.images import psnr, ssim
from echomimic.evaluation.motion import BLENDSHAPES, MOUTH_SHAPES, UPPER_SHAPES
from echomimic.evaluation.resize import resized

TOLERANCES = {  # relative for sets of full rank, else absolute
    "plain": {"rel": 1e-9},
    "unequal_n": {"rel": 1e-9},
    "blendshapes52": {"rel": 1e-9},
    "duplicate_column": {"abs": 1e-6},
    "identical": {"abs": 1e-6},
    "rank_deficient": {"abs": 1e-6},
}


def features(name):
    tensors = eval_tensors("frechet.safetensors", f"{name}.a", f"{name}.b")
    return tensors[f"{name}.a"].numpy(), tensors[f"{name}.b"].numpy()


@pytest.mark.parametrize("name", TOLERANCES)
def test_frechet_distance(name):
    distance = frechet_distance(*features(name))
    expected = eval_json("frechet.json")[name]["nuclear_norm"]
    assert distance == pytest.approx(expected, **TOLERANCES[name])


@pytest.mark.parametrize("name", ["plain", "duplicate_column", "identical", "blendshapes52"])
def test_kernel_distance(name):
    distance = kernel_distance(*features(name))
    expected = eval_json("frechet.json")[name]["mmd_poly3_unbiased"]
    assert distance == pytest.approx(expected, rel=1e-9)


def films():
    tensors = eval_tensors("image_metrics.safetensors", "video_a_u8", "video_b_u8")
    return [tensors[f"video_{name}_u8"].numpy() for name in "ab"]


@pytest.mark.parametrize(
    ("measure", "name", "tolerance"),
    [(ssim, "ssim_skimage_wang", 1e-6), (psnr, "psnr_skimage", 1e-4)],
)
def test_similarity_of_every_frame(measure, name, tolerance):
    ours = measure(*films())
    stored = [frame[name] for frame in eval_json("image_metrics.json")["per_frame"]]
    assert np.allclose(ours, stored[: len(ours)], rtol=0, atol=tolerance)
    assert len(ours) >= 3


def expressions():
    scores = eval_tensors("blendshapes.safetensors")["blendshapes"].double().numpy()
    return scores, scores[: len(scores) // 2], scores[len(scores) // 2 :]


def test_frechet_distance_of_blendshapes():
    stored = eval_json("blendshapes.json")
    scores, first, second = expressions()
    all_of, mouth = list(BLENDSHAPES), list(MOUTH_SHAPES)
    pairs = {
        "frechet_52_halves": (first, second),
        "frechet_51_halves_without_neutral": (first[:, all_of], second[:, all_of]),
        "frechet_51_even_odd": (scores[::2, all_of], scores[1::2, all_of]),
        "frechet_mouth_halves": (first[:, mouth], second[:, mouth]),
    }
    for name, (a, b) in pairs.items():
        assert frechet_distance(a, b) == pytest.approx(stored[name], abs=1e-9), name


def test_groups_of_blendshapes_are_those_of_the_names():
    names = eval_json("blendshapes.json")["names"]
    mouth = {i for i, name in enumerate(names) if name.startswith(("mouth", "jaw"))}
    assert set(MOUTH_SHAPES) == mouth
    assert set(UPPER_SHAPES) == set(range(1, 52)) - mouth


@pytest.mark.parametrize("size", [(23, 31), (60, 71)])
@pytest.mark.parametrize(
    ("how", "name"),
    [("tf1", "tf1"), ("bilinear", "pt_bilinear"), ("antialias", "pt_bilinear_antialias")],
)
def test_pictures_are_resized_as_for_inception(how, name, size):
    stored = f"{name}_{size[0]}x{size[1]}"
    tensors = eval_tensors("inception_resize.safetensors", stored)
    picture = tensors["resize_in_u8"].movedim(-1, 0)[None].float()
    torch.testing.assert_close(resized(picture, size, how), tensors[stored], atol=1e-3, rtol=0)
