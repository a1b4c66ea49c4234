"""LoRA files of the trainer in ComfyUI: its own loader finds every layer of the model."""

import torch

from echomimic.train.export import export_pairs
from echomimic.train.lora import PREFIX, LoRASettings, add_pairs, merged_state


def test_the_lora_loader_of_comfyui_applies_every_pair(pack, models, tmp_path):
    import comfy.sd
    import comfy.utils

    from echomimic.config import VARIANTS
    from echomimic.weights.files import find_models
    from echomimic.weights.load import load_denoising_unet

    row, stage = VARIANTS["audio"], torch.nn.Module()
    stage.denoising_unet = load_denoising_unet(find_models([models], "audio"), dtype="float32")
    add_pairs("stage1", stage, LoRASettings(rank=2, alpha=4.0, networks=("denoising_unet",)), 0)
    draw = torch.Generator().manual_seed(1)
    for name, parameter in stage.denoising_unet.named_parameters():
        if name.endswith("lora_B"):
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=draw)
    (path,) = export_pairs(tmp_path, row, {"lora": {}}, {row.denoising_unet: stage.denoising_unet})

    model = pack["EchoMimicModelLoader"].execute(model="denoising_unet.pth", dtype="fp32").args[0]
    lora = comfy.utils.load_torch_file(str(path), safe_load=True)
    patched, _ = comfy.sd.load_lora_for_models(model, None, lora, 1.0, 0.0)
    layers = {key.removesuffix(".alpha") for key in lora if key.endswith(".alpha")}
    assert set(patched.patches) == {f"{layer}.weight" for layer in layers}

    patched.patch_model()
    try:
        merged = merged_state(stage.denoising_unet)
        for layer in layers:
            name = f"{layer.removeprefix(PREFIX)}.weight"
            weight = patched.model.diffusion_model.get_parameter(name)
            torch.testing.assert_close(weight.detach(), merged[name], atol=1e-6, rtol=1e-5)
    finally:
        patched.unpatch_model()
