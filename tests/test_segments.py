"""Long clips in segments: cut so that nothing is lost, and going on from what is finished."""

import gc
import weakref
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from test_denoiser import AUDIO, conditions, denoiser, options

from echomimic import cli
from echomimic.assets import FACE_BOX, PORTRAIT, VOICE
from echomimic.conditions import DrawnFace
from echomimic.config import Compatibility, SamplingOptions
from echomimic.denoiser import Denoiser, sample_clip
from echomimic.errors import OptionsError, SamplingError
from echomimic.media.image import read_image
from echomimic.pipeline import ClipOptions, EchoMimic
from echomimic.puppets.clip import PuppetClip
from echomimic.render_folder import RenderFolder, Segment
from echomimic.sampling.noise import initial_noise
from echomimic.sampling.samplers import faded
from echomimic.sampling.schedule import SCHEDULERS, make_schedule
from echomimic.sampling.sparing import sparing
from echomimic.segments import Segments, plan_segments, render_segments, render_settings

OUT_OF_MEMORY = RuntimeError("[enforce fail at alloc_cpu.cpp] not enough memory")


def render(root, clip=None, chosen=None, windows=1, **callbacks):
    """The folder of a clip that is rendered in segments."""
    clip, chosen = clip or conditions(), chosen or options()
    plan = plan_segments(clip.num_frames, chosen, windows)
    folder = RenderFolder.open(
        root, {"seed": chosen.seed, "steps": chosen.num_inference_steps}, plan
    )
    render_segments(folder, clip, AUDIO, chosen, denoiser, **callbacks)
    return folder


def latents_of(folder):
    return torch.cat(list(folder))


@pytest.mark.parametrize("windows", [1, 2, 5])
@pytest.mark.parametrize("num_frames", [1, 6, 7, 10, 11, 14, 15, 100])
def test_segments_are_whole_windows_that_share_half_a_window(num_frames, windows):
    chosen = options(context_frames=6, context_overlap=2)
    segments = plan_segments(num_frames, chosen, windows)

    new = [frame for s in segments for frame in range(s.start + s.known, s.stop)]
    assert new == [*range(num_frames)]
    for before, segment in zip(segments, segments[1:], strict=False):
        assert segment.known == before.stop - segment.start
        assert 3 <= segment.known <= before.stop - before.start
        assert segment.stop - segment.start >= 6
    for segment in segments[:-1]:
        assert segment.stop - segment.start == 6 + 4 * (windows - 1)
    assert all(segment.known == 3 for segment in segments[1:-1])


@pytest.mark.parametrize(
    ("window", "overlap", "shared"), [(12, 3, 6), (12, 0, 6), (12, 8, 8), (24, 4, 12), (1, 0, 0)]
)
def test_segments_share_half_a_window_or_what_windows_share(window, overlap, shared):
    chosen = options(context_frames=window, context_overlap=overlap)
    assert plan_segments(500, chosen, 2)[1].known == shared


@pytest.mark.parametrize(
    "changes",
    [{"windows": "looped"}, {"compatibility": Compatibility(clip_noise=True)},
     {"legacy_fp16_noise": True}],
)  # fmt: skip
def test_what_needs_the_whole_clip_is_refused_in_segments_only(changes):
    assert len(plan_segments(6, options(**changes), 1)) == 1
    with pytest.raises(OptionsError, match="more windows per segment"):
        plan_segments(7, options(**changes), 1)


def test_a_segment_has_a_window(tmp_path):
    with pytest.raises(OptionsError, match="1 window or more, not 0"):
        Segments(tmp_path, windows=0)


def test_one_segment_is_the_whole_clip(tmp_path):
    whole = sample_clip(denoiser(), AUDIO, options())

    assert torch.equal(latents_of(render(tmp_path, windows=100)), whole)


