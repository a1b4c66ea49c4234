"""A cancel takes effect within one window, however many windows a call of the network holds."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from stock import make_clip, module

FRAMES, WINDOWS = 6, 5  # of two frames each, all in one call


@pytest.fixture(scope="module")
def clip(pack):
    return make_clip(pack, frames=FRAMES)


@pytest.fixture
def management(pack):
    import comfy.model_management

    comfy.model_management.interrupt_current_processing(False)
    yield comfy.model_management
    comfy.model_management.interrupt_current_processing(False)


@contextmanager
def layers_done(network, at=None, act=None):
    """Names of the layers that were run, in their order; `act` is called after number `at`."""
    done = []

    def note(name):
        def hook(*_):
            done.append(name)
            if len(done) == at:
                act()

        return hook

    leaves = [(name, part) for name, part in network.named_modules() if not [*part.children()]]
    hooks = [part.register_forward_hook(note(name)) for name, part in leaves]
    try:
        yield done
    finally:
        for hook in hooks:
            hook.remove()


def ours(clip):
    return clip.ours(steps=1, context_frames=2, context_overlap=1, window_batch=WINDOWS)


def stock(clip):
    return clip.stock(steps=1)


@pytest.mark.parametrize("sample", [ours, stock])
def test_a_cancel_stops_within_a_call_of_the_network(clip, management, sample):
    network, rows = clip.model().model.diffusion_model, []
    watch = network.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    with layers_done(network) as every:
        sample(clip)
    watch.remove()
    assert rows == [2 * (2 * WINDOWS if sample is ours else FRAMES)]  # a single call

    for at in (1, len(every) // 2, len(every) - 3):
        with (
            layers_done(network, at, management.interrupt_current_processing) as done,
            pytest.raises(management.InterruptProcessingException),
        ):
            sample(clip)
        assert len(done) - at < len(every) / WINDOWS / 4


class Event:
    """Of a device that does what it is given only when it is waited for."""

    given = done = 0

    def record(self):
        Event.given += 1
        self.number = Event.given

    def synchronize(self):
        Event.done = max(Event.done, self.number)


def test_a_device_is_not_given_more_than_a_part_of_a_call_in_advance(clip, monkeypatch):
    runtime, network, ahead = module("nodes.runtime"), module("nodes.network"), []
    device = SimpleNamespace(type="cuda")  # of which nothing is asked but its events
    expected = ours(clip)

    def paced(attention, _):
        def watched(*tensors):
            ahead.append(Event.given - Event.done)
            return attention(*tensors)

        return runtime.paced(watched, device)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(network, "paced", paced)
    monkeypatch.setattr(Event, "given", 0)
    monkeypatch.setattr(Event, "done", 0)

    assert torch.equal(ours(clip), expected)
    assert max(ahead) == runtime.AHEAD
    assert len(ahead) == Event.given > 2 * runtime.AHEAD * WINDOWS  # less than half a window


def test_only_several_windows_in_a_call_are_held_up_and_the_cpu_never(clip, monkeypatch):
    held, runtime = [], module("nodes.runtime")
    monkeypatch.setattr(
        module("nodes.network"), "paced", lambda attention, _: held.append(1) or attention
    )
    clip.ours(steps=1, context_frames=FRAMES)
    clip.stock(steps=1)
    assert not held
    clip.ours(steps=1, cfg=1.0, context_frames=4, context_overlap=2, window_batch=2)
    assert held  # two windows are as many rows as one with guidance
    assert runtime.paced(held, torch.device("cpu")) is held
