"""What ends a run before its last step, each with a sentence."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from torch import Tensor

from ..errors import TrainingError, brief
from ..files import is_disk_full
from ..models.memory import is_out_of_memory
from ..models.precision import is_quick_in_bfloat16
from .recipe import StageOptions
from .stage import Stage
from .workers import worker_death

CHECKPOINTED = ("stage1", "stage2")  # stages in which gradient_checkpointing acts
LARGER = "use a device with more memory, or smaller pictures"


def check_finite(losses: Tensor, indices: Sequence[int], step: int, stage: Stage) -> None:
    wrong = [index for index, loss in zip(indices, losses.tolist(), strict=True)
             if not math.isfinite(loss)]  # fmt: skip
    if wrong:
        raise TrainingError(
            f"The loss of step {step} is not a number, because of sample {wrong[0]} "
            f"({stage.describe(wrong[0])}); look at it, or lower learning_rate. The last "
            "checkpoint is kept."
        )


def any_process(accelerator: Accelerator, flag: bool) -> bool:
    """Whether any process raised its flag: all must stop after the same step."""
    if accelerator.num_processes == 1:
        return flag
    raised = torch.tensor(float(flag), device=accelerator.device)
    return float(accelerator.reduce(raised, reduction="sum")) > 0


def memory_advice(stage: str, options: StageOptions, device: torch.device | str) -> str:
    """What takes less memory in the steps of a stage."""
    ways, at_once = [], options.micro_batch or options.batch_size
    if at_once > 1:
        now = f"now {at_once}" if options.micro_batch else f"now all of batch_size, {at_once}"
        ways.append(f"lower micro_batch ({now})")
    if stage in CHECKPOINTED and not options.gradient_checkpointing:
        ways.append("set gradient_checkpointing")
    if options.mixed_precision == "no" and is_quick_in_bfloat16(device):
        ways.append("use mixed_precision: bf16")
    return ", or ".join(ways or [LARGER])


def making_advice(stage: str, options: StageOptions, device: torch.device | str) -> str:
    """What takes less memory while a stage is made, which encodes clips by a few pictures."""
    can_halve = (
        stage in CHECKPOINTED
        and options.settings.get("bf16_cache") is not True
        and is_quick_in_bfloat16(device)
    )
    return f"set bf16_cache, or {LARGER}" if can_halve else LARGER


@contextmanager
def explained(options: StageOptions, memory_advice: str) -> Iterator[None]:
    """Errors of the machine as sentences, that on memory with advice on what acts there."""
    try:
        yield
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise TrainingError(
            "The disk is full; free some space, and the same command goes on with what is saved."
        ) from error
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise TrainingError(
                f"The memory ran out; {memory_advice}. What is saved is kept."
            ) from error
        if worker_death(error):
            raise TrainingError(
                f"A process that loads data died ({brief(error)}); lower workers "
                f"(now {options.workers}) if memory is short. The last checkpoint is kept."
            ) from error
        raise


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Ctrl-C sets the event, so that the step is finished first; a second one stops at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def stop(*_: object) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
