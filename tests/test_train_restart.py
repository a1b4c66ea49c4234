"""Ends of a run that people meet: Ctrl-C in a terminal, starting anew, damaged files, no space."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from support import ROOT, in_two_processes

pytest.importorskip("accelerate")

from accelerate.utils import DistributedType
from test_train_engine import OPTIONS, LineStage, losses, run, same, weights

from echomimic.errors import DatasetError, OptionsError, TrainingError
from echomimic.train import workers
from echomimic.train.checkpoint import OPTIMIZER, WEIGHTS, checkpoints


def alone(script):
    return [sys.executable, str(script)], None


def started(tmp_path, options, launched=alone):
    """A process that trains slowly, as the leader of a group as a terminal's command is."""
    script = tmp_path / "slow.py"
    script.write_text(
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests')!r}]\n"
        "from pathlib import Path\n"
        "from test_train_engine import *\n"
        "try:\n"
        f"    run(Path({str(tmp_path)!r}), StageOptions(**{options}), LineStage(pause=0.02))\n"
        "except TrainingError as error:\n"
        f"    path = Path({str(tmp_path)!r}) / f'stopped-{{os.environ.get(\"RANK\", 0)}}'\n"
        "    path.write_text(str(error))\n"
        "    sys.exit(str(error))\n"
    )
    command, environment = launched(script)
    return subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def wait_for_steps(folder, count):
    deadline = time.monotonic() + 300
    log = folder / "line/log.jsonl"
    while not log.is_file() or len(log.read_text().splitlines()) < count:
        assert time.monotonic() < deadline, "it never got there"
        time.sleep(0.02)


SLOW = {"steps": 5000, "batch_size": 4, "log_every": 1, "save_every": 5000, "ema_decay": 0.9}


def test_ctrl_c_in_a_terminal_saves_although_it_reaches_the_workers_too(tmp_path):
    process = started(tmp_path, SLOW | {"workers": 2})
    wait_for_steps(tmp_path, 3)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert "Stopped after step" in said
    assert len(checkpoints(tmp_path / "line/checkpoints")) == 1


def test_ctrl_c_stops_all_processes_after_the_same_step(tmp_path):
    process = started(tmp_path, SLOW, in_two_processes)
    wait_for_steps(tmp_path, 3)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=300)
    (saved,) = checkpoints(tmp_path / "line/checkpoints")
    assert saved.name == f"step-{max(losses(tmp_path)):08d}"
    stops = {path.name: path.read_text() for path in tmp_path.glob("stopped-*")}
    assert set(stops) == {"stopped-0", "stopped-1"}
    assert len(set(stops.values())) == 1  # after the same step


def test_starting_anew_forgets_the_run_before(tmp_path):
    run(tmp_path)
    run(tmp_path, replace(OPTIONS, steps=5, save_every=2), resume=False)
    assert checkpoints(tmp_path / "line/checkpoints")[-1].name == "step-00000005"
    assert max(losses(tmp_path)) == 5
    run(tmp_path)
    run(tmp_path / "once")
    assert same(weights(tmp_path), weights(tmp_path / "once"))


def test_the_log_holds_each_step_once_after_a_kill(tmp_path):
    run(tmp_path, replace(OPTIONS, steps=10))
    with (tmp_path / "line/log.jsonl").open("a") as file:
        file.write('{"kind": "training", "step": 11, "loss": 7.0}\n{"kind": "trai')
    run(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "line/log.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if line["kind"] == "training"]
    assert steps == list(range(1, 21))


@pytest.mark.parametrize("file", [WEIGHTS, OPTIMIZER])
@pytest.mark.parametrize("size", [0, 40])
def test_a_damaged_checkpoint_is_named(tmp_path, file, size):
    run(tmp_path, replace(OPTIONS, steps=10))
    path = tmp_path / "line/checkpoints/step-00000010" / file
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(TrainingError, match="step-00000010 cannot be read .* remove it"):
        run(tmp_path)


def test_a_disk_that_is_full_of_samples_is_a_sentence(tmp_path, monkeypatch):
    def validate(self, step, folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(LineStage, "validate", validate)
    with pytest.raises(TrainingError, match="The disk is full"):
        run(tmp_path)
    assert checkpoints(tmp_path / "line/checkpoints")[-1].name == "step-00000010"


def test_half_precision_survives_gradients_that_overflow(tmp_path):
    run(tmp_path, replace(OPTIONS, mixed_precision="fp16"))
    assert losses(tmp_path)[20] < losses(tmp_path)[1]


def test_a_batch_lost_with_its_worker_is_the_worker_s_fault(monkeypatch):
    def gone(*_, **__):
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    monkeypatch.setattr(workers, "DataLoader", gone)
    monkeypatch.setattr(workers, "DEATH_NOTICE", 0.0)
    with pytest.raises(ConnectionResetError):
        next(workers.in_order(None, 0))
    with pytest.raises(RuntimeError, match="DataLoader worker"):
        next(workers.in_order(None, 1))


@pytest.mark.parametrize("processes", [0, 1])
def test_bad_input_is_the_same_sentence_from_a_worker(processes):
    answers = workers.computed(odd_alone, [1, 2], processes)
    assert next(answers) == 1
    with pytest.raises(DatasetError) as raised:
        next(answers)
    assert str(raised.value) == "2 is even; remove it."


def odd_alone(number):
    if number % 2 == 0:
        raise DatasetError(f"{number} is even; remove it.")
    return number


def test_sharded_training_is_refused_rather_than_half_saved(tmp_path):
    accelerator = SimpleNamespace(distributed_type=DistributedType.FSDP, device=torch.device("cpu"))
    with pytest.raises(OptionsError, match="FSDP is not supported"):
        run(tmp_path, accelerator=accelerator)