def test_a_part_of_the_conditions_is_that_part_of_the_whole():
    clip = PuppetClip(1, 9, 25.0, "lively")
    face = DrawnFace(clip.track(64), (64, 64))
    whole = replace(conditions(), face=face)

    part = whole.part(2, 8).part(1, 5)  # frames 3 to 6

    assert part.num_frames == 4
    assert torch.equal(part.audio.tokens([0, 3]), whole.audio.tokens([3, 6]))
    assert torch.equal(part.face.images([0, 3]), face.images([3, 6]))
    features = conditions(face_frames=9)
    assert torch.equal(features.part(3, 7).face, features.face[3:7])
    assert conditions(face_frames=1).part(3, 7).face.shape[0] == 1


def test_frames_have_the_noise_that_they_have_in_the_whole_clip():
    whole = initial_noise(options(), 20, (4, 2, 2))

    assert torch.equal(initial_noise(options(), 5, (4, 2, 2), first=7), whole[7:12])
    with pytest.raises(OptionsError, match="for a part of it"):
        initial_noise(options(legacy_fp16_noise=True), 5, (4, 2, 2), first=7)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_finished_frames_are_noised_as_the_model_expects_them(name):
    """Alpha bar is the share of signal, whatever unit a scheduler keeps its latents in."""
    schedule = make_schedule(name, 4)
    alphas = make_schedule("ddim", 4).alphas
    torch.manual_seed(0)
    clean, noise = torch.randn(2, 3, 4, 2, 2)
    latents = schedule.initial(noise)
    for step, alpha in enumerate(alphas):
        renoised = schedule.renoised(clean, noise, step)
        seen = schedule.model_input(renoised, step)
        expected = alpha**0.5 * clean + (1 - alpha) ** 0.5 * noise
        torch.testing.assert_close(seen, expected, atol=2e-3, rtol=2e-3)
        schedule.model_input(latents, step)
        latents = schedule.step(torch.zeros_like(clean), latents, step)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_rest_follows_the_known_frames(name):
    clip, chosen = conditions(6), options(scheduler=name)
    torch.manual_seed(1)
    known = torch.randn(2, 4, 8, 8)

    first = sample_clip(denoiser(clip), AUDIO, chosen, known=known)
    other = sample_clip(denoiser(clip), AUDIO, chosen, known=-known)

    assert (first[2:] - other[2:]).abs().max() > 1e-3


def test_known_frames_go_over_to_what_the_model_makes_of_them():
    known, own = torch.zeros(3, 4, 2, 2), torch.ones(5, 4, 2, 2)
    assert faded(known, own)[:, 0, 0, 0].tolist() == [0.25, 0.5, 0.75, 1, 1]


def test_one_segment_is_in_memory_at_a_time(tmp_path):
    made, chosen = weakref.WeakSet(), options()
    plan = plan_segments(20, chosen, 1)

    def watched(part):
        assert len(made) == 0
        made.add(one := denoiser(part))
        return one

    gc.disable()  # so that it does not happen to run
    try:
        folder = RenderFolder.open(tmp_path, {}, plan)
        render_segments(folder, conditions(), AUDIO, chosen, watched)
    finally:
        gc.enable()


def test_segments_share_finished_frames(tmp_path):
    folder = render(tmp_path)

    first, second, *_ = folder.segments
    assert second == Segment(1, start=3, stop=9, known=3)
    stored = load_file(folder.path / "segment-00001.safetensors")["latents"]
    clip = latents_of(folder)
    assert len(clip) == 20
    assert torch.equal(clip[3:6], stored[:3])
    assert not torch.equal(folder.known(second), stored[:3])
    assert folder.known(first) is None


def test_progress_counts_the_windows_of_the_whole_clip(tmp_path):
    seen = []
    render(tmp_path, on_window=lambda *event: seen.append(event))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1] == len({done for done, _ in seen}) - 1


