"""The stock KSampler on a device without float64, in which nothing is CUDA's."""

import pytest
from pretend_device import DEVICE, PretendDevice, to_device
from stock import make_clip

FRAMES = 5  # two windows, whose rows are not those of the whole clip


@pytest.fixture
def loaded_there(pack, monkeypatch):
    """Puts a model and the landmark encoder of its clip on the pretended device."""
    import comfy.model_management as management

    def move(clip, model):
        monkeypatch.setattr(management, "load_models_gpu", lambda *_, **__: None)
        monkeypatch.setattr(management, "get_free_memory", lambda *_, **__: 1e12)
        for patcher in (model, clip.networks[2]):
            to_device(patcher.model)
            patcher.load_device = DEVICE

    management.unload_all_models()
    yield move
    monkeypatch.undo()
    management.current_loaded_models.clear()


NAMES = ("denoising_unet.pth", "denoising_unet_pose_acc.pth")


@pytest.mark.parametrize("name", NAMES, ids=["audio", "landmark"])
def test_a_clip_is_sampled_without_float64(pack, loaded_there, name):
    clip = make_clip(pack, name, frames=FRAMES)
    model, conditions = clip.windowed("open"), clip.conditioning()
    expected = clip.stock(model, conditions=conditions)
    loaded_there(clip, model)

    with PretendDevice() as device:
        made = clip.stock(model, conditions=conditions)

    assert {"aten.convolution.default", "aten.native_layer_norm.default"} <= device.operations
    assert (made - expected).norm() < 1e-3 * expected.norm()
