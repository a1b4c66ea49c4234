"""LPIPS of files that a user has: names, values, gradients, and what is no such file."""

import importlib.util
import math
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from support import eval_json, eval_tensors, recipe_tensor

pytest.importorskip("accelerate")

from echomimic.errors import WeightsError
from echomimic.train.lpips import BACKBONES, read_lpips
from echomimic.train.perceptual import make_perceptual

VGG = BACKBONES["vgg"]


def heads_file(network):
    """The authors' heads, where they are at hand; nothing of their package is run."""
    folders = [Path(named) for named in [os.environ.get("ECHOMIMIC_LPIPS_HEADS")] if named]
    package = importlib.util.find_spec("lpips")
    if package is not None:
        folders.append(Path(package.origin).parent / "weights/v0.1")
    for folder in folders:
        folder = folder if folder.is_dir() else folder.parent
        if (folder / network.heads).is_file():
            return folder / network.heads
    pytest.skip(f"LPIPS' {network.heads} is not at hand (set ECHOMIMIC_LPIPS_HEADS to its folder)")


def backbone(make, prefix="features", network=VGG):
    """Tensors named as torchvision names them, or as LPIPS' own checkpoints do with `net`."""
    state, width = {}, 3
    groups = zip(network.layers, network.widths, network.kernels, strict=True)
    for group, (layers, channels, (side, _, _)) in enumerate(groups, start=1):
        start = f"{prefix}.slice{group}" if prefix == "net" else prefix
        for layer in layers:
            for name, shape in (("weight", (channels, width, side, side)), ("bias", (channels,))):
                state[f"{start}.{layer}.{name}"] = make(f"{start}.{layer}.{name}", shape)
            width = channels
    return state


def scaled(name, shape):
    """Random weights that keep the size of what goes through."""
    draw = torch.Generator().manual_seed(len(name) + math.prod(shape))
    return torch.randn(shape, generator=draw) * (2 / max(1, math.prod(shape[1:]))) ** 0.5


def heads(network=VGG):
    return {
        f"lin{i}.model.1.weight": torch.full((1, width, 1, 1), 0.1)
        for i, width in enumerate(network.widths)
    }


@pytest.fixture(scope="module")
def combined(tmp_path_factory):
    path = tmp_path_factory.mktemp("lpips") / "lpips.safetensors"
    save_file(backbone(scaled) | heads(), path)
    return path


def pictures(size=(48, 40)):
    torch.manual_seed(0)
    return torch.rand(2, 3, *size) * 2 - 1, torch.rand(2, 3, *size) * 2 - 1


@pytest.mark.parametrize("name", ["vgg", "alex"])
def test_the_distance_is_that_of_the_original_package(tmp_path, name):
    expected = eval_json("image_metrics.json")["lpips"][name]
    tag = eval_json("syncnet.json")["tag"]  # one for all files of the folder
    tensors = eval_tensors("image_metrics.safetensors")
    state = backbone(lambda *of: recipe_tensor(tag, f"lpips_{name}", *of), "net", BACKBONES[name])
    shutil.copy(heads_file(BACKBONES[name]), tmp_path / "heads.pth")
    torch.save(state, tmp_path / "backbone.pth")
    model = read_lpips(tmp_path, name)
    a, b = (tensors[f"video_{v}_u8"][:3].movedim(-1, 1) / 127.5 - 1 for v in "ab")
    torch.testing.assert_close(model(a, b), torch.tensor(expected["value"]), atol=1e-6, rtol=0)
    layers = torch.tensor(expected["per_layer"]).T
    torch.testing.assert_close(model.distances(a, b), layers, atol=1e-6, rtol=0)


def test_networks_are_not_taken_for_one_another(tmp_path):
    network = BACKBONES["alex"]
    save_file(backbone(scaled, network=network) | heads(network), tmp_path / "alex.safetensors")
    assert (read_lpips(tmp_path / "alex.safetensors", "alex")(*pictures()) > 0).all()
    with pytest.raises(WeightsError, match="give the files of VGG16"):
        read_lpips(tmp_path / "alex.safetensors")


def test_one_file_or_a_folder_of_two_are_the_same(combined, tmp_path):
    torch.save(backbone(scaled) | {"classifier.0.weight": torch.ones(2)}, tmp_path / "vgg16.pth")
    torch.save(heads(), tmp_path / "vgg.pth")
    images = pictures()
    together, apart = (read_lpips(path)(*images) for path in (combined, tmp_path))
    assert torch.equal(together, apart)
    perceptual, name = make_perceptual(str(tmp_path), None)
    assert name == "lpips-vgg"
    assert torch.equal(perceptual(*images), together)


def test_it_is_the_weighted_difference_of_unit_features(combined):
    """The first group alone, computed again: two convolutions, their features of length 1."""
    model, (a, b) = read_lpips(combined), pictures()
    state = backbone(scaled)
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])

    def features(x):
        x = (x - shift[:, None, None]) / scale[:, None, None]
        for layer in (0, 2):
            weight, bias = state[f"features.{layer}.weight"], state[f"features.{layer}.bias"]
            x = torch.nn.functional.conv2d(x, weight, bias, padding=1).relu()
        return x / x.norm(dim=1, keepdim=True)

    first = 0.1 * (features(a) - features(b)).square().sum(dim=1).mean(dim=(1, 2))
    torch.testing.assert_close(model.distances(a, b)[:, 0], first, atol=1e-5, rtol=1e-4)
    assert model.distances(a, b).shape == (2, 5)


def test_equal_pictures_have_no_distance_and_a_gradient_that_is_a_number(combined):
    model, (a, b) = read_lpips(combined), pictures()
    assert model(a, a).abs().max() == 0
    assert (model(a, b) > 0).all()
    a.requires_grad_(True)
    (gradient,) = torch.autograd.grad(model(a, b).sum(), a)
    assert gradient.abs().max() > 0
    black = torch.zeros(1, 3, 32, 32, requires_grad=True)
    with torch.no_grad():
        for group in model.groups:
            group[-1].bias.fill_(-1e3)  # no feature is more than zero
    (gradient,) = torch.autograd.grad(model(black, black.detach() + 0.1).sum(), black)
    assert gradient.isfinite().all()


def test_it_is_exact_under_autocast_and_never_trains(combined):
    model, images = read_lpips(combined), pictures()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model(*images)
    assert torch.equal(mixed, model(*images))
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (backbone(scaled), r"the head lin0.model.1.weight is missing; put LPIPS' vgg.pth"),
        (heads(), "the backbone VGG16 is missing or not whole"),
        (
            backbone(scaled) | heads() | {"lin1.model.1.weight": torch.ones(1, 192, 1, 1)},
            r"\[1, 192, 1, 1\] instead of \[1, 128, 1, 1\]; give the files of VGG16",
        ),
    ],
)
def test_a_file_of_something_else_is_explained(tmp_path, state, sentence):
    save_file(state, tmp_path / "wrong.safetensors")
    with pytest.raises(WeightsError, match=sentence):
        read_lpips(tmp_path / "wrong.safetensors")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"gone.pth does not exist"):
        make_perceptual(str(tmp_path / "gone.pth"), None)
