"""Compare Clips as a node: a puppet whose truth is known against changed copies of it."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file


@pytest.fixture(scope="module")
def puppet(pack):
    """Portrait, box, audio, landmarks, frames, fps, length of a second and a half of talk."""
    return pack["EchoMimicPuppet"].execute(seed=11, motion="lively", length=36, size=64).args


def run(pack, frames, reference, **more):
    given = {"fps": 0.0, "width": 640, "height": 480} | more
    return pack["EchoMimicCompare"].execute(frames, reference, **given)


def test_a_clip_equals_itself_and_a_darker_copy_does_not(pack, puppet):
    plot, text, ssim, psnr, lpips, error = run(pack, puppet[4], puppet[4]).args
    assert plot.shape == (1, 480, 640, 3)
    assert (ssim, psnr) == (pytest.approx(1), 100)
    assert (lpips, error) == (-1, -1)
    assert "36 frames of 64x64 are compared; 36 are equal" in text
    _, _, darker, noise, *_ = run(pack, puppet[4] * 0.8, puppet[4]).args
    assert darker < 0.99 and noise < 30


def test_landmarks_of_both_add_the_faces(pack, puppet):
    given = {"landmarks": puppet[3], "reference_landmarks": puppet[3]}
    _, text, *_, error = run(pack, puppet[4], puppet[4], **given).args
    assert error == 0
    assert "at 25 fps" in text.splitlines()[0]
    assert "correlation 1.00, together" in text
    with pytest.raises(ValueError, match="connect both landmarks and reference_landmarks"):
        run(pack, puppet[4], puppet[4], landmarks=puppet[3])


def test_videos_are_read_at_the_clips_rate(pack, puppet):
    from comfy_api.latest import InputImpl, Types

    def video(frames, rate):
        parts = Types.VideoComponents(images=frames, audio=None, frame_rate=rate)
        return InputImpl.VideoFromComponents(parts)

    slow = video(puppet[4][::2], 12)
    _, text, ssim, *_ = run(pack, slow, video(puppet[4], 24)).args
    assert text.startswith("18 frames of 64x64 at 12 fps are compared; 18 are equal")
    assert ssim == pytest.approx(1)
    assert run(pack, slow, video(puppet[4], 24), fps=6.0).args[1].startswith("9 frames of")


def test_other_shapes_and_empty_clips_are_one_sentence(pack, puppet):
    with pytest.raises(Exception, match="another shape; cut the real clip"):
        run(pack, puppet[4], puppet[4][:, :32])
    with pytest.raises(Exception, match="no frame to compare"):
        run(pack, puppet[4][:0], puppet[4])


def test_lpips_is_measured_where_its_files_lie_and_nothing_stands_in(pack, puppet, models):
    folder = models / "echo_mimic/lpips"
    assert f"into {folder}" in run(pack, puppet[4], puppet[4]).args[1]
    folder.mkdir()
    try:
        draw = np.random.default_rng(0)
        shapes = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3),
                  10: (256, 256, 3)}  # fmt: skip
        state = {}
        for head, (number, (outputs, inputs, kernel)) in enumerate(shapes.items()):
            weight = draw.normal(0, 1, (outputs, inputs, kernel, kernel)) / kernel / inputs**0.5
            state[f"features.{number}.weight"] = torch.from_numpy(weight).float()
            state[f"features.{number}.bias"] = torch.zeros(outputs)
            state[f"lin{head}.model.1.weight"] = torch.rand(1, outputs, 1, 1)
        save_file(state, folder / "alex.safetensors")
        equal = run(pack, puppet[4][:3], puppet[4][:3]).args
        darker = run(pack, puppet[4][:3] * 0.8, puppet[4][:3]).args
        assert equal[4] == pytest.approx(0, abs=1e-6) and darker[4] > 0.001
        assert "LPIPS is not computed" not in darker[1]
        del state["features.0.weight"]
        save_file(state, folder / "alex.safetensors")
        with pytest.raises(Exception, match="the backbone AlexNet is missing or not whole"):
            run(pack, puppet[4], puppet[4])
    finally:
        (folder / "alex.safetensors").unlink(missing_ok=True)
        folder.rmdir()


def test_it_shows_the_plot_and_the_words(pack, puppet):
    shown = run(pack, puppet[4], puppet[4]).ui
    assert len(shown["images"]) == 1
    assert "SSIM" in shown["text"][0]
