"""What we wrote ourselves and find again, damaged: it is read, made anew, or refused in a
sentence."""

import io
import json
import shutil
from functools import cache

import av
import numpy as np
import pytest
import torch
from fuzzing import EDITS, cases, damaged, ends_well, reworded, words, written
from hypothesis import given
from hypothesis import strategies as st

from echomimic.cli_info import _lines
from echomimic.config import SamplingOptions, variant
from echomimic.evaluation.measure import Measured
from echomimic.evaluation.store import load_measured, save_measured
from echomimic.evaluation.summary import summarise
from echomimic.media.provenance import Provenance, made_by, read_provenance
from echomimic.render_folder import MANIFEST, RenderFolder, Segment

ROW = variant("audio")
PROMPT = {"3": {"class_type": "EchoMimicSampler", "inputs": {"seed": 7, "model": ["1", 0]}}}

# --- what a video says of itself ----------------------------------------------------------------


def film(tags, container="mp4"):
    file = io.BytesIO()
    options = {"movflags": "use_metadata_tags"} if container == "mp4" else {}
    with av.open(file, "w", container, options=options) as out:
        out.metadata.update(tags)
        stream = out.add_stream("libx264", rate=10)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))
        for part in (frame, None):
            out.mux(stream.encode(part))
    return file.getvalue()


@cache
def tags():
    mark = Provenance(made_by(ROW, SamplingOptions()), {"prompt": json.dumps(PROMPT)})
    return mark.container_tags()


@cache
def whole_film(container):
    return film(tags(), container)


def told(path):
    said = ends_well(read_provenance, path)
    if said is not None:
        assert isinstance(json.dumps(said), str) and _lines(said)


@cases(100)
@given(st.sampled_from(("mp4", "matroska")), EDITS)
def test_damaged_videos(tmp_path, container, edits):
    told(written(tmp_path / "x.mp4", damaged(whole_film(container), edits)))


@cases(60)
@given(st.sampled_from(("echomimic", "prompt", "workflow", "comment")), words(), st.booleans())
def test_tags_of_another_kind(tmp_path, name, edits, alone):
    text = reworded(tags().get(name, json.dumps(PROMPT)).encode(), edits)
    changed = {} if alone else tags()
    changed = changed | {name: text.decode("utf-8", "replace").replace("\0", " ")}
    told(written(tmp_path / "x.mp4", film(changed)))


# --- finished segments of a long render ---------------------------------------------------------

PLAN = [Segment(0, 0, 3), Segment(1, 2, 5, known=1), Segment(2, 4, 7, known=1)]
SETTINGS = {"seed": 1, "portrait": "0" * 32}


@pytest.fixture(scope="module")
def render(tmp_path_factory):
    """A folder with a render of which two segments are finished."""
    root = tmp_path_factory.mktemp("render")
    folder = RenderFolder.open(root, SETTINGS, PLAN)
    folder.chosen("window_batch", lambda: 4)
    for segment in PLAN[:2]:
        folder.add(segment, torch.full((3, 4, 2, 2), float(segment.number)))
    return root


@cases(100)
@given(words(), EDITS, st.sampled_from(("words", "bytes")), st.sampled_from((1, 2)))
def test_manifests_of_long_renders(tmp_path, render, edits, damage, how, seed):
    root = tmp_path / "copy"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(render, root)
    (manifest,) = root.glob(f"*/{MANIFEST}")
    content = manifest.read_bytes()
    manifest.write_bytes(reworded(content, edits) if how == "words" else damaged(content, damage))

    folder = ends_well(RenderFolder.open, root, SETTINGS | {"seed": seed}, PLAN)
    assert 0 <= folder.num_finished <= len(PLAN)
    for segment in PLAN[: folder.num_finished + 1]:
        known = folder.known(segment)
        assert known is None or known.shape == (1, 4, 2, 2)
    batch = folder.chosen("window_batch", lambda: 4)
    assert type(batch) is int and batch >= 0
    for segment in PLAN[folder.num_finished :]:
        folder.add(segment, torch.zeros(3, 4, 2, 2))
    assert sum(len(latents) for latents in folder) == folder.num_frames


# --- what was measured of a pair of clips -------------------------------------------------------

FEATURES = np.arange(6, dtype=np.float32).reshape(2, 3)
FIGURES = {"ssim": 0.5, "real voice": 0.1}
MEASURED = Measured(9, (64, 48), FIGURES, {"fid": FEATURES, "fid real": FEATURES + 1}, ["a note"])


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("measured") / "a.safetensors"
    save_measured(path, MEASURED, "key")
    return path.read_bytes()


@cases(100)
@given(words((b'"F64"', b'"BF16"', b'"I8"', b'"F8_E4M3"', b"[1, 6]", b"[6]", b"[0, 3]", b"-1",
              b'"x"', b"{}", b"null", b"[]", b'"key"', b'\\"x\\"', b"NaN", b"1e999")),
       EDITS, st.booleans())  # fmt: skip
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_stored_measurements(tmp_path, stored, edits, damage, by_words):
    if by_words:
        length = int.from_bytes(stored[:8], "little")
        header = reworded(stored[8 : 8 + length], edits)
        content = len(header).to_bytes(8, "little") + header + stored[8 + length :]
    else:
        content = damaged(stored, damage)
    found = load_measured(written(tmp_path / "a.safetensors", content), "key")
    if found is not None:
        ends_well(summarise, [found, MEASURED])


def test_what_is_fuzzed_is_read_when_it_is_whole(tmp_path, render, stored):
    """Else the tests above would prove little."""
    for container in ("mp4", "matroska"):
        said = read_provenance(written(tmp_path / "x", whole_film(container)))
        assert said["variant"] == "audio" and said["prompt"] == PROMPT
    assert RenderFolder.open(render, SETTINGS, PLAN).num_finished == 2
    found = load_measured(written(tmp_path / "a.safetensors", stored), "key")
    assert found.figures == MEASURED.figures and found.notes == MEASURED.notes
    assert np.array_equal(found.features["fid"], FEATURES)
    assert summarise([found, MEASURED])
