"""Face Crop and Paste Back, run in this process on pictures and on small videos."""

import sys
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from faces import face, poses, track_of
from support import ROOT

PACK = str(ROOT).replace(".", "_x_")
WIDTH, HEIGHT, FPS = 160, 120, 10
BOX = {"x": 60, "y": 30, "width": 40, "height": 50}
FILE = {"filename_prefix": "clip", "save_output": True, "crf": 1}
PASTE = {"fps": 0.0, "feather": 0.12, "colour_match": 1.0}


def module(name: str):
    return sys.modules[f"{PACK}.{name}"]


@pytest.fixture
def output(pack, tmp_path, monkeypatch):
    import folder_paths

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    return tmp_path


def photo(frames=1, channels=3):
    return torch.rand(frames, HEIGHT, WIDTH, channels, generator=torch.Generator().manual_seed(0))


def gradient(level):
    plane = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) / 3 + level
    return np.stack([plane, plane, 255 - plane], axis=-1).clip(0, 255).astype(np.uint8)


def write(path, frames, sound=False):
    from echomimic.media.sound import Audio
    from echomimic.media.video import write_video

    soundtrack = Audio(torch.rand(1, 8000) / 10, 8000) if sound else None
    height, width = frames[0].shape[:2]
    write_video(
        path, frames, fps=FPS, num_frames=len(frames), size=(width, height), soundtrack=soundtrack,
        crf=1,
    )  # fmt: skip
    return path


def video(path, frames, **options):
    from comfy_api.latest import InputImpl

    return InputImpl.VideoFromFile(str(write(path, frames, **options)))


def decoded(video):
    with av.open(video.get_stream_source()) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def has_sound(video):
    with av.open(video.get_stream_source()) as container:
        return bool(container.streams.audio)


def crop(pack, image, **changes):
    choices = {"width": 64, "height": 64, "crop_ratio": 0.5, "feather": 0.12, "face_box": BOX}
    return pack["EchoMimicFaceCrop"].execute(image, **(choices | changes)).args


def paste(pack, face, original, crop_info, **changes):
    choices = PASTE | FILE | changes
    return pack["EchoMimicPasteBack"].execute(face, original, crop_info, **choices)


def test_every_input_says_which_types_it_takes(pack):
    inputs = {item.id: item for item in pack["EchoMimicPasteBack"].GET_SCHEMA().inputs}

    assert inputs["face"].get_io_type() == "LATENT,IMAGE,VIDEO"
    assert inputs["original"].get_io_type() == "IMAGE,VIDEO"
    assert inputs["crop"].get_io_type() == "ECHOMIMIC_CROP,ECHOMIMIC_PORTRAIT"
    assert all(item.tooltip for item in inputs.values())


def test_a_crop_of_a_picture(pack):
    image, mask, info = crop(pack, photo())

    assert image.shape == (1, 64, 64, 3)
    assert image.dtype == torch.float32
    assert mask.shape == (1, 64, 64)
    assert mask[0, 32, 32] == 1
    assert max(mask[0, 0].max(), mask[0, :, -1].max()) < 0.01
    assert info.crop.source_size == (WIDTH, HEIGHT)
    assert info.face_box == (60, 30, 100, 80)


def test_one_crop_serves_all_frames_of_a_video(pack, tmp_path):
    frames = [gradient(level) for level in (0, 20, 40)]

    image, mask, info = crop(pack, video(tmp_path / "in.mp4", frames))

    batch, _, same = crop(pack, torch.from_numpy(np.stack(frames)) / 255)
    assert image.shape == (3, 64, 64, 3)
    assert mask.shape == (1, 64, 64)
    assert info == same
    assert (image - batch).abs().mean() < 2 / 255


def test_landmarks_of_a_video_give_a_crop_that_holds_the_face_in_all_frames(pack):
    points = np.full((2, 478, 3), 0.5)
    points[0, :100, :2], points[1, :100, :2] = 0.3, 0.7
    track = module("echomimic.landmarks.track").LandmarkTrack(points, (WIDTH, HEIGHT), 10.0)

    _, _, info = crop(pack, photo(2), face_box=None, landmarks=track)

    x0, y0, x1, y1 = info.face_box
    assert x0 < 0.3 * WIDTH < 0.7 * WIDTH < x1
    assert y0 < 0.3 * HEIGHT < 0.7 * HEIGHT < y1


