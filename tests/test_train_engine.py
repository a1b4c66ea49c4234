"""The engine of training: what is optimised, and that a run can stop and go on anywhere."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support import ROOT, in_two_processes
from torch import nn

pytest.importorskip("accelerate")

from echomimic.errors import OptionsError, TrainingError
from echomimic.train import checkpoint, loop, stopping
from echomimic.train.checkpoint import checkpoints
from echomimic.train.draws import generator
from echomimic.train.loop import learning_rate, train_stage
from echomimic.train.recipe import StageOptions
from echomimic.train.stopping import LARGER, making_advice, memory_advice

OPTIONS = StageOptions(
    steps=20, batch_size=4, learning_rate=0.02, warmup_steps=3, ema_decay=0.9, log_every=1,
    save_every=10,
)  # fmt: skip


class Line(nn.Module):
    """Fits a line; `frozen` must not move."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.line = nn.Linear(3, 1)
        self.frozen = nn.Linear(3, 1).requires_grad_(False)

    def forward(self, batch):
        error = (self.line(batch["x"]) + self.frozen(batch["x"]) - batch["y"]).square()
        return {"loss": error.mean(dim=1)}


class LineStage:
    name = "line"
    notes, stands_on = {}, {}

    def __init__(self, wrong=None, dies=None, pause=0.0):
        self.module = Line()
        self.wrong, self.dies, self.pause = wrong, dies, pause
        self.fetched = []

    def trainable(self):
        return {f"line.{name}": p for name, p in self.module.line.named_parameters()}

    def fetch(self, indices):
        time.sleep(self.pause)
        if self.dies in indices:
            os.kill(os.getpid(), signal.SIGKILL)
        self.fetched += indices
        x = torch.stack([torch.randn(3, generator=generator(0, "line", i)) for i in indices])
        y = x.sum(dim=1, keepdim=True)
        for row, index in enumerate(indices):
            if index == self.wrong:
                y[row] = math.nan
        return {"x": x, "y": y}

    def describe(self, index):
        return f"point {index}"

    def validate(self, step, folder):
        return {"slope": float(self.module.line.weight.mean())}

    def export(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.module.line.state_dict(), folder / "line.pt")
        return [folder / "line.pt"]


def run(folder, options=OPTIONS, stage=None, **more):
    stage = stage or LineStage()
    train_stage(stage, options, folder / "line", **more)
    return stage


def losses(folder):
    lines = [json.loads(line) for line in (folder / "line/log.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if line["kind"] == "training"}


def weights(folder):
    return torch.load(folder / "models/line.pt", weights_only=True)


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def test_ten_steps_and_ten_more_are_twenty_bit_for_bit(tmp_path):
    run(tmp_path / "once")
    run(tmp_path / "twice", replace(OPTIONS, steps=10))
    run(tmp_path / "twice")
    assert same(weights(tmp_path / "once"), weights(tmp_path / "twice"))
    assert losses(tmp_path / "once") == losses(tmp_path / "twice")


def test_a_run_that_is_killed_goes_on_as_if_nothing_had_been(tmp_path):
    run(tmp_path / "once")
    script = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from pathlib import Path\n"
        "from test_train_engine import *\n"
        f"run(Path({str(tmp_path / 'killed')!r}), stage=LineStage(dies=4 * 14 + 1))\n"
    )
    dead = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True)
    assert dead.returncode == -signal.SIGKILL, dead.stderr.decode()
    stage = run(tmp_path / "killed")
    assert stage.fetched[0] == 4 * 10  # from the last checkpoint, with the samples that follow
    assert same(weights(tmp_path / "once"), weights(tmp_path / "killed"))


def test_interrupting_saves_the_step_and_says_how_to_go_on(tmp_path):
    def interrupt(done, total, figures):
        if done == 7:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingError, match="Stopped after step 7"):
        run(tmp_path, on_step=interrupt)
    assert checkpoints(tmp_path / "line/checkpoints")[-1].name == "step-00000007"
    run(tmp_path)
    run(tmp_path / "once")
    assert same(weights(tmp_path), weights(tmp_path / "once"))


def test_only_what_is_trainable_moves(tmp_path):
    before = Line().state_dict()
    after = run(tmp_path).module.state_dict()
    for name in before:
        assert torch.equal(before[name], after[name]) == name.startswith("frozen")


def test_accumulated_micro_batches_are_one_batch(tmp_path):
    run(tmp_path / "whole")
    run(tmp_path / "parts", replace(OPTIONS, micro_batch=1))
    for step, loss in losses(tmp_path / "whole").items():
        assert losses(tmp_path / "parts")[step] == pytest.approx(loss, rel=1e-4)


