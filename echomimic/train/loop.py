"""The engine: optimises a stage, on one process or many, and can stop and go on at any step."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType
from torch import Tensor

from ..errors import OptionsError, TrainingError
from ..models.precision import is_quick_in_bfloat16
from .checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from .ema import EMA
from .logs import Log
from .processes import this_process
from .recipe import StageOptions
from .rounds import Rounds
from .sharded import (
    compute_by_autocast,
    is_sharded,
    make_whole,
    own_share,
    spread,
    spread_state,
    whole,
)
from .stage import Stage
from .stopping import any_process, check_finite, explained, interruptible, memory_advice
from .workers import in_order

log = logging.getLogger(__name__)

OnStep = Callable[[int, int, Mapping[str, float]], None]  # steps done, steps in all, figures
FREE = ("steps", "micro_batch", "workers", "log_every", "validate_every", "save_every",
        "keep_last", "gradient_checkpointing")  # may change when a run goes on  # fmt: skip
ADJUSTED = ("learning_rate", "mixed_precision")  # may change too, but what follows is another run
MODELS = "models"  # folder of a run for its model files, beside those of its stages
SHARDED = (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM)
LOWEST_RATE = 0.01  # of the learning rate, at the end of the cosine


def train_stage(
    stage: Stage,
    options: StageOptions,
    folder: Path,
    *,
    accelerator: Accelerator | None = None,
    fingerprint: Mapping[str, Any] | None = None,
    resume: bool = True,
    on_step: OnStep | None = None,
) -> None:
    """Optimise `stage` for `options.steps` steps, with checkpoints and a log in `folder`.

    With `resume` it goes on from the newest checkpoint there, and the result is the same, bit for
    bit on a CPU, as that of a run that never stopped. `fingerprint` are settings beside the
    options that must not have changed in between. Raises `TrainingError` for a loss that is no
    number, memory or disk space that ran out, a worker that died, or Ctrl-C: what had been
    learnt until then is in the last checkpoint.
    """
    if accelerator is None:
        options = _with_quick_precision(options)
        # Stages of one program may differ in precision; and how processes work together is read
        # anew, or accelerate would lose the settings of FSDP.
        AcceleratorState._reset_state(reset_partial_state=True)
        accelerator = Accelerator(mixed_precision=options.mixed_precision)
    advice = memory_advice(stage.name, options, accelerator.device)
    with explained(options, advice), interruptible() as interrupted:
        run = Run(stage, options, folder, accelerator, fingerprint or {}, resume=resume)
        for step in range(run.start, options.steps):
            figures = run.step(step)
            done = step + 1
            if done % options.log_every == 0 or done == options.steps:
                figures |= run.pace(done)
                run.log.write("training", done, figures)
                if on_step is not None:
                    on_step(done, options.steps, figures)
            if done == options.steps or _is_due(done, options.validate_every):
                run.validate(done)
            if done == options.steps or _is_due(done, options.save_every):
                run.save(done)
            elif any_process(accelerator, interrupted.is_set()):
                run.save(done)
                raise TrainingError(
                    f"Stopped after step {done}, which is saved; the same command goes on."
                )
        run.export()
        accelerator.wait_for_everyone()  # the next stage reads what this one exported


class Run:
    """A stage with its optimiser, at the step where it begins or goes on."""

    def __init__(
        self,
        stage: Stage,
        options: StageOptions,
        folder: Path,
        accelerator: Accelerator,
        fingerprint: Mapping[str, Any],
        *,
        resume: bool,
    ) -> None:
        self._stage, self._options, self._folder = stage, options, folder
        self._accelerator = accelerator
        self._parameters = stage.trainable()
        _check_parameters(self._parameters, options, accelerator)
        optimizer = torch.optim.AdamW(
            self._parameters.values(),
            lr=options.learning_rate,
            betas=options.betas,
            eps=options.eps,
            weight_decay=options.weight_decay,
        )
        compute_by_autocast(accelerator)
        self._module, self._optimizer = accelerator.prepare(stage.module, optimizer)
        prepared = dict(stage.module.named_parameters())  # shares of them, where they are spread
        self._parameters = {name: prepared[name] for name in self._parameters}
        self._ema = EMA(self._parameters, options.ema_decay)  # on the device, as they are by now
        self._settings = _settings(options, {**fingerprint, **stage.stands_on})
        if accelerator.is_main_process and not resume:
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        self.start = self._restore(optimizer) if resume else 0
        self._rounds = Rounds(stage, options, accelerator, self.start)
        self._batches = in_order(self._rounds, options.workers)
        self.log = Log(folder / "log.jsonl", self.start, active=accelerator.is_main_process)
        adjusted = {key: getattr(options, key) for key in ADJUSTED}
        self.log.write("stage", self.start, {"stage": stage.name, **adjusted, **stage.notes})
        self._clock = time.monotonic()

    def step(self, step: int) -> dict[str, float]:
        """One step of the optimiser on the global batch number `step`; mean losses and more."""
        rate = learning_rate(self._options, step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        losses = self._accumulate(step)
        norm = self._accelerator.clip_grad_norm_(self._parameters.values(), self._options.clip_norm)
        norm = whole(norm, keep=True)
        scaled = self._accelerator.scaler is not None  # skips such steps, and lowers its scale
        if not math.isfinite(float(norm)) and not scaled:
            raise TrainingError(
                f"The gradient of step {step} is not a number; lower learning_rate, or use "
                "mixed_precision: no. The last checkpoint is kept."
            )
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._ema.update(step + 1)
        return losses | {"grad_norm": float(norm), "learning_rate": rate}

    def pace(self, done: int) -> dict[str, float]:
        """How fast it goes, since it began or went on."""
        rate = (done - self.start) / (time.monotonic() - self._clock)
        return {
            "samples_per_second": rate * self._options.batch_size,
            "seconds_left": (self._options.steps - done) / rate,
        }

    def save(self, done: int) -> None:
        self._check_weights(done)
        is_main = self._accelerator.is_main_process
        parts = (self._parameters, self._ema.shadow, self._optimizer.state_dict())
        state = Checkpoint(done, *(whole(part, keep=is_main) for part in parts))
        if is_main:
            folder = self._folder / "checkpoints"
            save_checkpoint(folder, state, self._settings, keep_last=self._options.keep_last)

    def _check_weights(self, done: int) -> None:
        """Raise `TrainingError` rather than save what nothing could go on from."""
        finite = all(bool(own_share(p).isfinite().all()) for p in self._parameters.values())
        if any_process(self._accelerator, not finite):
            raise TrainingError(
                f"Weights are not numbers any more after step {done}, so they are not saved; lower "
                "learning_rate, or use mixed_precision: no. The last checkpoint is kept."
            )

    def validate(self, done: int) -> None:
        """Nothing where weights are spread: no process has what the stage's figures need."""
        if self._accelerator.is_main_process and not is_sharded(self._accelerator):
            with self._ema.applied():
                figures = self._stage.validate(done, self._folder / "validation")
            self.log.write("validation", done, figures)

    def export(self) -> None:
        """Write the model files, which is the last that is done: weights are gathered for it."""
        is_main = self._accelerator.is_main_process
        if is_main or is_sharded(self._accelerator):
            with self._ema.applied():
                make_whole(self._stage.module, keep=is_main)
                if is_main:
                    self._stage.export(self._folder.parent / MODELS)

    def _restore(self, optimizer: torch.optim.Optimizer) -> int:
        found = load_checkpoint(self._folder / "checkpoints", self._settings, free=ADJUSTED)
        if found is None:
            return 0
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(spread(found.weights[name], parameter))
            for name, average in self._ema.shadow.items():
                average.copy_(spread(found.averages[name], average))
        parameters = list(self._parameters.values())
        optimizer.load_state_dict(spread_state(found.optimizer, parameters))
        log.info("Going on after step %d.", found.step)
        return found.step

    def _accumulate(self, step: int) -> dict[str, float]:
        """Gradients of the mean loss of the global batch; returns the means of all losses."""
        accelerator, rounds = self._accelerator, self._rounds
        totals: dict[str, Tensor] = {}
        share = rounds.size * rounds.per_step
        for part in range(rounds.per_step):
            batch = {k: v.to(accelerator.device) for k, v in next(self._batches).items()}
            last = part == rounds.per_step - 1
            with nullcontext() if last else accelerator.no_sync(self._module):
                with accelerator.autocast():
                    losses = self._module(batch)
                check_finite(losses["loss"], rounds.indices(step, part), step, self._stage)
                # Processes average their gradients, so each contributes the mean of its share.
                accelerator.backward(losses["loss"].sum() / share)
            for name, values in losses.items():
                totals[name] = totals.get(name, 0) + values.detach().float().sum() / share
        return {
            name: float(accelerator.reduce(total, reduction="mean"))
            for name, total in totals.items()
        }


