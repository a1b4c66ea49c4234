"""Two processes train the real networks as one does, and share what is made before."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from support import ROOT, in_two_processes

pytest.importorskip("accelerate")
pytest.importorskip("cv2")

from test_train_stages import MODEL, SAMPLES

from echomimic import cli

OPTIONS = {"steps": 2, "batch_size": 4, "learning_rate": 1e-3, "log_every": 1}
RECIPE = {
    "seed": 3, "variant": "joint", "model": MODEL,
    "data": {"puppets": {"count": 16, "num_frames": 5, "size": 64}},
    "stages": {
        "vae": OPTIONS, "audio": OPTIONS,
        "stage1": OPTIONS | {"steps": 5, "settings": {"samples": SAMPLES}},
    },
}  # fmt: skip
WATCHED = """
import os, sys
sys.path[:0] = [{root!r}]
from pathlib import Path
from echomimic import cli
from echomimic.train import make_puppets as puppets
from echomimic.train.cache import AudioCache, LatentCache

rank, log = os.environ["RANK"], Path({log!r})

def noted(owner, name, clips):
    made = getattr(owner, name)

    def call(*given, **options):
        with log.open("a") as file:
            file.write("".join(f"{{name}} {{clip}} {{rank}}\\n" for clip in clips(*given)))
        return made(*given, **options)

    setattr(owner, name, call)

noted(puppets, "make_puppets", lambda folder, count, *_: range(count))
noted(LatentCache, "_encode", lambda cache, pictures: [str(pictures.sum())])
noted(AudioCache, "_encode", lambda cache, pair: [pair[0].name])
sys.exit(cli.main(["train", {recipe!r}, "--out", {out!r}, "--stage", "stage1"]))
"""


def losses(run):
    lines = map(json.loads, (run / "stage1/log.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if line["kind"] == "training"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folders of a run of one process and of two, and what each of the two made."""
    folder = tmp_path_factory.mktemp("processes")
    (folder / "tiny.yaml").write_text(json.dumps(RECIPE))
    assert cli.main(["train", str(folder / "tiny.yaml"), "--out", str(folder / "one")]) == 0
    for name in ("sd-vae-ft-mse", "audio_processor"):
        shutil.copytree(folder / "one/models" / name, folder / "two/models" / name)
    script, made = folder / "two.py", folder / "made"
    script.write_text(
        WATCHED.format(
            root=str(ROOT), log=str(made), recipe=str(folder / "tiny.yaml"), out=str(folder / "two")
        )
    )
    command, environment = in_two_processes(script)
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "one", folder / "two", [line.split() for line in made.open()]


def test_the_losses_of_stage_1_are_those_of_one_process(runs):
    one, two, _ = runs
    assert len(losses(one)) == 5
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)


def test_one_of_them_makes_the_puppets(runs):
    one, two, made = runs
    assert {rank for what, _, rank in made if what == "make_puppets"} == {"0"}
    clips = [{path.name for path in (run / "data").iterdir()} for run in (one, two)]
    assert clips[0] == clips[1]
    assert len(list(two.glob("data/puppet-*"))) == 16


def test_each_encodes_its_share_of_the_clips_once(runs):
    encoded = [(clip, rank) for what, clip, rank in runs[2] if what == "_encode"]
    assert len(encoded) == len({clip for clip, _ in encoded}) == 32  # pictures and voices
    assert [rank for _, rank in encoded].count("0") == 16
    (latents,) = Path(runs[1] / "data/.cache").glob("latents-*")
    assert len(list(latents.glob("*.npy"))) == 16
