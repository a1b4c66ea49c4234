"""Networks of others: shape, protocol, checksum, and files that are not what they should be."""

import hashlib

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from echomimic.errors import EvaluationError, WeightsError
from echomimic.evaluation.i3d import I3DFeatures
from echomimic.evaluation.identity import SFace, identity_similarity
from echomimic.evaluation.inception import Inception, InceptionFeatures
from echomimic.evaluation.networks import known_file


@pytest.fixture(scope="module")
def inception(tmp_path_factory):
    """A file of random weights with the published names, as half the width of a float."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("inception") / "random.safetensors"
    state = Inception().state_dict()
    kept = {n: t.half() for n, t in state.items() if not n.endswith("batches_tracked")}
    for name, tensor in kept.items():
        if name.endswith("conv.weight"):
            tensor *= 6**0.5  # so that what goes through keeps its size
    save_file(kept | {"fc.weight": torch.zeros(1, 1).half()}, path)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def test_inception_has_the_parameters_of_the_published_network():
    """Without its classifier of 1008 logits: torchvision counts 23,834,568 with 1000 of them."""
    with torch.device("meta"):
        parameters = sum(p.numel() for p in Inception().parameters())
    assert parameters == 23_834_568 - 1000 * 2049


def test_average_pools_do_not_count_what_is_padded():
    with torch.device("meta"):
        model = Inception()
    block = model.Mixed_7b.to_empty(device="cpu")
    for part in block.modules():
        if isinstance(part, torch.nn.Conv2d):
            torch.nn.init.constant_(part.weight, 1 / part.weight[0].numel())
        if isinstance(part, torch.nn.BatchNorm2d):
            part.reset_parameters()
    with torch.no_grad():
        pooled = block.eval()(torch.ones(1, 1280, 3, 3))[:, -192:]
    assert torch.allclose(pooled, torch.full_like(pooled, 1 / (1 + 1e-3) ** 0.5), atol=1e-5)


def test_features_of_frames_are_2048_and_name_their_weights(inception):
    path, checksum = inception
    network = InceptionFeatures(path, sha256=checksum)
    frames = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), np.uint8)
    frames[1] //= 3
    features = network.features(frames)
    assert features.shape == (2, 2048)
    assert np.abs(features[0] - features[1]).max() > 0.1 * features.max()
    assert network.weights.sha256 == checksum
    assert "tf1 to 299x299" in network.protocol


def test_a_file_that_is_not_the_published_one_is_refused(inception, tmp_path):
    with pytest.raises(WeightsError, match="instead of 6726825d…"):
        InceptionFeatures(inception[0])
    save_file({"fc.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    other = known_file(tmp_path / "other.safetensors", "").sha256
    with pytest.raises(WeightsError, match="not the Inception of FID: Conv2d_1a_3x3.conv.weight"):
        InceptionFeatures(tmp_path / "other.safetensors", sha256=other)
    with pytest.raises(WeightsError, match="There is no weight file"):
        InceptionFeatures(tmp_path / "gone.pth")


class PretendI3D(torch.nn.Module):
    """Says what reaches it: the mean, the extremes, the shape."""

    def forward(self, x, rescale: bool = True, resize: bool = True, return_features: bool = False):
        assert not rescale
        assert not resize
        said = torch.zeros(x.shape[0], 400)
        said[:, 0], said[:, 1], said[:, 2] = x.mean(), x.min(), x.max()
        said[:, 3], said[:, 4], said[:, 5] = x.shape[2], x.shape[3], x.shape[4]
        return said


@pytest.fixture(scope="module")
def i3d(tmp_path_factory):
    path = tmp_path_factory.mktemp("i3d") / "i3d.pt"
    torch.jit.script(PretendI3D()).save(path)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def test_i3d_sees_clips_of_16_frames_in_full_range(i3d):
    path, checksum = i3d
    frames = np.zeros((40, 20, 20, 3), np.uint8)
    frames[16:, :10] = 255
    said = I3DFeatures(path, sha256=checksum).features(frames)
    assert said.shape == (2, 400)  # the last eight frames are no clip
    assert said[0, :6].tolist() == [-1, -1, -1, 16, 224, 224]
    assert said[1, 1:3].tolist() == pytest.approx([-1, 1])


def test_a_program_is_run_only_with_its_checksum(i3d, tmp_path):
    with pytest.raises(WeightsError, match="is a program; give the sha256"):
        I3DFeatures(i3d[0], sha256="")
    with pytest.raises(WeightsError, match="instead of abc"):
        I3DFeatures(i3d[0], sha256="abc")
    (tmp_path / "text.pt").write_text("no program")
    with pytest.raises(WeightsError, match="no TorchScript"):
        I3DFeatures(tmp_path / "text.pt", sha256=known_file(tmp_path / "text.pt", "").sha256)


class Pool(torch.nn.Module):
    """As an I3D that gives what is before its classifier."""

    def forward(self, x, rescale: bool = True, resize: bool = True, return_features: bool = False):
        return torch.zeros(x.shape[0], 1024)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (torch.nn.Linear(2, 2), ""),
        (Pool(), r"\(a clip gives 1024 instead of 400 numbers\); give i3d_torchscript.pt"),
    ],
    ids=["linear", "pool"],
)
def test_a_program_of_something_else_is_refused_before_it_sees_a_clip(tmp_path, program, reason):
    torch.jit.script(program).save(tmp_path / "other.pt")
    known = known_file(tmp_path / "other.pt", "").sha256
    with pytest.raises(WeightsError, match=f"other.pt is not the I3D of FVD {reason}"):
        I3DFeatures(tmp_path / "other.pt", sha256=known)


def test_short_clips_have_no_fvd(i3d):
    with pytest.raises(EvaluationError, match="at least 16 frames; this one has 15"):
        I3DFeatures(i3d[0], sha256=i3d[1]).features(np.zeros((15, 8, 8, 3), np.uint8))


class Colours:
    """An identity network that knows people by their colour."""

    name, protocol, weights = "colours", "mean colour", None

    def embed(self, faces):
        return faces.mean(axis=(1, 2))


def test_identity_is_the_cosine_with_the_real_face():
    red, green = (np.zeros((3, 112, 112, 3), np.uint8) for _ in range(2))
    red[..., 0] = green[..., 1] = 200
    assert identity_similarity(Colours(), red, red) == pytest.approx(1)
    assert identity_similarity(Colours(), red, green) == pytest.approx(0)
    with pytest.raises(EvaluationError, match="without a face"):
        identity_similarity(Colours(), red[:0], red)


def test_a_file_that_is_not_sface_is_explained(tmp_path):
    pytest.importorskip("cv2")
    (tmp_path / "face.onnx").write_bytes(b"no network")
    with pytest.raises(WeightsError, match="face.onnx is not SFace"):
        SFace(tmp_path / "face.onnx")


def varint(number):
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def field(number, content):
    """A field of a protobuf message."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def value(name, *sides):
    """A float32 tensor that goes into a network or comes out of it."""
    shape = b"".join(field(1, field(1, side)) for side in sides)
    return field(1, name.encode()) + field(2, field(1, field(1, 1) + field(2, shape)))


