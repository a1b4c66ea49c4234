"""Fréchet distance, SSIM, PSNR and blendshapes against what the published codes gave."""

import numpy as np
import pytest
from support import eval_json, eval_tensors

from echomimic.evaluation.frechet import frechet_distance, kernel_distance
from echomimic.evaluation.images import psnr, ssim

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
    expected = eval_json("frechet.json")[name]["nuclear_norm"]
    assert frechet_distance(*features(name)) == pytest.approx(expected, **TOLERANCES[name])


@pytest.mark.parametrize("name", ["plain", "duplicate_column", "identical", "blendshapes52"])
def test_kernel_distance(name):
    expected = eval_json("frechet.json")[name]["mmd_poly3_unbiased"]
    assert kernel_distance(*features(name)) == pytest.approx(expected, rel=1e-9)


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