def test_two_processes_give_the_losses_of_one(tmp_path):
    run(tmp_path / "one")
    script = tmp_path / "two.py"
    script.write_text(
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests')!r}]\n"
        "from pathlib import Path\n"
        "from test_train_engine import *\n"
        "from echomimic.train.loop import leave_processes\n"
        f"stage = run(Path({str(tmp_path / 'two')!r}))\n"
        f"path = Path({str(tmp_path)!r}) / f'fetched-{{os.environ[\"RANK\"]}}'\n"
        "path.write_text(str(stage.fetched[:2]))\n"
        "leave_processes()\n"
    )
    command, environment = in_two_processes(script)
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    shares = [(tmp_path / f"fetched-{rank}").read_text() for rank in range(2)]
    assert shares == [f"{list(range(2))}", f"{list(range(2, 4))}"]  # of the first batch of four
    assert len(losses(tmp_path / "two")) == 20
    for step, loss in losses(tmp_path / "one").items():
        assert losses(tmp_path / "two")[step] == pytest.approx(loss, rel=1e-4)


def test_workers_change_nothing(tmp_path):
    run(tmp_path / "none")
    run(tmp_path / "two", replace(OPTIONS, workers=2))
    assert same(weights(tmp_path / "none"), weights(tmp_path / "two"))


def test_a_worker_that_dies_is_named_and_the_checkpoint_kept(tmp_path):
    with pytest.raises(TrainingError, match=r"A process that loads data died.*lower workers"):
        run(tmp_path, replace(OPTIONS, workers=1), LineStage(dies=4 * 15))
    assert checkpoints(tmp_path / "line/checkpoints")[-1].name == "step-00000010"


def test_a_loss_that_is_no_number_names_its_sample(tmp_path):
    with pytest.raises(TrainingError, match=r"step 12 .* sample 49 \(point 49\)"):
        run(tmp_path, stage=LineStage(wrong=49))
    assert checkpoints(tmp_path / "line/checkpoints")[-1].name == "step-00000010"


def test_going_on_with_other_settings_is_refused(tmp_path):
    run(tmp_path, replace(OPTIONS, steps=10))
    with pytest.raises(TrainingError, match=r"weight_decay = 0.01, not 0.5"):
        run(tmp_path, replace(OPTIONS, weight_decay=0.5))
    with pytest.raises(TrainingError, match="seed = None, not 2"):
        run(tmp_path, fingerprint={"seed": 2})
    run(tmp_path, replace(OPTIONS, weight_decay=0.5), resume=False)


def test_what_helps_against_losses_that_are_no_number_may_change(tmp_path, caplog, monkeypatch):
    caplog.set_level("INFO")
    monkeypatch.setattr(loop, "is_quick_in_bfloat16", lambda _: True)
    run(tmp_path, replace(OPTIONS, steps=10, mixed_precision="bf16"))
    run(tmp_path, replace(OPTIONS, learning_rate=0.001))
    assert "learning_rate is 0.001 from here on; it was 0.02." in caplog.text
    assert "mixed_precision is no from here on; it was bf16." in caplog.text
    assert sorted(losses(tmp_path)) == list(range(1, 21))


@pytest.mark.parametrize(("precision", "quick"), [("bf16", False), ("fp16", False), ("fp16", True)])
def test_a_processor_that_is_slow_in_half_precision_trains_in_float32(
    tmp_path, caplog, monkeypatch, precision, quick
):
    run(tmp_path / "full")
    monkeypatch.setattr(loop, "is_quick_in_bfloat16", lambda _: quick)
    run(tmp_path / "half", replace(OPTIONS, mixed_precision=precision))
    assert f"no quick {precision}, so the stage trains in float32" in caplog.text
    assert same(weights(tmp_path / "full"), weights(tmp_path / "half"))
    first = json.loads((tmp_path / "half/line/log.jsonl").read_text().splitlines()[0])
    assert first["mixed_precision"] == "no"