def onnx(*operations, channels=3, gives=(1, 128), **tensors):
    """A network of `data` in which one operation follows another."""
    nodes, given = b"", "data"
    for kind, *weights in operations:
        names = b"".join(field(1, name.encode()) for name in (given, *weights))
        nodes += field(1, names + field(2, kind.encode()) + field(4, kind.encode()))
        given = kind
    kept = b"".join(
        field(5, b"".join(field(1, side) for side in array.shape) + field(2, 1)
              + field(8, name.encode()) + field(9, array.astype("<f4").tobytes()))
        for name, array in tensors.items()
    )  # fmt: skip
    ends = field(11, value("data", 1, channels, 112, 112)) + field(12, value(given, *gives))
    graph = nodes + field(2, b"g") + kept + ends
    return field(1, 8) + field(7, graph) + field(8, field(1, b"") + field(2, 13))


VECTOR = (("Conv", "w"), ("GlobalAveragePool",), ("Flatten",))  # of a face, when w is 3 to 128
OTHERS = {
    "picture": onnx(("Relu",), gives=(1, 3, 112, 112)),
    "channels": onnx(("Conv", "w"), channels=5, gives=(1, 4, 110, 110), w=np.zeros((4, 5, 3, 3))),
    "zeros": onnx(*VECTOR, w=np.zeros((128, 3, 1, 1))),
    "nan": onnx(*VECTOR, w=np.full((128, 3, 1, 1), np.nan)),
}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("picture", r"\(a face gives \(1, 3, 112, 112\) instead of \(1, 128\)\)"),
        ("channels", r"\(.+\)"),
        ("zeros", r"\(a face gives zeros, or what is no number\)"),
        ("nan", r"\(a face gives zeros, or what is no number\)"),
    ],
)
def test_another_network_is_not_taken_for_sface(tmp_path, name, reason):
    """OpenCV reads each of them, and would compare what comes out."""
    pytest.importorskip("cv2")
    (tmp_path / "other.onnx").write_bytes(OTHERS[name])
    with pytest.raises(WeightsError, match=f"other.onnx is not SFace, or damaged {reason}; give"):
        SFace(tmp_path / "other.onnx")


def test_what_gives_vectors_of_faces_is_used(tmp_path):
    pytest.importorskip("cv2")
    weights = np.random.default_rng(0).normal(size=(128, 3, 1, 1))
    (tmp_path / "face.onnx").write_bytes(onnx(*VECTOR, w=weights))
    faces = np.full((2, 112, 112, 3), (200, 100, 0), np.uint8)
    vectors = SFace(tmp_path / "face.onnx").embed(faces)
    assert vectors.shape == (2, 128)
    assert vectors[0] == pytest.approx(weights[..., 0, 0] @ (200, 100, 0), rel=1e-2)
