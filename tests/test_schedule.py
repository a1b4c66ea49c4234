"""Schedules, proved by denoisers whose right answer is known.

An oracle returns the v that points at a known clip: every scheduler must land there. For a clip
of normal noise with standard deviation S the exact path is known too: from noise z to S z, and a
scheduler must come closer to it the more steps it takes.
"""

import inspect

import diffusers
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from echomimic.errors import OptionsError
from echomimic.sampling.samplers import sample
from echomimic.sampling.schedule import LEFT_OUT, OFFICIAL, SCHEDULERS, make_schedule

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # within diffusers

SPREAD = 0.5
ALPHAS = diffusers.DDIMScheduler(**OFFICIAL).alphas_cumprod.double()


def _randn(seed):
    return torch.randn(5, 4, 4, 4, generator=torch.Generator().manual_seed(seed))


NOISE, CLIP = _randn(1), _randn(2)


def _towards(clean_of):
    """A denoiser whose v points at `clean_of(latents, alpha)`."""

    def predict(latents, step, t):
        alpha = ALPHAS[int(t)]
        clean = clean_of(latents.double(), alpha)
        epsilon = (latents - alpha.sqrt() * clean) / (1 - alpha).sqrt()
        return (alpha.sqrt() * epsilon - (1 - alpha).sqrt() * clean).float()

    return predict


oracle = _towards(lambda latents, alpha: CLIP.double())
normal_clips = _towards(
    lambda latents, alpha: alpha.sqrt() * SPREAD**2 / (alpha * SPREAD**2 + 1 - alpha) * latents
)


def _rms(error):
    return error.double().pow(2).mean().sqrt().item()


