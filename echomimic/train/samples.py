"""What one training sample of the paper's stages is: drawn, dropped, augmented."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..audio.tokens import AudioTrack
from ..errors import OptionsError
from ..landmarks.draw import Reduction, draw_track
from ..sampling.schedule import TRAIN_TIMESTEPS
from .cache import AudioCache, LatentCache
from .clips import Clip
from .draws import generator
from .dropout import Dropout, Mixture
from .landmark_selection import LandmarkSelection

GOLDEN_RATIO = 0.6180339887498949
Kind = Literal["mask", "landmarks", "joint"]


@dataclass(frozen=True)
class SampleSettings:
    """How samples are drawn; each idea of the paper has its own switch."""

    condition: Kind = "mask"
    targets: int = 1  # stage 1: single frames that share a reference; stage 2: frames of a clip
    mixture: Mixture = field(default_factory=Mixture)  # of a joint model
    selection: LandmarkSelection = field(default_factory=LandmarkSelection)
    dropout: Dropout = field(default_factory=Dropout)
    reference_distance: int = 12  # frames between reference and targets, where a clip has as many
    portrait_share: float = 0.0  # of samples whose reference is the clip's portrait, if it has one
    audio_motion: str = ""  # of clips that are driven by the voice alone; "": any
    landmark_motion: str = ""  # of clips that are driven by landmarks; "": any
    mouth_weight: float = 1.0  # of the latent loss around the mouth, other places having 1
    eyes_weight: float = 1.0
    spatial_frames: int = 1  # decoded of a sample; drawn at random: the mean is that of all frames
    spatial_share: float = 1.0  # of samples whose frames are; drawn, and weighted to the same mean

    def __post_init__(self) -> None:
        if self.condition not in ("mask", "landmarks", "joint"):
            raise OptionsError(
                f"condition must be mask, landmarks or joint, not {self.condition!r}."
            )
        if self.targets < 1 or not 1 <= self.spatial_frames <= self.targets:
            raise OptionsError(
                f"spatial_frames ({self.spatial_frames}) must be between 1 and targets "
                f"({self.targets})."
            )
        if not 0 <= self.spatial_share <= 1:
            raise OptionsError(f"spatial_share must be in 0..1, not {self.spatial_share}.")


class SampleSource:
    """Samples by their global number; the same number is the same sample everywhere."""

    def __init__(
        self,
        clips: Sequence[Clip],
        latents: LatentCache,
        voices: AudioCache,
        settings: SampleSettings,
        *,
        stage: str,
        seed: int,
        reduction: Reduction,
        motion_frames: int = 0,  # before the targets, of models that see some
    ) -> None:
        self._settings = settings
        self._spoken = _moving(clips, settings.audio_motion, "audio_motion")
        self._shown = _moving(clips, settings.landmark_motion, "landmark_motion")
        self._latents, self._voices = latents, voices
        self._stage, self._seed, self._reduction = stage, seed, reduction
        self._motion_frames = motion_frames if self._is_clip else 0

    def clip_of(self, index: int) -> Clip:
        """The clip that a sample comes from."""
        return self._choose(generator(self._seed, self._stage, index))[1]

    def _choose(self, draw: torch.Generator) -> tuple[str, Clip]:
        condition = self._settings.condition
        mode = {"mask": "audio", "landmarks": "both"}.get(condition)
        mode = mode or self._settings.mixture.draw(draw)
        clips = self._spoken if mode == "audio" else self._shown
        return mode, clips[int(torch.randint(len(clips), (), generator=draw))]

    def __call__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The samples of these numbers, stacked."""
        samples = [self.sample(index) for index in indices]
        return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}

    def sample(self, index: int) -> dict[str, Tensor]:
        """One sample; n is `targets`.

        latents, noise (n, c, h, w), reference (c, h, w), t (n,), audio (n, m, d), landmarks
        (n, channels, H, W) uint8, images (k, 3, H, W) uint8 of `spatial_frames` (k,),
        latent_weights (n, 1, h, w), with_reference, with_landmarks, and spatial_scale, what the
        spatial loss counts: 0, or 1 / spatial_share. Clips of models that see motion frames also
        have `motion` (k, c, h, w) and with_motion.
        """
        s, draw = self._settings, generator(self._seed, self._stage, index)
        mode, clip = self._choose(draw)
        drops = s.dropout.draw(draw)
        frames = self._frames(clip, draw)
        reference = self._reference(clip, frames, draw)
        mean, deviation = self._latents.get(clip, [reference, *frames])
        latents = mean + deviation * torch.randn(mean.shape, generator=draw)
        heard = mode != "landmarks" and not drops.audio
        seen = mode != "audio" or s.condition == "mask"
        spatial = torch.randperm(s.targets, generator=draw)[: s.spatial_frames]
        sample = {
            "reference": latents[0],
            "latents": latents[1:],
            "noise": torch.randn(latents[1:].shape, generator=draw),
            "t": self._timesteps(index, draw),
            "audio": self._audio(clip, frames, draw, heard=heard),
            "landmarks": self._face(clip, frames, mode, draw),
            "latent_weights": self._weights(clip, frames, latents.shape[-2:]),
            "images": torch.stack([_picture(clip, frames[int(i)]) for i in spatial]),
            "spatial_frames": spatial,
            "with_reference": torch.tensor(not drops.reference),
            "with_landmarks": torch.tensor(seen and not drops.landmarks),
            "spatial_scale": self._spatial_scale(draw),
        }
        if self._motion_frames:
            sample |= self._motion(clip, frames[0], draw, dropped=drops.motion_frames)
        return sample

    def _motion(
        self, clip: Clip, first: int, draw: torch.Generator, *, dropped: bool
    ) -> dict[str, Tensor]:
        """The real frames before the targets; none are shown where the clip has too few."""
        start = first - self._motion_frames
        frames = range(max(0, start), max(0, start) + self._motion_frames)
        mean, deviation = self._latents.get(clip, frames)
        latents = mean + deviation * torch.randn(mean.shape, generator=draw)
        return {"motion": latents, "with_motion": torch.tensor(start >= 0 and not dropped)}

    def _spatial_scale(self, draw: torch.Generator) -> Tensor:
        share = self._settings.spatial_share
        counts = float(torch.rand((), generator=draw)) < share
        return torch.tensor(1 / share if counts else 0.0)

    @property
    def _is_clip(self) -> bool:
        return self._stage == "stage2"

    def _frames(self, clip: Clip, draw: torch.Generator) -> list[int]:
        count = self._settings.targets
        if self._is_clip:
            start = int(torch.randint(clip.num_frames - count + 1, (), generator=draw))
            return list(range(start, start + count))
        if count <= clip.num_frames:
            return torch.randperm(clip.num_frames, generator=draw)[:count].tolist()
        return torch.randint(clip.num_frames, (count,), generator=draw).tolist()

    def _reference(self, clip: Clip, frames: list[int], draw: torch.Generator) -> int:
        """The portrait, or a frame far from the targets if the clip is long enough, else any."""
        share = float(torch.rand((), generator=draw))
        if clip.has_portrait and share < self._settings.portrait_share:
            return clip.num_frames  # where `LatentCache` has it
        distance = self._settings.reference_distance
        near = {f + d for f in frames for d in range(-distance + 1, distance)}
        far = sorted(set(range(clip.num_frames)) - near) or range(clip.num_frames)
        return far[int(torch.randint(len(far), (), generator=draw))]

    def _timesteps(self, index: int, draw: torch.Generator) -> Tensor:
        """Uniform over 0..999; neighbours lie far apart, so every batch has all levels."""
        n = self._settings.targets
        offset = float(torch.rand((), generator=draw)) / TRAIN_TIMESTEPS
        numbers = torch.arange(n, dtype=torch.float64) + index * n
        if self._is_clip:
            numbers = torch.full((n,), float(index), dtype=torch.float64)
        return ((numbers * GOLDEN_RATIO + offset) % 1 * TRAIN_TIMESTEPS).long()

    def _audio(
        self, clip: Clip, frames: list[int], draw: torch.Generator, *, heard: bool
    ) -> Tensor:
        states = self._voices.get(clip, draw)  # (states, layer, d) at 50 Hz, from the clip's start
        track = AudioTrack(states, clip.fps, clip.num_frames)
        tokens = track.tokens(frames)  # (n, m, d)
        return tokens if heard else torch.zeros_like(tokens)

    def _face(self, clip: Clip, frames: list[int], mode: str, draw: torch.Generator) -> Tensor:
        """The landmark pictures of these frames, or the clip's face mask, uint8."""
        if self._settings.condition == "mask":
            mask = clip.face_mask().mul(255).round().byte()  # (1, H, W)
            return mask[None].expand(len(frames), -1, -1, -1)
        parts = self._settings.selection.draw(draw, voiced=mode == "both")
        track = clip.track_with(parts)
        pictures = draw_track(track, clip.size, frames, reduction=self._reduction)
        return torch.from_numpy(pictures).movedim(-1, 1)

    def _weights(self, clip: Clip, frames: list[int], cells: Sequence[int]) -> Tensor:
        s = self._settings
        maps = [
            clip.weight_map(f, (cells[1], cells[0]), mouth=s.mouth_weight, eyes=s.eyes_weight)
            for f in frames
        ]
        return torch.from_numpy(np.stack(maps))[:, None].float()


def _moving(clips: Sequence[Clip], motion: str, setting: str) -> list[Clip]:
    """The clips of a motion; "": all."""
    chosen = [clip for clip in clips if motion in ("", clip.meta.get("motion"))]
    if not chosen:
        raise OptionsError(
            f"No clip has the motion {motion!r} that {setting} asks for; make such clips or leave "
            f"{setting} empty."
        )
    return chosen


def _picture(clip: Clip, frame: int) -> Tensor:
    return torch.from_numpy(clip.frame(frame)).permute(2, 0, 1)


def check_length(clips: Sequence[Clip], frames: int) -> None:
    """Raise `OptionsError` if a clip is shorter than a sample of stage 2."""
    for clip in clips:
        if clip.num_frames < frames:
            unit = "frame" if clip.num_frames == 1 else "frames"
            raise OptionsError(
                f"{clip.name} has {clip.num_frames} {unit}, but stage 2 takes clips of {frames}, "
                "motion frames included; leave it out or choose fewer targets."
            )