def test_weights_that_are_no_numbers_are_not_saved(tmp_path):
    stage = LineStage()

    def spoil(done, total, figures):
        if done == 20:  # after its loss was computed, and before the checkpoint
            stage.module.line.weight.data[0, 1] = math.inf

    with pytest.raises(TrainingError, match="not numbers any more after step 20"):
        run(tmp_path, stage=stage, on_step=spoil)
    assert [path.name for path in checkpoints(tmp_path / "line/checkpoints")] == ["step-00000010"]
    run(tmp_path)
    run(tmp_path / "once")
    assert same(weights(tmp_path), weights(tmp_path / "once"))


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    real = checkpoint.save_file

    def full(tensors, path):
        if "step-00000020" in str(path):
            raise OSError(28, "No space left on device")
        real(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(TrainingError, match=r"the disk is full.* goes on from step-00000010\."):
        run(tmp_path)
    assert [path.name for path in checkpoints(tmp_path / "line/checkpoints")] == ["step-00000010"]
    monkeypatch.undo()
    run(tmp_path)
    run(tmp_path / "once")
    assert same(weights(tmp_path), weights(tmp_path / "once"))


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs a device that is full")
def test_a_disk_that_is_full_at_the_first_checkpoint_is_no_riddle(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "OPTIMIZER", "/dev/full")
    state = checkpoint.Checkpoint(7, {}, {}, {"state": torch.zeros(100_000)})
    with pytest.raises(TrainingError) as raised:
        checkpoint.save_checkpoint(tmp_path, state, {}, keep_last=1)
    assert str(raised.value) == (
        f"The checkpoint {tmp_path / 'step-00000007'} cannot be written because the disk is full; "
        "free some space: the same command begins anew, for there is none before it."
    )
    assert not list(tmp_path.iterdir())


def test_a_worker_that_dies_while_a_checkpoint_is_written_is_not_the_disk_s_fault(
    tmp_path, monkeypatch
):
    def told(tensors, path):
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    monkeypatch.setattr(checkpoint, "save_file", told)
    with pytest.raises(TrainingError, match=r"data died \(DataLoader worker \(pid 7\).*workers"):
        run(tmp_path)


def test_half_precision_weights_are_not_optimised(tmp_path):
    stage = LineStage()
    stage.module.half()
    with pytest.raises(OptionsError, match="only float32 weights can be optimised"):
        run(tmp_path, stage=stage)


def test_memory_that_runs_out_says_which_setting_to_lower(tmp_path, monkeypatch):
    def greedy(self, batch):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Line, "forward", greedy)
    with pytest.raises(TrainingError, match="lower micro_batch"):
        run(tmp_path)


def test_advice_on_memory_names_only_what_acts_there():
    assert "now all of batch_size, 4" in memory_advice("stage1", OPTIONS, "cuda")
    assert "gradient_checkpointing" in memory_advice("stage2", OPTIONS, "cuda")
    assert "gradient_checkpointing" not in memory_advice("vae", OPTIONS, "cuda")
    least = replace(OPTIONS, micro_batch=1, gradient_checkpointing=True, mixed_precision="bf16")
    assert memory_advice("stage1", least, "cuda") == LARGER
    assert making_advice("stage1", OPTIONS, "cuda").startswith("set bf16_cache")
    half = replace(least, settings={"bf16_cache": True})
    assert making_advice("stage1", half, "cuda") == LARGER
    assert making_advice("vae", OPTIONS, "cuda") == LARGER


def test_advice_on_memory_leaves_out_half_precision_where_it_is_slow(monkeypatch):
    for quick in (True, False):
        monkeypatch.setattr(stopping, "is_quick_in_bfloat16", lambda _, quick=quick: quick)
        assert ("bf16" in memory_advice("stage1", OPTIONS, "cpu")) is quick
        assert ("bf16" in making_advice("stage1", OPTIONS, "cpu")) is quick


def test_the_log_begins_with_what_the_stage_is(tmp_path):
    stage = LineStage()
    stage.notes = {"perceptual": "lpips-vgg", "spatial_weight": 0.1}
    run(tmp_path, stage=stage)
    first = json.loads((tmp_path / "line/log.jsonl").read_text().splitlines()[0])
    assert (first["kind"], first["stage"], first["perceptual"]) == ("stage", "line", "lpips-vgg")
    assert first["mixed_precision"] == "no"


def test_the_rate_warms_up_stays_and_falls():
    options = replace(OPTIONS, steps=100, warmup_steps=10, cosine_from=0.5, learning_rate=1.0)
    rates = [learning_rate(options, step) for step in range(100)]
    assert rates[0] == 0.1
    assert rates[9:50] == [1.0] * 41
    assert rates[75] == pytest.approx(0.505, abs=1e-3)
    assert rates[99] < 0.02


def test_a_fifth_of_the_first_loss_is_reached(tmp_path):
    run(tmp_path, replace(OPTIONS, steps=200, save_every=100))
    curve = losses(tmp_path)
    assert curve[200] < 0.2 * curve[1]


def test_older_checkpoints_are_removed(tmp_path):
    run(tmp_path, replace(OPTIONS, save_every=4, keep_last=2))
    names = [path.name for path in checkpoints(tmp_path / "line/checkpoints")]
    assert names == ["step-00000016", "step-00000020"]
    assert not list(Path(tmp_path).glob("line/checkpoints/.step*"))