@pytest.mark.parametrize("steps", [1, 2, 3, 6, 7, 30, 61, 103])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_oracle_s_clip_is_reached(name, steps):
    latents = sample(oracle, NOISE, make_schedule(name, steps))

    # One step from infinite noise: diffusers counts a 2^-24th of signal there.
    tolerance = 2e-3 if steps == 1 and name != "ddim" else 1e-5
    torch.testing.assert_close(latents, CLIP, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_more_steps_come_closer_to_the_exact_path(name):
    few, many = (
        _rms(sample(normal_clips, NOISE, make_schedule(name, n)) - SPREAD * NOISE)
        for n in (10, 100)
    )

    assert many < 0.025
    assert many < few / 4


@pytest.mark.parametrize("name", SCHEDULERS)
def test_latents_and_model_inputs_are_finite_and_of_unit_size_from_the_first_step(name):
    seen = []

    def predict(latents, step, t):
        seen.append((int(t), latents.std().item()))
        return normal_clips(latents, step, t)

    sample(predict, NOISE, make_schedule(name, 12))

    assert seen[0][0] == 999
    assert all(SPREAD * 0.7 < std < 1.3 for _, std in seen)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_clean_estimate_of_the_oracle_is_its_clip_at_every_step(name):
    estimates = []

    sample(
        oracle, NOISE, make_schedule(name, 8), lambda step, latents, clean: estimates.append(clean)
    )

    assert len(estimates) == 8
    for clean in estimates:
        torch.testing.assert_close(clean, CLIP, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_no_run_leaves_a_trace_in_the_next(name):
    schedule = make_schedule(name, 5)

    first = sample(normal_clips, NOISE, schedule)
    sample(oracle, NOISE, make_schedule(name, 5))

    assert torch.equal(sample(normal_clips, NOISE, schedule), first)
    assert torch.equal(sample(normal_clips, NOISE, make_schedule(name, 5)), first)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_run_that_was_cancelled_does_not_disturb_the_next(name):
    schedule = make_schedule(name, 5)
    expected = sample(normal_clips, NOISE, schedule)

    def cancel(step, latents, clean):
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample(normal_clips, NOISE, schedule, cancel)

    assert torch.equal(sample(normal_clips, NOISE, schedule), expected)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_step_count_gives_that_many_falling_timesteps(name):
    for steps in (*range(1, 130), 201, 499, 998, 1000):
        timesteps = make_schedule(name, steps).timesteps
        assert len(timesteps) == steps
        assert timesteps[0] == 999
        assert timesteps[-1] >= 0
        assert all(before > after for before, after in zip(timesteps, timesteps[1:], strict=False))


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("v_dtype", [torch.float16, torch.bfloat16])
def test_latents_keep_their_precision_when_the_model_is_coarse(name, v_dtype):
    schedule = make_schedule(name, 3)
    latents = schedule.initial(NOISE)

    assert schedule.model_input(latents, 0).dtype == torch.float32
    assert schedule.step(CLIP.to(v_dtype), latents, 0).dtype == torch.float32


class _Float64OnDevice(TorchDispatchMode):
    """Collects operations that make float64 on the compute device, here played by "meta"."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor.device.type == "meta":
                self.found += [str(function)] if tensor.dtype == torch.float64 else []
        return result


@pytest.mark.parametrize("name", SCHEDULERS)
def test_nothing_is_float64_on_the_compute_device(name):
    """Some devices have no float64."""
    schedule = make_schedule(name, 6)
    with _Float64OnDevice() as watch:
        latents = schedule.initial(NOISE.to("meta"))
        for step in range(6):
            inputs = schedule.model_input(latents, step)
            schedule.clean(inputs, inputs, step)
            latents = schedule.step(inputs, latents, step)

    assert latents.device.type == "meta"
    assert watch.found == []


@pytest.mark.parametrize("steps", [4, 6, 20, 30])
def test_the_official_previous_timestep_is_that_of_diffusers(steps):
    scheduler = diffusers.DDIMScheduler(**OFFICIAL, clip_sample=False)
    scheduler.set_timesteps(steps)
    expected = NOISE
    for step, t in enumerate(scheduler.timesteps):
        v = normal_clips(expected, step, t)
        expected = scheduler.step(v, t, expected, return_dict=False)[0]

    schedule = make_schedule("ddim", steps, official_previous_timestep=True)

    torch.testing.assert_close(sample(normal_clips, NOISE, schedule), expected, rtol=0, atol=1e-5)


def test_the_official_previous_timestep_leaves_noise_at_six_steps():
    schedule = make_schedule("ddim", 6, official_previous_timestep=True)

    error = _rms(sample(oracle, NOISE, schedule) - CLIP)

    assert error == pytest.approx(0.0292, rel=0.1)  # spec 10.2


def _left_out(class_name):
    scheduler_class = getattr(diffusers, class_name)
    known = inspect.signature(scheduler_class.__init__).parameters
    options = {key: value for key, value in OFFICIAL.items() if key in known}
    if "rescale_betas_zero_snr" not in known:
        options["trained_betas"] = diffusers.DDIMScheduler(**OFFICIAL).betas.numpy()
    if class_name == "PNDMScheduler":
        options["skip_prk_steps"] = True
    return scheduler_class(**options)


def _end_of(class_name, seed):
    torch.manual_seed(seed)
    scheduler = _left_out(class_name)
    scheduler.set_timesteps(6)
    latents = NOISE * float(scheduler.init_noise_sigma)
    for step, t in enumerate(scheduler.timesteps):
        inputs = scheduler.scale_model_input(latents, t)
        v = normal_clips(inputs, step, t) if t == t else inputs
        latents = scheduler.step(v, t, latents, return_dict=False)[0]
    return latents


@pytest.mark.parametrize(
    "class_name", [name for name, why in LEFT_OUT.values() if why.endswith("gives NaN")]
)
def test_schedulers_left_out_for_nan_do_give_nan(class_name):
    assert not _end_of(class_name, seed=0).isfinite().all()


@pytest.mark.parametrize(
    "class_name", [name for name, why in LEFT_OUT.values() if "noise at every step" in why]
)
def test_schedulers_left_out_for_randomness_are_random(class_name):
    assert not torch.allclose(_end_of(class_name, seed=0), _end_of(class_name, seed=1), atol=1e-3)


@pytest.mark.parametrize("steps", [0, -3, 1001])
def test_an_impossible_number_of_steps_is_refused(steps):
    with pytest.raises(OptionsError, match=f"steps must be between 1 and 1000, not {steps}"):
        make_schedule("ddim", steps)


def test_an_unknown_scheduler_is_refused_with_the_names_there_are():
    with pytest.raises(OptionsError, match="no scheduler 'plms'; choose one of ddim, euler"):
        make_schedule("plms", 10)


def test_a_scheduler_that_cannot_work_is_refused_with_the_reason():
    with pytest.raises(
        OptionsError, match="scheduler heun divides by the signal .*; choose one of ddim"
    ):
        make_schedule("heun", 10)