def test_a_painted_mask_tells_where_the_face_is(pack):
    mask = torch.zeros(1, HEIGHT, WIDTH)
    mask[:, 30:80, 60:100] = 1

    assert crop(pack, photo(), face_box=None, mask=mask)[2].face_box == (60, 30, 100, 80)


def test_a_face_is_looked_for_in_a_frame_of_every_second(pack, monkeypatch):
    seen = []

    def find(picture, _landmarker):
        seen.append(int(picture[0, 0, 0]))
        return {0: (50, 30, 90, 80), 24: (70, 40, 110, 90)}.get(seen[-1])

    monkeypatch.setattr(module("nodes.face_crop"), "find_face_box", find)
    frames = torch.arange(60).view(-1, 1, 1, 1).expand(-1, HEIGHT, WIDTH, 3) / 255

    _, _, info = crop(pack, frames, face_box=None)

    assert seen == [0, 24, 48]
    assert info.face_box == (50, 30, 110, 90)


def test_an_unchanged_crop_of_a_picture_gives_a_video_of_it(pack, output):
    original = torch.from_numpy(gradient(0))[None] / 255
    image, _, info = crop(pack, original)

    result = paste(pack, image.repeat(3, 1, 1, 1), original, info, fps=12.0)

    (video,) = result.args
    assert (output / "clip_00001_.mp4").is_file()
    assert result.ui.as_dict()["images"][0]["filename"] == "clip_00001_.mp4"
    assert video.get_dimensions() == (WIDTH, HEIGHT)
    assert video.get_duration() == pytest.approx(3 / 12)
    assert np.abs(decoded(video)[2].astype(int) - gradient(0)).mean() < 2


def test_the_portrait_of_the_audio_mode_tells_where_to_paste_as_well(pack, output):
    portrait, image, *_ = (
        pack["EchoMimicPortrait"]
        .execute(photo(), 64, 64, crop_ratio=0.5, mask_ratio=0.1, parity=False, face_box=BOX)
        .args
    )

    (video,) = paste(pack, image, photo(), portrait, fps=10.0).args

    assert video.get_dimensions() == (WIDTH, HEIGHT)


def test_the_portrait_of_a_video_is_its_first_frame(pack, tmp_path):
    frames = [gradient(level) for level in (0, 60)]
    choices = {"width": 64, "height": 64, "crop_ratio": 0.5, "mask_ratio": 0.1, "parity": False}
    sources = (video(tmp_path / "in.mp4", frames), torch.from_numpy(frames[0])[None] / 255)

    made = [pack["EchoMimicPortrait"].execute(s, **choices, face_box=BOX).args for s in sources]

    assert (made[0][1] - made[1][1]).abs().mean() < 2 / 255
    assert made[0][0].crop == made[1][0].crop


def test_the_mask_follows_landmarks_in_time_whatever_their_rate(pack, output):
    _, _, info = crop(pack, photo())
    places = np.linspace((-9, 0, -30), (9, 0, -30), 10)
    fast = track_of(face(), poses((0, 0, 0), places), fps=2 * FPS, size=(64, 64))
    slow = track_of(face(), poses((0, 0, 0), places[::2]), fps=FPS, size=(64, 64))
    still = track_of(face(), poses((0, 0, 0), places[:1]), fps=FPS, size=(64, 64))

    black, choices = torch.zeros(5, 64, 64, 3), {"fps": FPS, "colour_match": 0.0}
    pasted = [
        decoded(paste(pack, black, photo(), info, landmarks=track, **choices)[0])
        for track in (fast, slow, still)
    ]

    np.testing.assert_array_equal(pasted[0], pasted[1])
    assert np.abs(np.subtract(pasted[0][4], pasted[2][4], dtype=int)).max() > 20


def test_a_latent_is_decoded_on_the_way(pack, models, output):
    latent = {"samples": torch.zeros(5, 4, 8, 8)}
    vae = pack["EchoMimicModelLoader"].execute(model="denoising_unet.pth", dtype="fp32").args[3]
    _, _, info = crop(pack, photo())

    with torch.inference_mode():
        (video,) = paste(pack, latent, photo(), info, fps=10.0, vae=vae).args

    assert len(decoded(video)) == 5


def test_a_face_video_in_a_longer_video_brings_its_rate_and_sound(pack, output, tmp_path):
    original = video(tmp_path / "in.mp4", [gradient(level) for level in range(8)])
    _, _, info = crop(pack, original)
    face = video(tmp_path / "face.mp4", [np.full((64, 64, 3), 90, np.uint8)] * 5, sound=True)

    (result,) = paste(pack, face, original, info).args

    assert result.get_frame_rate() == FPS
    assert len(decoded(result)) == 5
    assert has_sound(result)
    assert not has_sound(paste(pack, crop(pack, photo())[0], original, info).args[0])


