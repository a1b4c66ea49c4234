"""The readers of whole networks on files that are damaged or hold other tensors under the names
that are looked for: a network whose weights are numbers, or a sentence."""

import io
import json
import struct
import zipfile
from functools import cache

import numpy as np
import pytest
import torch
from fuzzing import EDITS, cases, damaged, ends_well, reworded, words, written
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from echomimic.config import MotionConfig, UNetConfig
from echomimic.evaluation.i3d import I3DFeatures
from echomimic.evaluation.inception import Inception, InceptionFeatures, read_inception
from echomimic.evaluation.networks import sha256_of
from echomimic.evaluation.syncnet import SyncNet, read_syncnet
from echomimic.landmarks.mesh import NUM_VERTICES
from echomimic.landmarks.metric import METADATA, TENSORS, Canonical, find_canonical, read_canonical
from echomimic.models.unet import UNet
from echomimic.train.lpips import BACKBONES, LPIPS, read_lpips
from echomimic.weights.files import ModelFiles
from echomimic.weights.load import load_denoising_unet, load_reference_unet
from echomimic.weights.settings import make_metadata

WRONG = st.sampled_from(
    ("gone", "shape", "flat", "scalar", "sparse", "meta", "complex", "quantized", "bool", "integer",
     "double", "float8", "float4", "nan", "view")
)  # fmt: skip
CHANGES = st.lists(st.tuples(st.integers(0, 2**16), WRONG), min_size=1, max_size=2)
WORDS = words((b"-1", b"0", b"3", b"1.5", b"null", b"true", b'"x"', b"[]", b"{}", b"[0]", b"[[8]]",
               b"1e999", b"9" * 30, b'"area"', b'"motion_frames"'))  # fmt: skip


def other(kind, weight):
    """A tensor in the place of `weight`; of its shape unless the kind says otherwise."""
    shape = weight.shape
    plain = torch.tensor(0.0).expand(shape)  # a file holds a single number of it
    casts = {"complex": torch.complex64, "bool": torch.bool, "integer": torch.int64,
             "double": torch.float64, "float8": torch.float8_e4m3fn,
             "float4": torch.float4_e2m1fn_x2}  # fmt: skip
    if kind in casts:
        return torch.empty((), dtype=casts[kind]).expand(shape)
    if kind == "sparse":
        return torch.sparse_coo_tensor(torch.zeros(len(shape), 0), torch.zeros(0), shape)
    if kind == "quantized":
        return torch.quantize_per_tensor(torch.zeros(shape), 0.1, 0, torch.qint8)
    return {
        "shape": torch.tensor(0.0).expand(*shape, 2), "flat": plain.reshape(-1),
        "scalar": torch.tensor(0.0), "meta": torch.zeros(shape, device="meta"),
        "nan": torch.tensor(torch.nan).expand(shape), "view": plain.half(),
    }[kind]  # fmt: skip


def hollow(network, whole=None):
    """A state dict whose tensors are large but whose file is small."""
    half = torch.tensor(0.5, device="cpu")
    return {
        name: half.expand(tensor.shape)
        for name, tensor in (whole or network.state_dict()).items()
        if not name.endswith("num_batches_tracked")
    }


def changed(state, changes):
    state = dict(state)
    for place, kind in changes:
        name = sorted(state)[place % len(state)]
        weight = state.pop(name)
        if kind != "gone":
            state[name] = other(kind, weight)
    return state


def check_weights(network):
    """Whatever was read can be computed with."""
    for weight in () if network is None else network.state_dict().values():
        assert weight.layout is torch.strided and weight.device.type == "cpu"
        assert not weight.is_complex() and not weight.is_quantized


# --- UNets --------------------------------------------------------------------------------------

LEAST = UNetConfig(channels=(8, 16), attention=(True, False), layers_per_level=1, num_heads=2,
                   norm_groups=2, audio_dim=8, motion=MotionConfig(2))  # fmt: skip
UNETS = {"denoising_unet": LEAST, "reference_unet": LEAST.as_reference()}


@cache
def unet_state(component):
    return hollow(UNet(UNETS[component], device="meta"))


@cache
def unet_file(component):
    note = make_metadata(component, "audio" if component == "denoising_unet" else None,
                         UNETS[component])  # fmt: skip
    return save({k: v.contiguous() for k, v in unet_state(component).items()}, note)