def _with_quick_precision(options: StageOptions) -> StageOptions:
    """The options in float32 where that is quicker: recipes are made for machines of all kinds.

    On CPUs accelerate refuses fp16, whose losses it could not scale there.
    """
    wanted, device = options.mixed_precision, this_process().device
    if device.type != "cpu" or wanted == "no":
        return options
    if wanted == "bf16" and is_quick_in_bfloat16(device):
        return options
    if this_process().is_main_process:
        log.warning("This CPU has no quick %s, so the stage trains in float32.", wanted)
    return replace(options, mixed_precision="no")


def leave_processes() -> None:
    """Part from the other processes, if there are any, when all stages are done.

    A process that ends without it may crash on its way out, in threads that wait for the others.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _is_due(done: int, every: int) -> bool:
    """Whether something happens after this step; `every` 0 is never."""
    return every > 0 and done % every == 0


def learning_rate(options: StageOptions, step: int) -> float:
    """Rises over the warm-up, stays, and falls along a cosine from `cosine_from` on."""
    rate = options.learning_rate
    if step < options.warmup_steps:
        return rate * (step + 1) / options.warmup_steps
    first = options.cosine_from * options.steps
    if step < first:
        return rate
    fallen = (step - first) / max(1.0, options.steps - first)
    return rate * (LOWEST_RATE + (1 - LOWEST_RATE) * (1 + math.cos(math.pi * fallen)) / 2)


def _check_parameters(
    parameters: Mapping[str, Tensor], options: StageOptions, accelerator: Accelerator
) -> None:
    halves = [name for name, p in parameters.items() if p.dtype != torch.float32]
    if halves:
        raise OptionsError(
            f"{halves[0]} is {parameters[halves[0]].dtype}, but only float32 weights can be "
            "optimised; load them as float32 and set mixed_precision instead."
        )
    if accelerator.distributed_type in SHARDED and not is_sharded(accelerator):
        raise OptionsError(
            f"Training under {accelerator.distributed_type.value} is not supported: checkpoints "
            "would hold one process's share of the weights; launch it with --multi_gpu (DDP), or "
            "with the configuration echomimic/train/fsdp.yaml (FSDP, version 2)."
        )
    world = accelerator.num_processes
    if options.batch_size % (world * (options.micro_batch or 1)):
        raise OptionsError(
            f"batch_size ({options.batch_size}) must be a multiple of the processes ({world}) "
            f"times micro_batch ({options.micro_batch or 1})."
        )


def _settings(options: StageOptions, fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same when a run goes on."""
    values = {key: value for key, value in asdict(options).items() if key not in FREE}
    if options.cosine_from < 1:
        values["steps"] = options.steps  # the learning rate depends on it
    return {**values, **fingerprint}