@pytest.mark.parametrize(("lender", "heard"), [("loud", True), ("mute", False), ("part", True)])
def test_a_video_lends_its_sound(pack, models, output, tmp_path, lender, heard):
    source = video(tmp_path / "lender.mp4", [gradient(0)] * 5, sound=lender != "mute")
    source = source.as_trimmed(0.1, 0.3) if lender == "part" else source
    image, _, info = crop(pack, photo())
    vae = pack["EchoMimicModelLoader"].execute(model="denoising_unet.pth", dtype="fp32").args[3]
    latent = {"samples": torch.zeros(2, 4, 8, 8)}
    decode = pack["EchoMimicDecodeVideo"].execute

    with torch.inference_mode():
        (plain,) = decode(latent, vae, fps=10.0, parity=False, audio=source, **FILE).args
    (pasted,) = paste(pack, image, photo(), info, fps=10.0, audio=source).args

    assert has_sound(plain) == has_sound(pasted) == heard


def test_sound_of_a_file_is_taken_without_reading_its_frames(pack, tmp_path, monkeypatch):
    source = video(tmp_path / "in.mp4", [gradient(0)] * 5, sound=True)
    monkeypatch.setattr(type(source), "get_components", None)  # which holds all frames

    assert module("nodes.video_file").sound_of(source) == tmp_path / "in.mp4"


def test_videos_of_other_rates_are_brought_to_the_chosen_one(pack, output, tmp_path):
    original = video(tmp_path / "in.mp4", [gradient(20 * level) for level in range(6)])
    face, _, info = crop(pack, original)

    (result,) = paste(pack, face, original, info, fps=20.0).args

    frames = decoded(result)
    assert len(frames) == 6  # of the face, an IMAGE, every frame counts
    assert np.abs(frames[5][:5].astype(int) - gradient(40)[:5]).mean() < 3


def test_trimmed_videos_and_those_in_memory_give_the_frames_they_stand_for(pack, tmp_path):
    from comfy_api.latest import InputImpl, Types

    frames = [gradient(20 * level) for level in range(10)]
    whole = video(tmp_path / "in.mp4", frames)
    trimmed = whole.as_trimmed(0.5, 0.3)
    images = torch.from_numpy(np.stack(frames)) / 255
    memory = InputImpl.VideoFromComponents(
        Types.VideoComponents(images=images, frame_rate=Fraction(FPS))
    )
    read = module("nodes.video_file").video_frames

    assert len(list(read(whole))) == 10
    assert len(list(read(trimmed))) in (3, 4)  # ComfyUI decides whether the last one counts
    assert np.abs(next(read(trimmed)).astype(int) - frames[5]).mean() < 2
    np.testing.assert_array_equal(list(read(memory)), frames)
    np.testing.assert_array_equal(list(read(memory, 5.0)), frames[::2])


def test_transparency_is_left_away(pack, output):
    image, _, info = crop(pack, photo(channels=4))

    (video,) = paste(pack, image, photo(channels=4), info, fps=10.0).args

    assert image.shape[-1] == 3
    assert video.get_dimensions() == (WIDTH, HEIGHT)


def test_what_cannot_work_is_said_in_one_sentence(pack, output):
    errors = module("echomimic.errors")
    image, _, info = crop(pack, photo())
    latent = {"samples": torch.zeros(5, 4, 8, 8)}

    with pytest.raises(errors.OptionsError, match="set fps"):
        paste(pack, image, photo(), info)
    with pytest.raises(errors.OptionsError, match="connect the vae"):
        paste(pack, latent, photo(), info, fps=10.0)
    with pytest.raises(errors.PortraitError, match="the crop was taken from 160x120"):
        paste(pack, image, photo()[:, :100], info, fps=10.0)
    with pytest.raises(errors.MediaError, match="holds no picture"):
        crop(pack, photo()[:0])
    assert list(output.iterdir()) == []


def test_cancelling_leaves_no_file(pack, output):
    import comfy.model_management as management

    image, _, info = crop(pack, photo())
    management.interrupt_current_processing(True)

    with pytest.raises(management.InterruptProcessingException):
        paste(pack, image, photo(), info, fps=10.0)

    assert [path for path in output.rglob("*") if path.is_file()] == []
