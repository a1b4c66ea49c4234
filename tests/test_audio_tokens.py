"""Audio tokens of video frames are rows of the encoder's states, found by arithmetic."""

import pytest
import torch

from echomimic.audio.tokens import AudioTrack, num_frames, official_num_frames, token_index
from echomimic.errors import OptionsError

FPS = [12.5, 23.976, 24, 25, 29.97, 30, 50, 60]


def official_slices(num_states, fps):
    """The official loop: slices until one whose centre lies past the last state."""
    slices, frame = [], 0
    while True:
        centre = int(frame * 50 / fps)
        slices.append([min(max(0, i), num_states - 1) for i in range(centre - 4, centre + 6)])
        frame += 1
        if centre > num_states:
            return slices


@pytest.mark.parametrize("fps", FPS)
@pytest.mark.parametrize("num_states", [1, 2, 7, 50, 333, 1500])
def test_slices_and_their_number_equal_the_official_loop(num_states, fps):
    expected = torch.tensor(official_slices(num_states, fps))
    assert official_num_frames(num_states, fps) == len(expected)
    assert torch.equal(token_index(torch.arange(len(expected)), num_states, fps), expected)


@pytest.mark.parametrize(
    ("num_samples", "fps", "frames"),
    [(1, 24, 1), (16_000, 24, 24), (16_001, 24, 25), (160_000, 29.97, 300), (0, 24, 1)],
)
def test_a_clip_is_as_long_as_its_sound(num_samples, fps, frames):
    assert num_frames(num_samples, fps) == frames


def test_tokens_are_ordered_by_time_then_layer():
    states = torch.arange(100 * 3).reshape(100, 3, 1)
    tokens = AudioTrack(states, fps=25, num_frames=50).tokens([20, 3])
    assert tokens.shape == (2, 30, 1)
    assert tokens[0, :, 0].tolist() == list(range(36 * 3, 46 * 3))
    assert tokens[1, :, 0].tolist() == list(range(2 * 3, 12 * 3))


def test_the_clips_ends_are_held():
    states = torch.arange(10.0).reshape(10, 1, 1)
    tokens = AudioTrack(states, fps=25, num_frames=9).tokens([0, 8])
    assert tokens[0, :, 0].tolist() == [0, 0, 0, 0, 0, 1, 2, 3, 4, 5]
    assert tokens[1, :, 0].tolist() == [9] * 10


def test_an_hour_costs_no_more_than_its_window():
    states = torch.zeros(1, 5, 384).expand(180_000, 5, 384)
    track = AudioTrack(states, fps=24, num_frames=86_400)
    assert track.tokens(range(86_388, 86_400)).shape == (12, 50, 384)


@pytest.mark.parametrize("fps", [0, -24, float("nan"), float("inf")])
def test_impossible_frame_rates_are_refused(fps):
    for use in (
        lambda: num_frames(16_000, fps),
        lambda: official_num_frames(50, fps),
        lambda: AudioTrack(torch.zeros(1, 1, 1), fps, 1),
    ):
        with pytest.raises(OptionsError, match="fps must be a positive number"):
            use()


def test_a_clip_without_frames_is_refused():
    with pytest.raises(OptionsError, match="at least one frame"):
        AudioTrack(torch.zeros(1, 1, 1), fps=24, num_frames=0)
