"""What the stock samplers show the model of a clip: one opaque value in each CONDITIONING.

`extra_conds` of the model turns it into three conditions. `frames` and `conditional` have a row
per frame, so whatever slices, repeats or batches rows leaves each of them with its own frame and
its own half of guidance. `clip` is shared by all rows, and the frames are looked up in it when the
model is called: a long clip's landmark features exist for the frames at hand only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from comfy.conds import CONDConstant, CONDRegular
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..echomimic.conditions import Conditions
from ..echomimic.config import UNetConfig, Variant
from ..echomimic.errors import OptionsError
from ..echomimic.frame_conditions import FrameConditions

KEY = "echomimic"  # in the dict of a CONDITIONING


@dataclass(frozen=True, eq=False)
class ClipCondition:
    """Everything that drives a clip, and whether it is shown or hidden for guidance."""

    conditions: Conditions
    variant: Variant
    landmark_encoder: ModelPatcher | None = None  # where landmarks drive the face
    conditional: bool = True

    def pair(self) -> tuple[list, list]:
        """The CONDITIONING that shows the clip, and the one that hides it."""
        return self._conditioning(), replace(self, conditional=False)._conditioning()

    def _conditioning(self) -> list:
        values: dict[str, Any] = {KEY: self}
        if self.landmark_encoder is not None:
            values["additional_models"] = [self.landmark_encoder]  # loaded beside the model
        return [[None, values]]


class Shared(CONDConstant):
    """One object for all rows: neither repeated nor sliced, and batched with itself alone."""

    def can_concat(self, other: Shared) -> bool:
        return self.cond is other.cond


class BoundClip:
    """A clip's conditions on the compute device, for the length of one sampling."""

    def __init__(
        self,
        condition: ClipCondition,
        config: UNetConfig,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.conditions, self._config = condition.conditions, config
        encoder = condition.landmark_encoder
        self._reference = {
            name: value.to(device, dtype) for name, value in self.conditions.reference.items()
        }
        self._frames = FrameConditions(
            self.conditions,
            device=device,
            dtype=dtype,
            landmark_encoder=None if encoder is None else encoder.model,
        )

    def shown(self, x: Tensor, frames: Tensor, conditional: Tensor, chunks: int) -> dict[str, Any]:
        """Keyword arguments for the network: what the rows of x (chunks f, c, h, w) are shown.

        `frames` and `conditional` are (chunks f, 1). Raises `OptionsError` for a picture of
        another size, and for more frames than the motion modules can count.
        """
        self._check(x, len(x) // chunks)
        flags = conditional.reshape(chunks, -1)[:, 0].bool().tolist()
        shown = frames.reshape(chunks, -1)[flags].flatten().tolist()
        return {
            "num_frames": len(x) // chunks,
            "conditional": flags,
            "reference_features": self._reference,
            "audio_tokens": self._frames.audio_tokens(shown, self._config.audio_dim)
            if shown
            else None,
            "face": self._frames.face(shown) if shown else None,
        }

    def _check(self, x: Tensor, num_frames: int) -> None:
        height, width = self.conditions.latent_size
        if tuple(x.shape[-2:]) != (height, width):
            raise OptionsError(
                f"The model was given {_pixels(*x.shape[-2:])} but its conditions are for "
                f"{_pixels(height, width)}; connect the latent of EchoMimic Conditioning, use no "
                "areas, and choose dim 0 for context windows."
            )
        motion = self._config.motion
        if motion is not None and motion.motion_frames:
            raise OptionsError(
                f"This model sees {motion.motion_frames} finished frames before each window, which "
                "stock samplers do not know; use EchoMimic Sampler."
            )
        if motion is not None and num_frames > motion.max_frames:
            raise OptionsError(
                f"The model was given {num_frames} frames at once but its motion module knows "
                f"only {motion.max_frames} positions; put EchoMimic Context Windows between model "
                "and sampler, or make the windows shorter."
            )


def check_clip(condition: Any, variant: Variant, noise: Tensor) -> ClipCondition:
    """The condition, if it suits the model and the noise (f, c, h, w); raises `OptionsError`."""
    if not isinstance(condition, ClipCondition):
        raise OptionsError(
            "The EchoMimic model takes its conditions from EchoMimic Conditioning; connect "
            "positive and negative of that node to the sampler."
        )
    if condition.variant != variant:
        raise OptionsError(
            f"The conditions are for the variant {condition.variant.name!r} but the model is "
            f"{variant.name!r}; give EchoMimic Conditioning and the sampler the same model."
        )
    if len(noise) != condition.conditions.num_frames:
        raise OptionsError(
            f"The latent has {len(noise)} frames but the conditions are for "
            f"{condition.conditions.num_frames}; connect the latent of EchoMimic Conditioning."
        )
    return condition


def conds_of(clip: BoundClip, conditional: bool) -> dict[str, CONDRegular]:
    """What `extra_conds` returns. Small values stay on the CPU, where they are looked at."""
    return {
        "clip": Shared(clip),
        "frames": CONDRegular(torch.arange(clip.conditions.num_frames)[:, None]),  # (f, 1)
        "conditional": CONDRegular(torch.full((1, 1), float(conditional))),
    }


def _pixels(height: int, width: int) -> str:
    return f"{8 * width}x{8 * height} pixels"