def load_unet(component, path, motion_module=None):
    files = ModelFiles("audio", path, motion_module, path, path, path, path)
    loaders = {"denoising_unet": load_denoising_unet, "reference_unet": load_reference_unet}
    return ends_well(lambda: loaders[component](files, dtype="float32"))


COMPONENTS = st.sampled_from(sorted(UNETS))


@cases(40)
@given(COMPONENTS, EDITS)
def test_damaged_unets(tmp_path, component, edits):
    path = written(tmp_path / "x.safetensors", damaged(unet_file(component), edits))
    check_weights(load_unet(component, path))


@cases(60)
@given(COMPONENTS, WORDS)
def test_unets_that_are_described_otherwise(tmp_path, component, edits):
    content = unet_file(component)
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    note = reworded(header["__metadata__"]["echomimic"].encode(), edits)
    header["__metadata__"]["echomimic"] = note.decode("latin-1")
    said = json.dumps(header).encode()
    said += b" " * (-len(said) % 8)
    content = struct.pack("<Q", len(said)) + said + content[8 + length :]
    check_weights(load_unet(component, written(tmp_path / "x.safetensors", content)))


@cases(60)
@given(COMPONENTS, CHANGES, st.sampled_from(("none", "same", "rest", "other")))
@pytest.mark.filterwarnings("ignore:Sparse", "ignore:torch.quantize")
def test_unets_with_other_tensors(tmp_path, component, changes, motion):
    written(tmp_path / "config.json", json.dumps({"format": 1, "unet": LEAST.to_dict()}).encode())
    path, state = tmp_path / "x.pth", changed(unet_state(component), changes)
    beside = None if motion == "none" else tmp_path / "motion.pth"
    if motion == "rest":
        rest = {k: state.pop(k) for k in [*state] if ".motion_modules." in k}
        torch.save(rest, beside)
    elif beside is not None:
        torch.save(state if motion == "same" else {"x": torch.zeros(1)}, beside)
    torch.save(state, path)
    check_weights(load_unet(component, path, beside))


# --- networks of the measures -------------------------------------------------------------------


@cache
def lpips_state():
    model, backbone = LPIPS(BACKBONES["alex"]), BACKBONES["alex"]
    state = {f"lin{i}.model.1.weight": head.weight for i, head in enumerate(model.heads)}
    for layers, group in zip(backbone.layers, model.groups, strict=True):
        for number, convolution in zip(layers, group, strict=True):
            state |= {f"features.{number}.{k}": v for k, v in convolution.state_dict().items()}
    return hollow(model, state)


@cache
def measure_state(kind):
    if kind == "lpips":
        return lpips_state()
    with torch.device("meta"):
        network = {"syncnet": SyncNet, "inception": Inception}[kind]()
    return hollow(network)


def read_measure(kind, path):
    if kind == "lpips":
        return read_lpips(path, "alex")
    return {"syncnet": read_syncnet, "inception": read_inception}[kind](path)


MEASURES = st.sampled_from(("inception", "lpips", "syncnet"))


@cases(20)
@given(MEASURES, CHANGES)
@pytest.mark.filterwarnings("ignore:Sparse", "ignore:torch.quantize")
def test_networks_of_measures_with_other_tensors(tmp_path, kind, changes):
    path = tmp_path / "x.pth"
    torch.save(changed(measure_state(kind), changes), path)
    check_weights(ends_well(read_measure, kind, path))


@cases(20)
@given(MEASURES, EDITS)
def test_damaged_networks_of_measures(tmp_path, kind, edits):
    path = written(tmp_path / "x.pth", damaged(measure_file(kind), edits))
    ends_well(read_measure, kind, path)
    ends_well(lambda: InceptionFeatures(path))


@cache
def measure_file(kind):
    """Only its first tensors: whether a network is whole is the test's above."""
    file = io.BytesIO()
    torch.save(dict([*measure_state(kind).items()][:4]), file)
    return file.getvalue()


class Logits(torch.nn.Module):
    def forward(self, x, rescale: bool, resize: bool, return_features: bool):
        return x.mean(dim=[2, 3, 4]).repeat(1, 134)[:, :400] * (1 if return_features else 0)


@cache
def script():
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(Logits()), file)
    return file.getvalue()


@cases(30)
@given(EDITS)
@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_damaged_torchscript(tmp_path, edits):
    path = written(tmp_path / "i3d.pt", damaged(script(), edits))
    network = ends_well(lambda: I3DFeatures(path, sha256=sha256_of(path)))
    if network is not None:
        ends_well(network.features, np.zeros((16, 8, 8, 3), np.uint8))
    assert ends_well(lambda: I3DFeatures(path, sha256="0" * 64)) is None


