"""The denoising UNet as a MODEL of ComfyUI, the other networks in patchers of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakValueDictionary

import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.supported_models_base
import torch
from comfy.conds import CONDRegular
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ..echomimic.config import Variant
from ..echomimic.denoiser import activation_bytes
from ..echomimic.errors import OptionsError
from ..echomimic.models.landmark_encoder import LandmarkEncoder
from ..echomimic.models.unet import UNet
from .clip_condition import KEY, BoundClip, check_clip, conds_of
from .network import ComfyUNet, attend
from .schedule import StraightLines

NUM_PARAMETERS = 1_303_146_000  # of the denoising UNet, spec 1.1


class EchoMimicConfig(comfy.supported_models_base.BASE):
    """What ComfyUI asks about a model family.

    The schedule is that of spec 10.2; "sqrt_linear" is what others call "linear". It is for nodes
    that build a schedule anew, such as ModelSamplingDiscrete; else `StraightLines` is used.
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
        self.model_sampling = StraightLines(config)
        self.variant = variant
        self.name: str | None = None  # in the list of EchoMimic Model Loader
        self.device = comfy.model_management.unet_offload_device()
        # Positive and negative share what is bound; it goes when the sampling that uses it ends.
        self._bound: WeakValueDictionary[int, BoundClip] = WeakValueDictionary()

    def extra_conds(self, **given: Any) -> dict[str, CONDRegular]:
        """The conditions of one entry of a CONDITIONING, once per sampling."""
        condition = check_clip(given.get(KEY), self.variant, given["noise"])
        clip = self._bound.get(id(condition.conditions))  # which lives as long as what is bound
        if clip is None:
            config, dtype = self.diffusion_model.config, self.get_dtype_inference()
            clip = BoundClip(condition, config, given["device"], dtype)
            self._bound[id(condition.conditions)] = clip
        return conds_of(clip, condition.conditional)

    def _apply_model(
        self,
        x: Tensor,
        t: Tensor,
        c_concat: None = None,
        c_crossattn: None = None,
        control: None = None,
        transformer_options: dict[str, Any] | None = None,
        **conds: Any,
    ) -> Tensor:
        """Look the frames up before the network is called, which may be a compiled one."""
        options = transformer_options or {}
        clip, chunks = conds.pop("clip"), len(options["cond_or_uncond"])
        conds |= clip.shown(x, conds.pop("frames"), conds.pop("conditional"), chunks)
        return super()._apply_model(x, t, transformer_options=options, **conds)

    def memory_required(self, input_shape: Sequence[int], cond_shapes: Any = None) -> int:
        """Bytes for a call with latents of `input_shape`, (rows, c, h, w)."""
        rows, _, *size = input_shape
        config, dtype = self.diffusion_model.config, self.get_dtype_inference()
        return activation_bytes(config, rows, tuple(size), dtype)


def variant_of(model: ModelPatcher) -> Variant:
    """The variant that a MODEL was loaded as; raises `OptionsError` for other families."""
    variant = getattr(model.model, "variant", None)
    if not isinstance(variant, Variant):
        raise OptionsError("The model is not EchoMimic's; connect EchoMimic Model Loader.")
    return variant


def name_of(model: ModelPatcher) -> str | None:
    """The name that a MODEL of ours was chosen by in EchoMimic Model Loader."""
    return getattr(model.model, "name", None)


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


def make_model(unet: UNet, variant: Variant, *, disable_dynamic: bool = False) -> ModelPatcher:
    """A MODEL that holds the weights of `unet`.

    `disable_dynamic`: they are all on the device while it works, as compiling needs it.
    """
    config = EchoMimicConfig({"config": unet.config})
    config.set_inference_dtype(unet.dtype, _manual_cast(unet.dtype))
    model = EchoMimicModel(config, variant)
    model.diffusion_model.load_state_dict(unet.state_dict(), assign=True)
    return make_patcher(model, disable_dynamic=disable_dynamic)


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


def make_patcher(network: nn.Module, *, disable_dynamic: bool = False) -> ModelPatcher:
    """A patcher on the devices that ComfyUI chose; `main.py` rebinds its class while starting."""
    comfy.model_management.archive_model_dtypes(network)
    kind = ModelPatcher if disable_dynamic else comfy.model_patcher.CoreModelPatcher
    return kind(*_on_its_devices(network))


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
