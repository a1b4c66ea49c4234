"""What ComfyUI does to any MODEL works on this one: caches, compiling, LoRAs, memory, precision."""

import gc
import shutil
import weakref
from dataclasses import replace

import pytest
import torch
from stock import FRAMES, WINDOW, load, make_clip, module
from torch._dynamo.utils import counters

from echomimic.weights.random_weights import SIZES, TINY, make_random

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


@pytest.fixture(scope="module")
def clip(pack):
    return make_clip(pack, frames=3)


@pytest.fixture
def management():
    """ComfyUI's memory management, with nothing loaded before and after."""
    import comfy.model_management

    comfy.model_management.unload_all_models()
    yield comfy.model_management
    comfy.model_management.unload_all_models()


@pytest.fixture
def calls(monkeypatch):
    """Rows of each call that really reached the network."""
    network, seen = module("nodes.network").ComfyUNet, []
    predict = network._predict

    def watched(self, x, *args, **conditions):
        seen.append(len(x))
        return predict(self, x, *args, **conditions)

    monkeypatch.setattr(network, "_predict", watched)
    return seen


def test_easycache_skips_calls_of_the_network(clip, calls):
    from comfy_extras.nodes_easycache import EasyCacheNode

    plain = clip.stock(steps=8)
    without = len(calls)
    model = EasyCacheNode.execute(clip.model(), 1.0, 0.0, 1.0, False)[0]
    calls.clear()

    cached = clip.stock(model, steps=8)

    assert without == 8
    assert 2 <= len(calls) < without
    assert 0 < (cached - plain).abs().max() < 5


def test_lazycache_skips_calls_of_the_network(clip, calls):
    from comfy_extras.nodes_easycache import LazyCacheNode

    model = LazyCacheNode.execute(clip.model(), 1.0, 0.0, 1.0, False)[0]

    assert clip.stock(model, steps=8).isfinite().all()
    assert 2 <= len(calls) < 8


@pytest.fixture
def least_clip(pack, models, monkeypatch):
    """A clip of one frame and the smallest network that has every kind of layer."""
    least = replace(
        TINY, unet=replace(TINY.unet, channels=(32,), attention=(True,), layers_per_level=1)
    )
    monkeypatch.setitem(SIZES, "tiny", least)
    folder = models / "echo_mimic/least"
    make_random(folder, variants=["audio"])
    yield make_clip(pack, "least/denoising_unet.pth", frames=1)
    shutil.rmtree(folder)


def test_the_network_can_be_traced_for_compiling(least_clip):
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    torch._dynamo.reset()
    traced = []

    def backend(graph, _):
        traced.append(graph)
        return graph

    model = least_clip.model().clone()
    set_torch_compile_wrapper(model=model, backend=backend)
    made = least_clip.stock(model, steps=1, cfg=1.0)

    assert traced
    torch.testing.assert_close(made, least_clip.stock(steps=1, cfg=1.0), rtol=0, atol=1e-4)


@pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler for inductor"
)
def test_torch_compile_model_runs(least_clip):
    from comfy_extras.nodes_torch_compile import TorchCompileModel

    torch._dynamo.reset()
    counters.clear()
    model = TorchCompileModel.execute(least_clip.model(), "inductor")[0]

    made = least_clip.stock(model, steps=1, cfg=1.0)

    assert counters["inductor"]
    torch.testing.assert_close(made, least_clip.stock(steps=1, cfg=1.0), rtol=0, atol=1e-3)


def test_core_can_load_the_model_anew_with_all_weights_at_once(clip):
    """What TorchCompileModel asks for where ComfyUI loads weights on demand."""
    from comfy.model_patcher import ModelPatcher

    factory, arguments = clip.model().cached_patcher_init

    again = factory(*arguments, disable_dynamic=True)

    assert type(again) is ModelPatcher
    assert again.model is not clip.model().model
    ours, theirs = clip.model().model_state_dict(), again.model_state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def lora_for(model, rank=2):
    """A LoRA file of the usual kind on every attention layer, and what it adds to each weight."""
    generator = torch.Generator().manual_seed(5)
    file, added = {}, {}
    for key, weight in model.model_state_dict().items():
        name = key.removeprefix("diffusion_model.").removesuffix(".weight")
        if not key.endswith(".weight") or not name.endswith(ATTENTION):
            continue
        up = torch.randn(weight.shape[0], rank, generator=generator) / 20
        down = torch.randn(rank, weight.shape[1], generator=generator)
        label = f"lora_unet_{name.replace('.', '_')}"
        file |= {f"{label}.lora_up.weight": up, f"{label}.lora_down.weight": down}
        added[key] = up @ down
    return file, added


def stream_weights(monkeypatch):
    """As with too little memory: weights come to the device layer by layer, patched there."""
    from comfy.model_patcher import ModelPatcher

    whole = ModelPatcher.partially_load

    def little(self, device_to, extra_memory=0, **options):
        return whole(self, device_to, 0.1, **options)

    monkeypatch.setattr(ModelPatcher, "partially_load", little)