class TestMemory:
    """Out of memory: fewer windows at once, then a sentence."""

    def test_windows_go_one_by_one_if_two_do_not_fit(self, monkeypatch):
        sizes, original = [], Denoiser.predict_v

        def small(self, latents, t, windows, conditional):
            sizes.append(len(windows))
            if len(windows) > 2:  # one window, with and without the conditions
                raise OUT_OF_MEMORY
            return original(self, latents, t, windows, conditional)

        expected = sample_clip(denoiser(), AUDIO, options(window_batch=1))
        monkeypatch.setattr(Denoiser, "predict_v", small)
        latents = sample_clip(denoiser(), AUDIO, options(window_batch=4))

        assert torch.equal(latents, expected)
        assert sizes[:3] == [8, 4, 2]
        assert set(sizes[3:]) == {2}  # what did not fit is not tried again

    def test_cached_memory_is_given_back_before_the_next_try(self):
        released = []

        def denoise(latents, t, windows):
            if len(windows) > 1 and not released:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
            return latents

        latents = torch.randn(3, 2, 4, 2, 2)
        v = sparing(denoise, lambda: released.append(True))(latents, 0, [[0, 1]] * 3)

        assert torch.equal(v, latents)
        assert released == [True]

    def test_a_window_that_does_not_fit_is_a_sentence(self):
        def denoise(latents, t, windows):
            raise OUT_OF_MEMORY

        with pytest.raises(SamplingError, match=r"one window of 2 frames of 24x16; make the video"):
            sparing(denoise, lambda: None)(torch.zeros(2, 2, 4, 2, 3), 0, [[0, 1], [1, 2]])

    def test_other_errors_pass(self):
        def denoise(latents, t, windows):
            raise RuntimeError("shapes")

        with pytest.raises(RuntimeError, match="shapes"):
            sparing(denoise, lambda: None)(torch.zeros(2, 2, 4, 2, 3), 0, [[0, 1], [1, 2]])

    def test_what_is_finished_is_kept(self, tmp_path, monkeypatch):
        calls, original = [], Denoiser.predict_v

        def small(self, *arguments):
            calls.append(self)
            if len(set(calls)) == 3:  # the third segment
                raise OUT_OF_MEMORY
            return original(self, *arguments)

        expected = latents_of(render(tmp_path / "expected"))
        with monkeypatch.context() as patched:
            patched.setattr(Denoiser, "predict_v", small)
            with pytest.raises(SamplingError, match="not enough memory"):
                render(tmp_path)

        counts = []
        folder = render(tmp_path, on_window=lambda *event: counts.append(event))
        assert counts[0][0] == counts[-1][1] * 2 // 5  # two of five were there
        assert torch.equal(latents_of(folder), expected)


class TestSettings:
    """A render is known by everything that its result depends on."""

    @pytest.fixture(scope="class")
    def model(self, tiny_models):
        return EchoMimic.from_folder(tiny_models, "landmark_acc", device="cpu", keep_loaded=True)

    def settings(self, model, chosen=None, portrait=None, clip=None, **changes):
        picture = portrait or model.prepare_portrait(read_image(PORTRAIT), (64, 64), FACE_BOX)
        place = {"device": "cpu", "dtype": "float32"}
        given = {"weights": {"vae": "a"}, "place": place} | changes
        return render_settings(
            model.variant,
            chosen or options(),
            portrait=picture,
            conditions=clip or conditions(),
            **given,
        )

    def test_everything_that_matters_is_in_them(self, model):
        track = PuppetClip(1, 9, 25.0, "lively").track(64)
        driven = replace(conditions(), face=DrawnFace(track, (64, 64)))
        moved = replace(track, points=track.points + 1e-6)
        voice = conditions().audio
        same = self.settings(model)
        assert same == self.settings(model)
        drawn = self.settings(model, clip=driven)
        renamed = replace(driven, face=DrawnFace(replace(track, source="other.npz"), (64, 64)))
        assert drawn == self.settings(model, clip=renamed)

        others = [
            drawn,
            self.settings(model, clip=replace(driven, face=DrawnFace(moved, (64, 64)))),
            self.settings(model, options(seed=1)),
            self.settings(model, options(compatibility=Compatibility(reference_dtype="float16"))),
            self.settings(model, clip=replace(conditions(), audio=None)),
            self.settings(
                model, clip=replace(conditions(), audio=replace(voice, states=-voice.states))
            ),
            self.settings(model, clip=replace(conditions(), audio=replace(voice, fps=24.0))),
            self.settings(model, weights={"vae": "b"}),
            self.settings(model, place={"device": "cpu", "dtype": "bfloat16"}),
        ]
        assert all(a != b for i, a in enumerate([same, *others]) for b in others[i:])


