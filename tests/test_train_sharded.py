"""Weights spread over two processes: the same training, whole checkpoints, whole model files."""

import json
import subprocess
from dataclasses import replace

import pytest
import torch
import yaml
from support import ROOT, in_two_processes

pytest.importorskip("accelerate")

from accelerate import Accelerator
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from safetensors.torch import load_file, save_file
from test_train_engine import OPTIONS, LineStage, losses, run, weights
from test_unet import CONFIG
from torch.distributed.fsdp import FSDPModule

from echomimic.config import LandmarkEncoderConfig
from echomimic.models.landmark_encoder import LandmarkEncoder
from echomimic.models.unet import UNet
from echomimic.train.conditioned import ConditionedTraining, Objective
from echomimic.train.draws import generator
from echomimic.train.loop import leave_processes, train_stage
from echomimic.train.trainable import freeze_all_but_trainable

WRAPPED = "FeedForward,ResnetBlock"
FRAMES = 3


class NoVAE(torch.nn.Module):
    def enable_gradient_checkpointing(self):
        pass


class NetworksStage:
    """Stage 2 on random samples, with the networks that it is made of."""

    name = "stage2"
    notes, stands_on = {}, {}

    def __init__(self):
        torch.manual_seed(0)
        encoder = LandmarkEncoder(LandmarkEncoderConfig(1, (4, 4, 4, 4), 8))
        self.module = ConditionedTraining(
            UNet(CONFIG.as_reference()), UNet(CONFIG), encoder, NoVAE(),
            Objective(spatial_weight=0.0), gradient_checkpointing=True,
        )  # fmt: skip
        self._trainable = freeze_all_but_trainable("stage2", self.module)

    def trainable(self):
        return self._trainable

    def fetch(self, indices):
        samples = [self.sample(generator(0, "sharded", index)) for index in indices]
        return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}

    def sample(self, draw):
        def normal(*shape):
            return torch.randn(*shape, generator=draw)

        return {
            "reference": normal(4, 8, 8), "latents": normal(FRAMES, 4, 8, 8),
            "noise": normal(FRAMES, 4, 8, 8), "audio": normal(FRAMES, 5, 6),
            "t": torch.randint(1000, (1,), generator=draw).expand(FRAMES),
            "landmarks": torch.zeros(FRAMES, 1, 64, 64),
            "latent_weights": torch.ones(FRAMES, 1, 8, 8),
            "with_reference": torch.rand((), generator=draw) < 0.5,
            "with_landmarks": torch.tensor(True),
        }  # fmt: skip

    def describe(self, index):
        return f"sample {index}"

    def validate(self, step, folder):
        return {}

    def export(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.module.denoising_unet.state_dict(), folder / "unet.safetensors")
        return [folder / "unet.safetensors"]


def sharding(*names):
    """An accelerator as the configuration makes it on GPUs; accelerate offers it there only."""
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(cpu=True)
    accelerator.state.distributed_type = DistributedType.FSDP
    PartialState._shared_state["distributed_type"] = DistributedType.FSDP
    accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2, auto_wrap_policy="transformer_based_wrap", reshard_after_forward=True,
        transformer_cls_names_to_wrap=list(names), cpu_ram_efficient_loading=False,
    )  # fmt: skip
    prepare = accelerator.prepare

    def prepared(*of):
        module, optimizer = prepare(*of)
        for part in module.modules():
            if isinstance(part, FSDPModule):
                part.set_force_sum_reduction_for_comms(True)  # gloo knows no average
        return module, optimizer

    accelerator.prepare = prepared
    return accelerator


def logged(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "training"]


NETWORKS = replace(OPTIONS, steps=3, batch_size=4, micro_batch=1, learning_rate=1e-3)


def train_sharded(folder):
    """What each of the two processes does."""
    run(folder, replace(OPTIONS, steps=10), accelerator=sharding("Linear"))
    run(folder, accelerator=sharding("Linear"))
    names = WRAPPED.split(",")
    train_stage(NetworksStage(), NETWORKS, folder / "n/stage2", accelerator=sharding(*names))
    leave_processes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes made together, after going on once."""
    path = tmp_path_factory.mktemp("sharded")
    script = path / "two.py"
    script.write_text(
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests')!r}]\n"
        "from pathlib import Path\n"
        "from test_train_sharded import train_sharded\n"
        f"train_sharded(Path({str(path)!r}))\n"
    )
    command, environment = in_two_processes(script)
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return path


def test_losses_and_weights_are_those_of_one_process(folder, tmp_path):
    run(tmp_path)
    for step, loss in losses(tmp_path).items():
        assert losses(folder)[step] == pytest.approx(loss, rel=1e-4)
    for name, value in weights(tmp_path).items():
        torch.testing.assert_close(weights(folder)[name], value, atol=1e-6, rtol=1e-4)


def test_checkpoints_hold_whole_weights_and_go_on_in_one_process(folder):
    newest = folder / "line/checkpoints/step-00000020"
    assert load_file(newest / "weights.safetensors")["line.weight"].shape == (1, 3)
    assert load_file(newest / "ema.safetensors")["line.weight"].shape == (1, 3)
    state = torch.load(newest / "optimizer.pt", weights_only=True)["state"]
    assert state[0]["exp_avg"].shape == (1, 3)
    stage = LineStage()
    run(folder, replace(OPTIONS, steps=21), stage)
    assert stage.fetched == list(range(80, 84))


def test_the_networks_of_the_paper_train_and_are_exported_whole(folder, tmp_path):
    train_stage(NetworksStage(), NETWORKS, tmp_path / "stage2")
    alone, spread = (logged(path / "stage2") for path in (tmp_path, folder / "n"))
    assert len(alone) == 3
    assert spread == pytest.approx(alone, rel=1e-4)
    before = NetworksStage().module.denoising_unet.state_dict()
    after = load_file(folder / "n/models/unet.safetensors")
    assert set(after) == set(before)
    for name, value in after.items():
        frozen = ".motion_modules." not in name or name.endswith(".pe")
        assert torch.equal(value, before[name]) == frozen, name


def test_the_configuration_is_the_one_that_is_tested():
    path = ROOT / "echomimic/train/fsdp.yaml"
    assert load_config_from_file(str(path)).num_processes == 8  # accelerate understands it
    config = yaml.safe_load(path.read_text())
    assert config["distributed_type"] == "FSDP"
    fsdp = config["fsdp_config"]
    assert fsdp["fsdp_version"] == 2
    assert fsdp["fsdp_transformer_layer_cls_to_wrap"] == WRAPPED
    assert not fsdp["fsdp_cpu_ram_efficient_loading"]
