"""What is kept across steps: never another value, never more than the budget."""

import pytest
import torch

from echomimic.frame_memory import FrameMemory

CPU, META = torch.device("cpu"), torch.device("meta")
NUM_FRAMES = 20
FRAME_BYTES = 4 * (2 * 3 + 5)


def values(frames):
    """Two tensors by name, a number of the frame in each value."""
    frames = torch.tensor(list(frames), dtype=torch.float32)
    pair = (frames[:, None, None].expand(-1, 2, 3), frames[:, None].expand(-1, 5) * 2)
    return {"first": pair[:1], "second": pair[1:]}


def memory(*budgets, asked=None):
    def compute(frames):
        if asked is not None:
            asked.append(list(frames))
        return values(frames)

    places = [(CPU, budget * FRAME_BYTES) for budget in budgets]
    return FrameMemory(compute, NUM_FRAMES, places, device=CPU)


@pytest.mark.parametrize("budget", [0, 5, 100])
def test_gives_what_was_computed_whatever_fits(budget):
    kept = memory(budget)
    for frames in ([0, 1, 2], [2, 3, 4], [18, 19, 0], [0, 1, 2], [4, 9, 2]):
        expected = values(frames)
        for name, tensors in kept(frames).items():
            for actual, known in zip(tensors, expected[name], strict=True):
                torch.testing.assert_close(actual, known)


@pytest.mark.parametrize(("budget", "second_step"), [(100, 0), (7, 1), (0, 3)])
def test_computes_each_frame_once_if_all_fit_and_keeps_to_its_budget_if_not(budget, second_step):
    asked, windows = [], [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    kept = memory(budget, asked=asked)
    for _ in range(2):
        for frames in windows:
            kept(frames)
    assert len(asked) == len(windows) + second_step
    assert kept.capacity == min(budget, NUM_FRAMES)


def test_the_first_place_that_holds_the_clip_is_taken_else_the_last():
    def home(*places):
        kept = FrameMemory(values, NUM_FRAMES, places, device=CPU)
        kept([0])
        return next(iter(kept._kept.values()))[0].device, kept.capacity

    whole, little = NUM_FRAMES * FRAME_BYTES, 3 * FRAME_BYTES
    assert home((META, whole), (CPU, whole)) == (META, NUM_FRAMES)
    assert home((META, little), (CPU, whole)) == (CPU, NUM_FRAMES)
    assert home((META, little), (CPU, 2 * little)) == (CPU, 6)