@pytest.mark.parametrize("streamed", [False, True], ids=["loaded", "streamed"])
def test_a_lora_acts_on_attention_and_goes_without_a_trace(
    pack, clip, management, monkeypatch, streamed
):
    import comfy.sd

    before, weights = (
        clip.stock(),
        {k: v.clone() for k, v in clip.model().model_state_dict().items()},
    )
    file, added = lora_for(clip.model())
    assert {"attn1", "attn2", "attention_blocks"} <= {key.split(".")[-3] for key in added} | {
        key.split(".")[-4] for key in added
    }
    changed = clip.with_model(load(pack)[0])
    state = changed.model().model_state_dict()
    for key, difference in added.items():
        state[key] += 0.5 * difference
    expected = changed.stock()
    management.unload_all_models()
    if streamed:
        stream_weights(monkeypatch)

    patched = comfy.sd.load_lora_for_models(clip.model(), None, file, 0.5, 0)[0]
    made = clip.stock(patched)

    assert patched.model.model_lowvram == streamed
    torch.testing.assert_close(made, expected, rtol=0, atol=2e-4)
    assert (made - before).abs().max() > 0.01
    assert torch.equal(clip.stock(), before)
    management.unload_all_models()
    assert all(torch.equal(weights[k], v) for k, v in clip.model().model_state_dict().items())


def test_a_lora_that_comes_with_the_conditions_acts_likewise(clip, management):
    import comfy.hooks
    import comfy.sd

    file, _ = lora_for(clip.model())
    patched = comfy.sd.load_lora_for_models(clip.model(), None, file, 0.5, 0)[0]
    expected = clip.stock(patched, steps=1)
    management.unload_all_models()
    hooks = comfy.hooks.create_hook_lora(file, 0.5, 0)
    positive, negative, latent = clip.conditioning()
    hooked = [comfy.hooks.set_hooks_for_conditioning(c, hooks) for c in (positive, negative)]

    made = clip.stock(steps=1, conditions=(*hooked, latent))

    torch.testing.assert_close(made, expected, rtol=0, atol=2e-4)


def test_weights_that_are_streamed_give_the_same(clip, management, monkeypatch):
    whole = clip.stock()
    management.unload_all_models()
    stream_weights(monkeypatch)

    assert torch.equal(clip.stock(), whole)
    assert clip.model().model.model_lowvram


@pytest.mark.parametrize("option", ["fp16_unet", "bf16_unet"])
def test_weights_of_half_size_compute_in_what_the_device_can(pack, clip, monkeypatch, option):
    from comfy.cli_args import args

    monkeypatch.setattr(args, option, True)
    half = clip.with_model(load(pack, dtype="default")[0])

    network = half.model().model
    assert network.get_dtype() == {"fp16": torch.float16, "bf16": torch.bfloat16}[option[:4]]
    assert network.get_dtype_inference() == torch.float32
    made, exact = half.stock(), clip.stock()
    error = (made - exact).square().mean().sqrt() / exact.std()
    assert error < 0.15
    assert (error > 0) == (option == "bf16_unet")  # the files are fp16: that loses nothing


def test_memory_is_asked_for_by_window(pack, management, monkeypatch):
    asked, load_models = [], management.load_models_gpu

    def watched(models, memory_required=0, **options):
        asked.append(memory_required)
        return load_models(models, memory_required=memory_required, **options)

    clip = make_clip(pack)
    conditions = clip.conditioning()
    monkeypatch.setattr(management, "load_models_gpu", watched)
    clip.stock(clip.windowed("open"), steps=1, conditions=conditions)
    clip.stock(steps=1, conditions=conditions)

    assert asked[0] * FRAMES == asked[1] * WINDOW > 0


def live_bytes() -> int:
    """Of all tensors that somebody still holds."""
    gc.collect()
    storages = {
        value.untyped_storage().data_ptr(): value.untyped_storage().nbytes()
        for value in gc.get_objects()
        if type(value) in (torch.Tensor, torch.nn.Parameter) and value.device.type == "cpu"
    }
    return sum(storages.values())


def test_switching_between_variants_ten_times_leaves_nothing_behind(pack, management):
    names = ("denoising_unet.pth", "denoising_unet_acc.pth")
    clip, models, held = make_clip(pack, frames=1), [], []
    for turn in range(10):
        other = load(pack, names[turn % 2])
        models.append(weakref.ref(other[0].model))
        clip = type(clip)(pack, other, clip.portrait, clip.audio_track, None)
        clip.stock(steps=1, cfg=1.0)
        management.unload_all_models()  # what /free does
        management.cleanup_models()
        held.append(live_bytes())

    assert [model() is not None for model in models] == [False] * 9 + [True]
    assert management.current_loaded_models == []
    assert max(held[2:]) - min(held[2:]) < 100_000  # one of these networks holds megabytes
