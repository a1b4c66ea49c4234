"""Motion modules of AnimateDiff as a start: as its files name, wrap and count them."""

from dataclasses import replace

import pytest
import torch

pytest.importorskip("accelerate")

from echomimic.config import MotionConfig
from echomimic.errors import WeightsError
from echomimic.models.motion_module import position_table
from echomimic.models.unet import UNet
from echomimic.train.start import fill_motion
from echomimic.weights.random_weights import TINY

CONFIG = replace(TINY.unet, motion=MotionConfig(num_heads=8, max_frames=32))
TABLE = "attention_blocks.{}.pos_encoder.pe"
BLOCK = "temporal_transformer.transformer_blocks.0"
# (place, width of the level) of every motion module of version 2, four levels of two layers.
PLACES = [
    *((f"down_blocks.{level}.motion_modules.{i}", level) for level in range(4) for i in range(2)),
    ("mid_block.motion_modules.0", 3),
    *((f"up_blocks.{3 - level}.motion_modules.{i}", level) for level in range(4) for i in range(3)),
]


def animatediff(max_frames=32, prefix="", middle=True):
    """A file as AnimateDiff publishes it, its names written out; numbers at random."""
    torch.manual_seed(1)
    state = {}
    for place, level in PLACES:
        if place.startswith("mid") and not middle:
            continue
        d, start = CONFIG.channels[level], f"{prefix}{place}"
        transformer = f"{start}.temporal_transformer"
        for name in ("norm", "proj_in", "proj_out"):
            state[f"{transformer}.{name}.weight"] = torch.randn((d,) if name == "norm" else (d, d))
            state[f"{transformer}.{name}.bias"] = torch.randn(d)
        block = f"{start}.{BLOCK}"
        for i in range(2):
            for name in ("to_q", "to_k", "to_v", "to_out.0"):
                state[f"{block}.attention_blocks.{i}.{name}.weight"] = torch.randn(d, d)
            state[f"{block}.attention_blocks.{i}.to_out.0.bias"] = torch.randn(d)
            state[f"{block}.{TABLE.format(i)}"] = position_table(max_frames, d)
            state |= {f"{block}.norms.{i}.{x}": torch.randn(d) for x in ("weight", "bias")}
        state |= {f"{block}.ff_norm.{x}": torch.randn(d) for x in ("weight", "bias")}
        state[f"{block}.ff.net.0.proj.weight"] = torch.randn(8 * d, d)
        state[f"{block}.ff.net.0.proj.bias"] = torch.randn(8 * d)
        state[f"{block}.ff.net.2.weight"] = torch.randn(d, 4 * d)
        state[f"{block}.ff.net.2.bias"] = torch.randn(d)
    return state


@pytest.mark.parametrize(
    ("max_frames", "prefix", "wrapped"),
    [(32, "", False), (32, "module.", True), (24, "module.", False), (24, "", True)],
)
def test_the_published_file_fills_every_motion_module(tmp_path, max_frames, prefix, wrapped):
    state = animatediff(max_frames, prefix)
    content = {"epoch": 3, "state_dict": state} if wrapped else state
    torch.save(content, tmp_path / "mm_sd_v15_v2.ckpt")
    unet = UNet(CONFIG)
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    fill_motion(unet, tmp_path / "mm_sd_v15_v2.ckpt")
    for name, value in unet.state_dict().items():
        if name.endswith(".pe"):
            assert torch.equal(value, position_table(32, value.shape[-1]))
            assert torch.equal(value[:, :max_frames], state[prefix + name][:, :32])
        elif ".motion_modules." in name:
            assert torch.equal(value, state[prefix + name]), name
        else:
            assert torch.equal(value, before[name]), name


def test_what_is_no_motion_module_or_lacks_one_is_explained(tmp_path):
    torch.save({"conv_in.weight": torch.ones(1)}, tmp_path / "unet.pth")
    with pytest.raises(WeightsError, match=r"unet.pth is not a motion module; give one"):
        fill_motion(UNet(CONFIG), tmp_path / "unet.pth")
    torch.save(animatediff(24, middle=False), tmp_path / "mm_sd_v15.ckpt")  # version 1
    with pytest.raises(WeightsError, match=r"mid_block.* more are missing"):
        fill_motion(UNet(CONFIG), tmp_path / "mm_sd_v15.ckpt")
