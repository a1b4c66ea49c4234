"""Log-mel to the states of Whisper's encoder, at 50 Hz (spec 5.3, 5.4)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ..config import AudioEncoderConfig
from ..errors import WeightsError
from .mel import log_mel

HEADS = {384: 6, 512: 8, 768: 12, 1024: 16, 1280: 20}  # of the published widths


class AudioEncoder(nn.Module):
    """Whisper's encoder, giving every layer's states. Keys are those of transformers' models."""

    def __init__(
        self,
        config: AudioEncoderConfig,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        with torch.device(device or torch.get_default_device()):
            encoder = WhisperEncoder(_transformers_config(config))
        self.encoder = encoder.to(dtype or torch.get_default_dtype()).eval().requires_grad_(False)

    @property
    def dtype(self) -> torch.dtype:
        return self.encoder.conv1.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.encoder.conv1.weight.device

    def forward(self, mel: Tensor) -> Tensor:
        """All states before the final norm: (b, num_mels, 2n) → (b, n, layer, d) (spec 5.4).

        n is `config.max_states`, 1500 for 30 s. Layer 0 is the input of the first block, the
        last one the output of the last block.
        """
        with _inputs_of([*self.encoder.layers, self.encoder.layer_norm]) as states:
            self.encoder(mel.to(self.device, self.dtype))
        return torch.stack(states, dim=2)  # (b, n, layer, d)


@contextmanager
def _inputs_of(modules: list[nn.Module]) -> Iterator[list[Tensor]]:
    """Collect what is handed to each module while the context lasts.

    transformers' own last hidden state is taken after the final norm, which was never applied
    to the states the models were trained on.
    """
    seen: list[Tensor] = []
    hooks = [m.register_forward_pre_hook(lambda _, args: seen.append(args[0])) for m in modules]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _transformers_config(config: AudioEncoderConfig) -> WhisperConfig:
    return WhisperConfig(
        num_mel_bins=config.num_mels,
        d_model=config.width,
        encoder_attention_heads=config.num_heads,
        encoder_layers=config.num_layers,
        encoder_ffn_dim=4 * config.width,
        max_source_positions=config.max_states,
        dropout=0.0,
    )


OPENAI_NAMES = (
    (r"^encoder\.positional_embedding$", "encoder.embed_positions.weight"),
    (r"^encoder\.ln_post\.", "encoder.layer_norm."),
    (r"^encoder\.blocks\.", "encoder.layers."),
    (r"\.attn\.query\.", ".self_attn.q_proj."),
    (r"\.attn\.key\.", ".self_attn.k_proj."),
    (r"\.attn\.value\.", ".self_attn.v_proj."),
    (r"\.attn\.out\.", ".self_attn.out_proj."),
    (r"\.attn_ln\.", ".self_attn_layer_norm."),
    (r"\.mlp\.0\.", ".fc1."),
    (r"\.mlp\.2\.", ".fc2."),
    (r"\.mlp_ln\.", ".final_layer_norm."),
)


def openai_to_transformers(state: dict[str, Any]) -> dict[str, Tensor]:
    """Rename OpenAI's encoder keys to those of `AudioEncoder`; the text decoder is dropped.

    Takes a whole checkpoint (with `dims`) or its state dict.
    """
    state = state.get("model_state_dict", state)
    return {_renamed(key): value for key, value in state.items() if not _is_decoder(key)}


def encoder_state(state: dict[str, Any]) -> dict[str, Tensor]:
    """The keys of `AudioEncoder` from any known layout: OpenAI's, transformers', or our own."""
    state = state.get("model_state_dict", state)
    if is_openai(state):
        return openai_to_transformers(state)
    bare = {key.removeprefix("model."): value for key, value in state.items()}
    return {key: value for key, value in bare.items() if not _is_decoder(key)}


def is_openai(state: dict[str, Any]) -> bool:
    """Whether these are OpenAI's key names."""
    return any(key.startswith("encoder.blocks.") for key in state)


def _is_decoder(key: str) -> bool:
    return key.startswith(("decoder.", "proj_out."))


def _renamed(key: str) -> str:
    for pattern, name in OPENAI_NAMES:
        key = re.sub(pattern, name, key)
    return key


def config_from_state(state: dict[str, Any]) -> AudioEncoderConfig:
    """The encoder's shape, from OpenAI's `dims` or else from the tensors of any known layout.

    Tensors do not tell the number of heads, so without `dims` only published widths are known.
    Raises `WeightsError` for other widths and for what is no Whisper encoder.
    """
    dims = state.get("dims")
    if isinstance(dims, dict):
        return AudioEncoderConfig(
            num_mels=dims["n_mels"],
            width=dims["n_audio_state"],
            num_heads=dims["n_audio_head"],
            num_layers=dims["n_audio_layer"],
            max_states=dims["n_audio_ctx"],
        )
    tensors = encoder_state(state)
    try:
        width, num_mels, _ = tensors["encoder.conv1.weight"].shape
        max_states = len(tensors["encoder.embed_positions.weight"])
        num_layers = sum(key.endswith(".fc1.weight") for key in tensors)
        return AudioEncoderConfig(num_mels, width, HEADS[width], num_layers, max_states)
    except KeyError as error:
        raise WeightsError(
            f"The audio encoder's shape cannot be told from its weights ({error} is not known); "
            "put its config.json beside them or use the official whisper_tiny.pt."
        ) from error


@torch.no_grad()
def encode_speech(
    encoder: AudioEncoder,
    speech: Tensor,
    *,
    hard_windows: bool = False,
    num_states: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """States of 16 kHz speech at 50 Hz: (n,) → (states, layer, d) float32 on the CPU.

    Long clips are encoded in windows of 30 s. By default these overlap by at least 10 s and
    neighbours are cross-faded over 2 s amid the overlap, so that no state is near a border (D9,
    D10); `hard_windows` is the official way: cut every 30 s, the rest filled with 0.0 in the
    mel domain, and half a state lost at the end (spec 5.3). A clip of one window is the same
    either way. `num_states` asks for the first ones only; the loudest moment that the mel is
    related to is still that of the whole clip (D11). An hour takes 1.4 GB (180,000 states of
    whisper-tiny) and no more than one window beside it on the encoder's device.
    """
    mel = log_mel(speech.cpu(), num_mels=encoder.config.num_mels)
    size = encoder.config.max_states
    available = mel.shape[1] // 2 if hard_windows else (mel.shape[1] + 1) // 2
    num_states = min(available, num_states or available)
    starts = range(0, num_states, size) if hard_windows else _overlapping(num_states, size)
    states = torch.empty(num_states, encoder.config.num_layers + 1, encoder.config.width)
    filled = 0
    for done, start in enumerate(starts, 1):
        piece = mel[:, 2 * start : 2 * (start + size)]
        piece = F.pad(piece, (0, 2 * size - piece.shape[1]))  # with 0.0, not with silence
        window = encoder(piece[None])[0].float().cpu()[: num_states - start]
        _join(states, window, start, filled, fade=size // 15)
        filled = start + len(window)
        if on_progress is not None:
            on_progress(done, len(starts))
    return states


def _overlapping(num_states: int, size: int) -> list[int]:
    """Evenly spread window starts; neighbours share a third or more, the last ends the clip."""
    last = max(0, num_states - size)
    steps = -(-last // (size - size // 3))
    return [last * i // max(1, steps) for i in range(steps + 1)]


def _join(states: Tensor, window: Tensor, start: int, filled: int, fade: int) -> None:
    """Write `window` at `start`, fading from what is there amid the shared part."""
    overlap = filled - start
    if overlap <= 0:
        states[start : start + len(window)] = window
        return
    fade = min(fade, overlap)
    first = (overlap - fade) // 2
    ramp = torch.arange(1, fade + 1).div(fade + 1)[:, None, None]  # (fade, 1, 1)
    begin, end = start + first, start + first + fade
    states[begin:end].lerp_(window[first : first + fade], ramp)
    states[end : start + len(window)] = window[first + fade :]
