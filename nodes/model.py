"""The denoising UNet as a MODEL of ComfyUI, the other networks in patchers of their own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.supported_models_base
import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor, WrappersMP, get_all_wrappers
from torch import Tensor, nn

from ..echomimic.config import Variant
from ..echomimic.errors import OptionsError
from ..echomimic.models.landmark_encoder import LandmarkEncoder
from ..echomimic.models.unet import UNet

NUM_PARAMETERS = 1_303_146_000  # of the denoising UNet, spec 1.1


class ComfyUNet(UNet):
    """The same network, called the way ComfyUI calls a diffusion model.

    Frames are ComfyUI's batch axis: x is (chunks f, c, h, w), a chunk for each of
    `transformer_options["cond_or_uncond"]`. Everything that `UNet.forward` takes by keyword is
    taken here too.
    """

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor | float,
        context: None = None,
        control: None = None,
        transformer_options: dict[str, Any] | None = None,
        **conditions: Any,
    ) -> Tensor:
        """v for x, (chunks f, c, h, w); `context` and `control` do not exist in this family."""
        options = transformer_options or {}
        chunks = len(options.get("cond_or_uncond", [0]))
        conditions.setdefault("num_frames", len(x) // chunks)
        conditions.setdefault("attention", partial(attend, transformer_options=options))
        wrappers = get_all_wrappers(WrappersMP.DIFFUSION_MODEL, options)
        executor = WrapperExecutor.new_class_executor(self._predict, self, wrappers)
        return executor.execute(x, timesteps, context, control, options, **conditions)

    def _predict(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: None,
        control: None,
        transformer_options: dict[str, Any],
        **conditions: Any,
    ) -> Tensor:
        clips = len(x) // conditions["num_frames"]
        if isinstance(timesteps, Tensor) and len(timesteps) == len(x):
            timesteps = timesteps.reshape(clips, -1)[:, 0]  # ComfyUI repeats them for every frame
        return super().forward(x, timesteps, **conditions)


class EchoMimicConfig(comfy.supported_models_base.BASE):
    """What ComfyUI asks about a model family.

    The schedule is that of spec 10.2; "sqrt_linear" is what others call "linear".
    """

    unet_config: dict[str, Any] = {}
    unet_extra_config: dict[str, Any] = {}
    latent_format = comfy.latent_formats.SD15
    sampling_settings = {
        "beta_schedule": "sqrt_linear",
        "linear_start": 0.00085,
        "linear_end": 0.012,
        "timesteps": 1000,
        "zsnr": True,
    }
    memory_usage_factor = 1.0


class EchoMimicModel(comfy.model_base.BaseModel):
    """MODEL of one variant. Its state is named `diffusion_model.<name in the checkpoint>`."""

    def __init__(self, config: EchoMimicConfig, variant: Variant) -> None:
        super().__init__(
            config,
            comfy.model_base.ModelType.V_PREDICTION,
            device=torch.device("meta"),
            unet_model=ComfyUNet,
        )
        self.variant = variant
        self.device = comfy.model_management.unet_offload_device()


def variant_of(model: ModelPatcher) -> Variant:
    """The variant that a MODEL was loaded as; raises `OptionsError` for other families."""
    variant = getattr(model.model, "variant", None)
    if not isinstance(variant, Variant):
        raise OptionsError("The model is not EchoMimic's; connect EchoMimic Model Loader.")
    return variant


def check_same_variant(
    model: ModelPatcher, reference_unet: ModelPatcher, landmark_encoder: ModelPatcher
) -> None:
    """Raise `OptionsError` for networks of different variants, which fit but do not work."""
    row = variant_of(model)
    for network, name in (
        (reference_unet, row.reference_unet),
        (landmark_encoder, row.landmark_encoder),
    ):
        if network.model.published_as != name:
            raise OptionsError(
                f"The model is the variant {row.name!r}, which needs {name}, but "
                f"{network.model.published_as} is connected; take all three networks from one "
                "EchoMimic Model Loader."
            )


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    transformer_options: dict[str, Any] | None = None,
) -> Tensor:
    """The attention that the user chose for ComfyUI: (b, n, d) and (b, m, d) → (b, n, d)."""
    return optimized_attention(q, k, v, heads, transformer_options=transformer_options or {})


def stored_dtype(choice: torch.dtype | None) -> torch.dtype:
    """The dtype for weights: the user's choice, or else ComfyUI's for this device."""
    if choice is not None:
        return choice
    return comfy.model_management.unet_dtype(
        model_params=NUM_PARAMETERS,
        supported_dtypes=EchoMimicConfig.supported_inference_dtypes,
    )


def compute_dtype(network: UNet | LandmarkEncoder) -> torch.dtype:
    """The dtype that the device computes in with the weights of `network`."""
    return _manual_cast(network.dtype) or network.dtype


def make_model(unet: UNet, variant: Variant) -> ModelPatcher:
    """A MODEL that holds the weights of `unet`."""
    config = EchoMimicConfig({"config": unet.config})
    config.set_inference_dtype(unet.dtype, _manual_cast(unet.dtype))
    model = EchoMimicModel(config, variant)
    model.diffusion_model.load_state_dict(unet.state_dict(), assign=True)
    return make_patcher(model)


def make_network(
    load: Callable[..., nn.Module], dtype: torch.dtype, published_as: str
) -> ModelPatcher:
    """What `load(dtype=, operations=)` returns, of layers that ComfyUI casts and streams.

    `published_as` is the name of its file, by which `check_same_variant` knows it again.
    """
    network = load(dtype=dtype, operations=comfy.ops.pick_operations(dtype, _manual_cast(dtype)))
    if isinstance(network, UNet):
        network.attention = attend
    network.published_as = published_as
    return make_patcher(network)


def make_patcher(network: nn.Module) -> ModelPatcher:
    """A patcher on the devices that ComfyUI chose; `main.py` rebinds its class while starting."""
    comfy.model_management.archive_model_dtypes(network)
    return comfy.model_patcher.CoreModelPatcher(*_on_its_devices(network))


class Plain(nn.Module):
    """Holds a network of torch.nn layers, which are moved as a whole and never cast.

    ComfyUI writes to a network's `device`, which some have as a read-only property.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network


def make_plain_patcher(network: nn.Module) -> ModelPatcher:
    """A patcher for small networks that are not built from ComfyUI's operations."""
    return ModelPatcher(*_on_its_devices(Plain(network)))


def _on_its_devices(network: nn.Module) -> tuple[nn.Module, torch.device, torch.device]:
    """The network, where it works, and where it waits (and is now)."""
    waiting = comfy.model_management.unet_offload_device()
    network = network.requires_grad_(False).eval().to(waiting)
    return network, comfy.model_management.get_torch_device(), waiting


def _manual_cast(dtype: torch.dtype) -> torch.dtype | None:
    return comfy.model_management.unet_manual_cast(dtype, comfy.model_management.get_torch_device())
