"""What new networks begin with, where torch's own initial weights would hold training up."""

from __future__ import annotations

import math

import torch
from torch import nn

from ..models.landmark_encoder import LandmarkEncoder
from ..models.unet import UNet
from .export import MOTION

SILU_GAIN = 1.0 / math.sqrt(0.3558)  # keeps E[x²] through a SiLU whose input is normal


@torch.no_grad()
def initialise_landmark_encoder(encoder: LandmarkEncoder) -> None:
    """Let drawings through eight convolutions, and add nothing to the UNet yet (spec 6).

    With torch's own weights and biases a drawing moves the output thousands of times less than the
    biases do, and after 500 steps landmarks drive nothing yet.
    """
    for name, conv in encoder.named_modules():
        if isinstance(conv, nn.Conv2d):
            fan_in = conv.weight[0].numel()
            deviation = 0.0 if name == "conv_out" else SILU_GAIN / math.sqrt(fan_in)
            nn.init.normal_(conv.weight, std=deviation)
            nn.init.zeros_(conv.bias)


@torch.no_grad()
def initialise_motion(unet: UNet) -> None:
    """Let motion modules begin as ones that change nothing (spec 2.6)."""
    for name, parameter in unet.named_parameters():
        if MOTION in name and ".proj_out." in name:
            parameter.zero_()