class TestAnimate:
    """The whole way, with tiny random networks."""

    CLIP = ClipOptions(size=(32, 32), fps=10.0, length=9, face_box=FACE_BOX)
    QUICK = SamplingOptions(1, 1.0, context_frames=4, context_overlap=1)

    @pytest.fixture(scope="class")
    def model(self, tiny_models):
        return EchoMimic.from_folder(tiny_models, device="cpu", keep_loaded=True)

    @pytest.fixture(scope="class")
    def whole(self, model, tmp_path_factory):
        out = tmp_path_factory.mktemp("whole") / "out.mp4"
        model.animate(PORTRAIT, VOICE, out, self.CLIP, self.QUICK)
        return out.read_bytes()

    def test_the_file_of_one_segment_is_the_file_without_segments(self, model, whole, tmp_path):
        segments, out = Segments(tmp_path / "work"), tmp_path / "out.mp4"

        model.animate(PORTRAIT, VOICE, out, self.CLIP, self.QUICK, segments=segments)

        assert out.read_bytes() == whole
        assert list(segments.folder.iterdir()) == []

    def test_a_run_that_stopped_goes_on_and_makes_the_same_file(self, model, tmp_path):
        class Stopped(Exception):
            pass

        def animate(folder, out, stop=None):
            def on_progress(*event):
                seen.append(event)
                if stop is not None and len(seen) == stop:
                    raise Stopped

            seen, segments = [], Segments(tmp_path / folder, windows=1)
            model.animate(
                PORTRAIT,
                VOICE,
                tmp_path / out,
                self.CLIP,
                self.QUICK,
                on_progress,
                segments=segments,
            )
            return len(seen)

        events = animate("expected", "expected.mp4")
        for stop in range(2, events, 2):
            with pytest.raises(Stopped):
                animate("work", "out.mp4", stop)
                animate("work", "out.mp4", 2)  # it was shorter, as segments were finished
        animate("work", "out.mp4")

        assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "expected.mp4").read_bytes()
        assert sorted(path.name for path in tmp_path.glob("*.mp4")) == ["expected.mp4", "out.mp4"]

    def test_the_command_keeps_and_resumes(self, tiny_models, model, tmp_path, capsys):
        out = tmp_path / "out.mp4"
        arguments = [
            "animate", "--models", tiny_models, "--portrait", PORTRAIT, "--audio", VOICE,
            "--out", out, "--face-box", *FACE_BOX, "--size", 32, "--length", 9, "--fps", 10,
            "--steps", 1, "--cfg", 1, "--device", "cpu", "--context-frames", 4,
            "--context-overlap", 1,
            "--segment-windows", 1,
        ]  # fmt: skip
        assert cli.main([*map(str, arguments)]) == 1
        assert "Give --resume-folder" in capsys.readouterr().err

        assert cli.main([*map(str, arguments), "--resume-folder", str(tmp_path / "work")]) == 0

        segments = Segments(tmp_path / "other", windows=1)
        model.animate(
            PORTRAIT, VOICE, tmp_path / "expected.mp4", self.CLIP, self.QUICK, segments=segments
        )
        assert out.read_bytes() == (tmp_path / "expected.mp4").read_bytes()