# --- MediaPipe's canonical face -----------------------------------------------------------------

FACE = np.random.default_rng(0).normal(0, 5, (NUM_VERTICES, 3)).astype(np.float32)
INDICES, SHARES = np.arange(0, 400, 40), np.full(10, 0.5, np.float32)


def field(number, kind, content):
    """A field of a protobuf message."""
    if kind == 0:
        return varint(number << 3) + varint(content)
    length = varint(len(content)) if kind == 2 else b""
    return varint(number << 3 | kind) + length + content


def varint(value):
    return bytes([value & 0x7F | 0x80 * (value > 0x7F)]) + (
        varint(value >> 7) if value >> 7 else b""
    )


@cache
def geometry():
    """The message in the landmarker's bundle."""
    rows = np.concatenate([FACE, np.zeros((NUM_VERTICES, 2), np.float32)], axis=1)
    entries = [
        field(2, 2, field(1, 0, int(index)) + field(2, 5, struct.pack("<f", share)))
        for index, share in zip(INDICES, SHARES, strict=True)
    ]
    return b"".join([*entries, field(1, 2, field(3, 2, rows.tobytes()))])


def bundle(content, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as out:
        out.writestr(METADATA, content)
    return file.getvalue()


@cache
def canonical_tensors():
    return save(dict(zip(TENSORS, map(torch.from_numpy, (FACE, INDICES, SHARES)), strict=True)))


@cases(150)
@given(st.sampled_from(("bundle", "compressed", "message", "tensors")), EDITS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_canonical_faces(tmp_path, kind, edits):
    content = {
        "bundle": lambda: damaged(bundle(geometry()), edits),
        "compressed": lambda: damaged(bundle(geometry(), zipfile.ZIP_DEFLATED), edits),
        "message": lambda: bundle(damaged(geometry(), edits)),
        "tensors": lambda: damaged(canonical_tensors(), edits),
    }[kind]()
    suffix = ".safetensors" if kind == "tensors" else ".task"
    path = written(tmp_path / f"face{suffix}", content)
    check_face(ends_well(read_canonical, path))
    check_face(ends_well(find_canonical, [tmp_path]))


def check_face(face: Canonical | None):
    if face is not None:
        assert np.isfinite(face.vertices).all() and np.isfinite(face.weights).all()


ODD = {
    "empty": torch.zeros(0), "bfloat16": torch.zeros(3).bfloat16(), "bool": torch.ones(10).bool(),
    "nan": torch.full((NUM_VERTICES, 3), torch.nan), "square": torch.zeros(3, 3, dtype=torch.long),
    "half": torch.arange(10).half(), "negative": -torch.ones(10), "float8": torch.zeros(3).to(
        torch.float8_e4m3fn), "infinite": torch.full((10,), torch.inf), "long": torch.arange(10),
}  # fmt: skip


@cases(60)
@given(st.dictionaries(st.sampled_from(TENSORS), st.sampled_from(sorted(ODD)), min_size=1))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_canonical_faces_of_other_tensors(tmp_path, chosen):
    good = dict(zip(TENSORS, map(torch.from_numpy, (FACE, INDICES, SHARES)), strict=True))
    state = good | {name: ODD[kind].clone() for name, kind in chosen.items()}
    path = written(tmp_path / "face.safetensors", save(state))
    check_face(ends_well(read_canonical, path))


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_what_is_fuzzed_is_read_when_it_is_whole(tmp_path):
    """Else the tests above would prove little."""
    for component in UNETS:
        path = written(tmp_path / "x.safetensors", unet_file(component))
        assert load_unet(component, path) is not None
    for kind in ("inception", "lpips", "syncnet"):
        torch.save(measure_state(kind), tmp_path / "x.pth")
        assert len(read_measure(kind, tmp_path / "x.pth").state_dict()) > 10
    path = written(tmp_path / "i3d.pt", script())
    frames = np.zeros((16, 8, 8, 3), np.uint8)
    assert I3DFeatures(path, sha256=sha256_of(path)).features(frames).shape == (1, 400)
    tensors = written(tmp_path / "face.safetensors", canonical_tensors())
    task = written(tmp_path / "face.task", bundle(geometry()))
    for found in (read_canonical(tensors), read_canonical(task)):
        assert np.array_equal(found.vertices, FACE) and np.count_nonzero(found.weights) == 10
