"""What training does to its conditions: selection, dropout, mixture, augmentation."""

from collections import Counter

import pytest
import torch

from echomimic.errors import OptionsError
from echomimic.landmarks.mesh import PARTS
from echomimic.train.augmentation import (
    AudioAugmentation,
    add_noise,
    augment,
    equalise,
    low_pass,
    mix,
    reverberate,
)
from echomimic.train.draws import generator
from echomimic.train.dropout import Dropout, Mixture
from echomimic.train.landmark_selection import ALL, GROUPS, LandmarkSelection

RATE = 16_000
MANY = 20_000


def draws(count=MANY):
    draw = generator(0, "test", 0)
    return (draw for _ in range(count))


def test_samples_draw_the_same_whatever_was_drawn_before():
    first = torch.rand(3, generator=generator(1, "stage1", 7))
    assert torch.equal(first, torch.rand(3, generator=generator(1, "stage1", 7)))
    others = [generator(2, "stage1", 7), generator(1, "stage2", 7), generator(1, "stage1", 8)]
    assert all(not torch.equal(first, torch.rand(3, generator=other)) for other in others)


def test_each_group_is_drawn_in_65_of_100_samples_and_never_none():
    selection = LandmarkSelection()
    seen = [selection.draw(draw) for draw in draws()]
    assert all(parts and parts <= set(PARTS) for parts in seen)
    for name, group in GROUPS.items():
        assert sum(group <= parts for parts in seen) / MANY == pytest.approx(0.65, abs=0.01), name
        assert all(group <= parts or not group & parts for parts in seen)
    assert sum(parts == ALL for parts in seen) / MANY == pytest.approx(0.3, abs=0.01)
    sizes = Counter(sum(group <= parts for group in GROUPS.values()) for parts in seen)
    for size in (1, 2, 3, 4):
        assert sizes[size] / MANY == pytest.approx(0.7 / 4, abs=0.01)


def test_selection_can_be_switched_off_and_can_leave_the_mouth_to_the_voice():
    assert {LandmarkSelection(enabled=False).draw(draw) for draw in draws(100)} == {ALL}
    selection = LandmarkSelection(without_mouth=0.5)
    voiced = [selection.draw(draw, voiced=True) for draw in draws()]
    # A tenth more comes from the random choice itself: one group dropped, and that the mouth.
    mouthless = sum(parts == ALL - GROUPS["mouth"] for parts in voiced) / MANY
    assert mouthless == pytest.approx(0.5 + 0.5 * 0.7 / 4 / 5, abs=0.01)
    silent = [selection.draw(draw) for draw in draws()]
    assert sum("mouth" in parts for parts in silent) / MANY == pytest.approx(0.65, abs=0.01)


def test_conditions_are_dropped_independently_and_together():
    dropout = Dropout(reference=0.1, audio=0.2, landmarks=0.05, motion_frames=0.3, joint=0.1)
    drops = [dropout.draw(draw) for draw in draws()]

    def share(chosen):
        return sum(map(chosen, drops)) / MANY

    assert share(lambda d: d.reference) == pytest.approx(1 - 0.9 * 0.9, abs=0.01)
    assert share(lambda d: d.audio) == pytest.approx(1 - 0.8 * 0.9, abs=0.01)
    assert share(lambda d: d.motion_frames) == pytest.approx(0.3, abs=0.01)
    together = share(lambda d: d.reference and d.audio and d.landmarks)
    assert together == pytest.approx(0.1 + 0.9 * 0.1 * 0.2 * 0.05, abs=0.01)
    none = Dropout(reference=0, audio=0, landmarks=0, motion_frames=0, joint=0)
    assert not any(vars(none.draw(draw))[key] for draw in draws(200) for key in ("audio",))


def test_a_mixture_has_its_shares_and_must_be_whole():
    mixture = Mixture(audio=0.5, landmarks=0.2, both=0.3)
    counts = Counter(mixture.draw(draw) for draw in draws())
    for name in ("audio", "landmarks", "both"):
        assert counts[name] / MANY == pytest.approx(getattr(mixture, name), abs=0.01)
    with pytest.raises(OptionsError, match="add up to 1"):
        Mixture(audio=0.9, landmarks=0.2, both=0.3)


@pytest.fixture()
def speech():
    torch.manual_seed(0)
    loud = (torch.arange(RATE) % 4000 < 2000).float()
    return 0.3 * torch.randn(RATE) * loud


def lag(changed, speech):
    """Samples by which one is behind the other."""
    size = 2 * len(speech)
    product = torch.fft.rfft(changed, size) * torch.fft.rfft(speech, size).conj()
    best = int(torch.fft.irfft(product, size).argmax())
    return best if best < len(speech) else best - size


@pytest.mark.parametrize("way", [add_noise, equalise, low_pass, reverberate])
def test_no_way_of_making_a_voice_worse_moves_it(way, speech):
    for index in range(10):
        changed = way(speech, generator(0, "lag", index))
        assert changed.shape == speech.shape
        assert lag(changed, speech) == 0
        assert not torch.equal(changed, speech)


def test_what_is_mixed_in_has_the_level_asked_for(speech):
    noise = torch.randn(RATE)
    for snr in (5.0, 20.0):
        added = mix(speech, noise, snr) - speech
        measured = 10 * (speech.square().mean() / added.square().mean()).log10()
        assert float(measured) == pytest.approx(snr, abs=0.1)
    assert torch.equal(mix(torch.zeros(9), torch.randn(9), 5.0), torch.zeros(9))


def test_augmentation_is_repeatable_bounded_and_can_be_off(speech):
    options = AudioAugmentation(probability=1.0)
    for index in range(30):
        first, second = (
            augment(speech, generator(3, "a", index), options, babble=speech.flip(0))
            for _ in range(2)
        )
        assert torch.equal(first, second)
        assert first.isfinite().all()
        assert first.abs().max() <= 1
        assert len(first) == len(speech)
    off = augment(speech, generator(3, "a", 0), AudioAugmentation(enabled=False))
    assert torch.equal(off, speech)
    half = AudioAugmentation(probability=0.5)
    same = [torch.equal(augment(speech, generator(3, "b", i), half), speech) for i in range(300)]
    assert 0.4 < sum(same) / 300 < 0.6
