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


def test_a_program_of_something_else_is_explained(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "linear.pt")
    known = known_file(tmp_path / "linear.pt", "").sha256
    with pytest.raises(WeightsError, match="not the I3D of FVD"):
        I3DFeatures(tmp_path / "linear.pt", sha256=known).features(
            np.zeros((16, 8, 8, 3), np.uint8)
        )


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
