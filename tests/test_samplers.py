"""Windows around a denoiser, and the loop over the steps."""

import pytest
import torch

from echomimic.errors import OptionsError, SamplingError
from echomimic.sampling.context import overlap_weights, window_rule
from echomimic.sampling.guidance import guided
from echomimic.sampling.samplers import sample, windowed
from echomimic.sampling.schedule import make_schedule

LATENTS = torch.randn(30, 4, 2, 2, generator=torch.Generator().manual_seed(0))  # (f, c, h, w)


def _identity(latents, t, windows):
    return latents


def _place(latents, t, windows):
    """1 + position in the window."""
    place = torch.arange(1.0, latents.shape[1] + 1).view(1, -1, 1, 1, 1)
    return place.expand_as(latents)


@pytest.mark.parametrize("scale", [1.0, 2.5])
@pytest.mark.parametrize("kind", ["open", "looped"])
@pytest.mark.parametrize("weights", ["flat", "pyramid"])
def test_overlaps_are_averaged_with_and_without_guidance(scale, kind, weights):
    identity = guided(lambda latents, t, windows, conditional: latents, scale)
    rule = window_rule(kind, 30, 12, 3, shift=2)

    predict = windowed(identity, rule, weights=overlap_weights(weights, 12))

    torch.testing.assert_close(predict(LATENTS, 5, 999), LATENTS)


def test_each_window_is_told_its_frames():
    rule = window_rule("open", 30, 12, 3, shift=2)
    seen = []

    def denoise(latents, t, windows):
        for window, frames in zip(latents, windows, strict=True):
            assert torch.equal(window, LATENTS[frames])
        seen.extend(windows)
        return latents

    windowed(denoise, rule, batch=2)(LATENTS, 3, 500)

    assert seen == rule(3)


@pytest.mark.parametrize("weights", ["flat", "pyramid"])
@pytest.mark.parametrize("batch", [2, 3, 4, 100])
def test_the_result_does_not_depend_on_how_many_windows_go_together(weights, batch):
    rule = window_rule("open", 30, 12, 5, shift=2)
    weights = overlap_weights(weights, 12)

    one = windowed(_place, rule, weights=weights)(LATENTS, 1, 999)
    many = windowed(_place, rule, weights=weights, batch=batch)(LATENTS, 1, 999)

    assert torch.equal(one, many)


@pytest.mark.parametrize(("batch", "expected"), [(1, [1, 2, 3, 4]), (3, [3, 4]), (9, [4])])
def test_progress_counts_windows_after_every_call(batch, expected):
    done = []
    rule = window_rule("looped", 30, 12, 3)

    windowed(_identity, rule, batch=batch, on_window=done.append)(LATENTS, 0, 999)

    assert done == expected


def test_a_pyramid_listens_more_to_the_middle_of_a_window():
    rule = window_rule("open", 21, 12, 3)  # frames 9, 10, 11 belong to both windows
    predict = windowed(_place, rule, weights=overlap_weights("pyramid", 12))

    v = predict(LATENTS[:21], 0, 999)[:, 0, 0, 0]

    # frame 9: place 10 of window 0 with weight 3, place 1 of window 1 with weight 1
    assert v[9:12].tolist() == pytest.approx([31 / 4, 26 / 4, 21 / 4])


def test_undivided_overlaps_are_sums():
    rule = window_rule("open", 21, 12, 3)

    v = windowed(_place, rule, divide=False)(LATENTS[:21], 0, 999)[:, 0, 0, 0]

    assert v.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 15, 4, 5, 6, 7, 8, 9, 10, 11, 12]


def test_sums_of_unequal_weights_are_refused():
    with pytest.raises(OptionsError, match="overlap_weights=flat"):
        windowed(_identity, window_rule("open", 30, 12, 3), weights=torch.rand(12), divide=False)


def test_an_empty_batch_is_refused():
    with pytest.raises(OptionsError, match="window_batch must be 1 or more, not 0"):
        windowed(_identity, window_rule("open", 30, 12, 3), batch=0)


def test_latents_given_to_the_windows_are_left_as_they_are():
    before = LATENTS.clone()

    windowed(_place, window_rule("looped", 30, 12, 3, shift=2))(LATENTS, 4, 999)

    assert torch.equal(LATENTS, before)


def test_a_known_clip_is_reached_through_windows_and_guidance():
    """Seams, shifts, and guidance vanish when every window points at the same clip."""
    clip = torch.randn(30, 4, 2, 2, generator=torch.Generator().manual_seed(1))
    schedule = make_schedule("ddim", 6)
    alphas = dict(zip(schedule.timesteps, schedule.alphas, strict=True))

    def oracle(latents, t, windows, conditional):
        signal, noise = alphas[t] ** 0.5, (1 - alphas[t]) ** 0.5
        clean = torch.stack([clip[frames] for frames in windows])
        return (signal * latents - clean) / noise

    for kind in ("open", "looped"):
        rule = window_rule(kind, 30, 12, 3, shift=2)
        predict = windowed(guided(oracle, 2.5), rule, batch=2)
        torch.testing.assert_close(sample(predict, LATENTS, schedule), clip, rtol=0, atol=1e-5)


def test_every_step_is_reported_with_the_new_latents():
    steps = []

    result = sample(
        lambda latents, step, t: 0.5 * latents,
        LATENTS,
        make_schedule("ddim", 4),
        lambda step, latents, clean: steps.append((step, latents.clone(), clean.shape)),
    )

    assert [step for step, _, _ in steps] == [0, 1, 2, 3]
    assert torch.equal(steps[-1][1], result)
    assert all(shape == LATENTS.shape for _, _, shape in steps)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_nan_stops_the_run_and_names_step_and_dtype(poison):
    schedule = make_schedule("ddim", 6)
    calls = []

    def predict(latents, step, t):
        calls.append(step)
        v = latents.clone()
        if step == 2:
            v[7, 1, 0, 1] = poison
        return v

    sentence = r"NaN or infinite at step 3 of 6 \(t=666\); choose bfloat16 or float32 as dtype"
    with pytest.raises(SamplingError, match=sentence):
        sample(predict, LATENTS, schedule)
    assert calls == [0, 1, 2]
