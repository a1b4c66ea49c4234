"""Every file reader on files that are damaged, cut, or lie: it reads them, or says in a sentence
why it does not."""

import io
import json
import pickle
import struct
import wave
from functools import cache
from itertools import islice

import av
import numpy as np
import pytest
import torch
from fuzzing import EDITS, YAML_TOKENS, cases, damaged, ends_well, reworded, words, written
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save

from echomimic.assets import MINI
from echomimic.landmarks.pose_files import import_landmarks
from echomimic.landmarks.track import LandmarkTrack
from echomimic.landmarks.track_file import load_track, save_track
from echomimic.media.audio import read_speech
from echomimic.media.frames import read_frames, video_info
from echomimic.media.image import read_image
from echomimic.motion.parts import edits_from_json, selection_from_json
from echomimic.motion.place import place_face, points_from_text
from echomimic.train.recipe import RECIPES, read_recipe
from echomimic.weights.files import ModelFiles, find_mini
from echomimic.weights.identify import describe
from echomimic.weights.load import load_audio_encoder, load_landmark_encoder, load_vae
from echomimic.weights.networks import read_audio_encoder, read_landmark_encoder, read_vae
from echomimic.weights.read import read_state, shapes
from echomimic.weights.settings import native, unet_config

PICTURES = ("png", "png16", "palette", "jpeg", "gif", "bmp", "tiff", "webp", "ppm")
SOUNDS = ("wav", "float", "flac", "mp3", "opus", "mp4")
VIDEOS = ("mp4", "mkv", "gif")
ARRAYS = ("npy", "npz", "compressed", "track")
RNG = np.random.default_rng(0)
POINTS = RNG.uniform(0.3, 0.7, (2, 478, 3))
PIXELS = RNG.integers(0, 256, (9, 12, 3), dtype=np.uint8)


# --- pictures, sound, video ---------------------------------------------------------------------


@cache
def picture(kind):
    image, file, options = Image.fromarray(PIXELS), io.BytesIO(), {}
    if kind == "png16":
        image = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257)
    if kind == "palette":
        image, options = image.convert("P"), {"transparency": 3}
    if kind == "jpeg":
        exif = Image.Exif()
        exif[0x0112] = 6  # turned
        options = {"exif": exif}
    if kind == "gif":
        options = {"save_all": True, "append_images": [image.rotate(90)]}
    image.save(file, {"png16": "png", "palette": "png"}.get(kind, kind), **options)
    return file.getvalue()


@cases(300)
@given(st.sampled_from(PICTURES), EDITS)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_pictures(tmp_path, kind, edits):
    path = written(tmp_path / "picture", damaged(picture(kind), edits))
    image = ends_well(read_image, path)
    assert image is None or (image.dtype == np.uint8 and image.shape[2] == 3)


@cache
def sound(kind):
    file = io.BytesIO()
    samples = (RNG.standard_normal(2000) * 3000).astype("<i2")
    if kind == "wav":
        with wave.open(file, "wb") as out:
            out.setparams((1, 2, 8000, 0, "NONE", ""))
            out.writeframes(samples.tobytes())
        return file.getvalue()
    container = {"float": "wav", "opus": "ogg"}.get(kind, kind)
    codec = {"float": "pcm_f32le", "mp3": "libmp3lame", "opus": "libopus", "mp4": "aac"}
    with av.open(file, "w", container) as out:
        stream = out.add_stream(codec.get(kind, kind), rate=16_000)
        frame = av.AudioFrame.from_ndarray(samples[None].astype("<i2"), "s16", "mono")
        frame.sample_rate = 16_000
        resampler = av.AudioResampler(stream.format, stream.layout, stream.rate)
        for part in (*resampler.resample(frame), None):
            out.mux(stream.encode(part))
    return file.getvalue()


@cases(250)
@given(st.sampled_from(SOUNDS), EDITS)
def test_sounds(tmp_path, kind, edits):
    path = written(tmp_path / "sound", damaged(sound(kind), edits))
    speech = ends_well(read_speech, path)
    assert speech is None or (speech.ndim == 1 and speech.isfinite().all())


@cache
def video(kind):
    frames = [Image.fromarray(PIXELS).resize((16, 16)).rotate(90 * i) for i in range(4)]
    file = io.BytesIO()
    if kind == "gif":
        frames[0].save(file, "gif", save_all=True, append_images=frames[1:], duration=100)
        return file.getvalue()
    with av.open(file, "w", {"mkv": "matroska"}.get(kind, kind)) as out:
        stream = out.add_stream("libx264", rate=10)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        for frame in (*map(av.VideoFrame.from_image, frames), None):
            out.mux(stream.encode(frame))
    return file.getvalue()


@cases(150)
@given(st.sampled_from(VIDEOS), EDITS)
def test_videos(tmp_path, kind, edits):
    path = written(tmp_path / "video", damaged(video(kind), edits))
    for frame in ends_well(lambda: list(islice(read_frames(path), 6))) or ():
        assert frame.dtype == np.uint8 and frame.ndim == 3
    ends_well(video_info, path)


def test_sound_with_a_title_in_an_old_encoding_is_read(tmp_path):
    title = b"INFOINAM" + struct.pack("<I", 8) + "Fr\xfchling".encode("cp1252")
    content = sound("wav") + b"LIST" + struct.pack("<I", len(title)) + title
    assert len(read_speech(written(tmp_path / "sound.wav", content))) > 3000


# --- landmarks ----------------------------------------------------------------------------------


@cache
def arrays(kind):
    file = io.BytesIO()
    if kind == "npy":
        np.save(file, POINTS.astype(np.float32))
    elif kind == "npz":
        np.savez(file, landmarks=POINTS.astype(">f4")[:1], other=np.arange(3))
    else:
        np.savez_compressed(file, points=np.asfortranarray(POINTS))
    return file.getvalue()


@pytest.fixture(scope="module")
def track_bytes(tmp_path_factory):
    path = tmp_path_factory.mktemp("track") / "a.npz"
    save_track(LandmarkTrack(POINTS, (64, 48), 25.0), path)
    return path.read_bytes()


@cases(250)
@given(st.sampled_from(ARRAYS), EDITS)
def test_landmark_arrays(tmp_path, track_bytes, kind, edits):
    content = track_bytes if kind == "track" else arrays(kind)
    name = "a.npy" if kind == "npy" else "a.npz"
    path = written(tmp_path / name, damaged(content, edits))
    track = ends_well(import_landmarks, path)
    assert track is None or np.isfinite(track.points).all()


WRONG = {  # by what they are
    "text": np.array(["a", "\ud7ff"]), "empty": np.zeros((0, 478, 3)), "flat": np.zeros(3),
    "complex": np.zeros((1, 478, 3), complex), "half": np.ones((1, 478, 2), np.float16),
    "long": np.full((1, 478, 3), np.finfo(np.longdouble).max), "bool": np.ones((1, 478, 3), bool),
    "nan": np.full((1, 478, 3), np.nan), "huge": np.full((2, 468, 3), 1e308),
    "integers": np.full((1, 478, 3), 2**62), "few": np.ones((1, 68, 2)), "zero": np.zeros(()),
    "dates": np.zeros((1, 478, 3), "M8[s]"), "good": POINTS, "size": np.array([64, 48]),
    "negative": np.array([-1, 2**62]), "fps": np.array(25.0), "version": np.array(1),
    "parts": np.array(["mouth"]), "valid": np.ones(2, bool), "name": np.array("a"),
    "bytes": np.array(b"x"), "meshes": np.full((2, 478, 3), np.inf, np.float32),
}  # fmt: skip
KEYS = ("points", "size", "fps", "valid", "parts", "source", "mesh", "transforms", "blendshapes",
        "neutral", "landmarks", "echomimic_landmarks")  # fmt: skip
GOOD = {"points": "good", "size": "size", "fps": "fps", "valid": "valid", "parts": "parts",
        "source": "name", "echomimic_landmarks": "version"}  # fmt: skip


@cases(150)
@given(st.booleans(), st.dictionaries(st.sampled_from(KEYS), st.sampled_from(sorted(WRONG))))
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid:RuntimeWarning")
def test_arrays_of_other_kinds(tmp_path, otherwise_good, chosen):
    path, kinds = tmp_path / "a.npz", (GOOD if otherwise_good else {}) | chosen
    np.savez(path, **{key: WRONG[kind] for key, kind in kinds.items()})
    for read in (import_landmarks, load_track):
        track = ends_well(read, path)
        assert track is None or np.isfinite(track.points).all()


@cases(250)
@given(st.integers(0, 5), st.booleans(), EDITS)
def test_landmark_pickles(tmp_path, protocol, alone, edits):
    frame = POINTS[0].astype(np.float32)[:, :2]
    content = damaged(pickle.dumps(frame, protocol), edits)
    (tmp_path / "poses").mkdir(exist_ok=True)
    written(tmp_path / "poses/0.pkl", pickle.dumps(frame, protocol))
    path = written(tmp_path / "poses/1.pkl", content)
    track = ends_well(import_landmarks, path if alone else path.parent)
    assert track is None or np.isfinite(track.points).all()


# --- weights ------------------------------------------------------------------------------------

STATE = {
    "conv_in.weight": torch.ones(4, 3, 3, 3), "blocks.0.weight": torch.ones(2, 4).half(),
    "encoder.conv1.weight": torch.ones(8, 4, 3), "conv_out.bias": torch.ones(5).bfloat16(),
}  # fmt: skip
NOTE = {"echomimic": json.dumps({"format": 1, "component": "landmark_encoder", "variant": None,
        "config": {"channels": [4, 8], "out_channels": 8}})}  # fmt: skip
NAMES = (
    "conv_in.weight", "encoder.conv_in.weight", "time_embedding.linear_1.weight", "blocks.0.weight",
    "encoder.conv1.weight", "encoder.embed_positions.weight", "encoder.blocks.0.attn.query.weight",
    "decoder.up.x.weight", "decoder.up.0.block.0.weight", "decoder.mid.attn_1.q.weight", "loss.x",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight", "state_dict", "dims", "",
    1, None, ("a",), "x.motion_modules.y",
)  # fmt: skip
VALUES = {
    "scalar": torch.tensor(1.0), "flat": torch.ones(3), "matrix": torch.ones(4, 4),
    "kernel": torch.ones(4, 4, 1, 1), "hollow": torch.ones(4, 4, 0, 0), "conv": torch.ones(8, 3, 3),
    "sparse": torch.eye(3).to_sparse(), "complex": torch.ones(2, dtype=torch.complex64),
    "meta": torch.ones(2, device="meta"), "nan": torch.full((4, 3, 3, 3), torch.nan), "none": None,
    "text": "x", "number": 7, "nested": {"conv_in.weight": torch.ones(4)}, "empty": {},
    "dims": {"n_mels": 8, "n_audio_state": 8, "n_audio_head": 2, "n_audio_layer": 1,
             "n_audio_ctx": 4},
    "odd_dims": {"n_mels": torch.ones(2), "n_audio_state": "x"}, "list": [torch.ones(2)],
}  # fmt: skip


def read_as_all_kinds(path):
    """What loading asks of a file, whatever it turns out to be."""
    ends_well(lambda: describe(shapes(read_state(path)[0])))
    ends_well(read_landmark_encoder, model_files(path))
    ends_well(read_audio_encoder, path)
    ends_well(native, path)


def model_files(path):
    return ModelFiles("joint", path, None, path, path, path, path)


@cache
def checkpoint(kind):
    if kind == "safetensors":
        return save(STATE, NOTE)
    file = io.BytesIO()
    torch.save(STATE, file, _use_new_zipfile_serialization=kind == "zip")
    return file.getvalue()


@cases(250)
@given(st.sampled_from(("safetensors", "zip", "legacy")), EDITS)
def test_weights(tmp_path, kind, edits):
    suffix = ".safetensors" if kind == "safetensors" else ".pth"
    read_as_all_kinds(written(tmp_path / f"x{suffix}", damaged(checkpoint(kind), edits)))


@cases(100)
@given(words((*(f'"{dtype}"'.encode() for dtype in ("F8_E4M3", "F4", "U64", "BOOL", "C64", "I8")),
              b"[1, 0]", b"[9223372036854775807, 2]", b"-1", b'"x"', b"{}", b"null", b"[[0]]",
              b'"\\ud800"', b'"{}"', b'"[]"', b'"null"')))  # fmt: skip
def test_headers_of_weights(tmp_path, edits):
    content = checkpoint("safetensors")
    (length,) = struct.unpack("<Q", content[:8])
    header = reworded(content[8 : 8 + length], edits)
    content = struct.pack("<Q", len(header)) + header + content[8 + length :]
    read_as_all_kinds(written(tmp_path / "x.safetensors", content))


@cases(100)
@given(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(sorted(VALUES)), max_size=4))
@pytest.mark.filterwarnings("ignore:Sparse")
def test_weights_of_other_kinds(tmp_path, chosen):
    path = tmp_path / "x.pth"
    torch.save({name: VALUES[kind] for name, kind in chosen.items()}, path)
    read_as_all_kinds(path)


@cases(15)
@given(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(sorted(VALUES)), max_size=4))
def test_what_is_no_vae(tmp_path, chosen):
    path = tmp_path / "x.pth"
    torch.save({name: VALUES[kind] for name, kind in chosen.items()}, path)
    ends_well(read_vae, path)


SETTINGS = json.dumps({
    "format": 1, "random": True,
    "unet": {"channels": [8, 16], "attention": [True, False], "layers_per_level": 1,
             "num_heads": 2, "norm_groups": 2, "audio_dim": 8, "motion": {"num_heads": 2}},
    "landmark_encoder": {"channels": [4, 8], "out_channels": 8, "drawing": "area"},
    "audio_encoder": {"num_mels": 8, "width": 8, "num_heads": 2, "num_layers": 1, "max_states": 4},
    "vae": {"block_out_channels": [32, 32], "layers_per_block": 1, "norm_num_groups": 2,
            "down_block_types": ["DownEncoderBlock2D"] * 2,
            "up_block_types": ["UpDecoderBlock2D"] * 2},
}).encode()  # fmt: skip


@cases(120)
@given(words())
def test_settings_beside_weights(tmp_path, edits):
    written(tmp_path / "config.json", reworded(SETTINGS, edits))
    path = written(tmp_path / "x.pth", checkpoint("zip"))
    ends_well(unet_config, path, {}, "denoising_unet")
    ends_well(lambda: load_landmark_encoder(model_files(path), device="meta"))
    ends_well(lambda: load_audio_encoder(path, device="meta"))


@cases(30)
@given(words())
def test_settings_of_a_vae(tmp_path, edits):
    written(tmp_path / "config.json", reworded(SETTINGS, edits))
    ends_well(lambda: load_vae(written(tmp_path / "x.pth", checkpoint("zip")), device="meta"))


# --- text ---------------------------------------------------------------------------------------


@cases(150)
@given(words(YAML_TOKENS), EDITS)
def test_recipes(tmp_path, edits, damage):
    text = reworded((RECIPES / "full.yaml").read_bytes(), edits)  # short: YAML is read slowly
    ends_well(read_recipe, written(tmp_path / "r.yaml", damaged(text, damage[2:])))


PART_TEXT = (
    b'{"on": ["mouth"], "gains": {"mouth": 1.5}, "head_gain": 0.5, "edits": [{"part": "mouth",'
    b' "time": 0.5, "offset": [0, 0.02], "scale": 1.1, "rotation": 5}]}'
)
FIVE_POINTS = b"0.35,0.42 0.65,0.42 0.5,0.58 0.38,0.72 0.62,0.72"


@cases(120)
@given(words(), st.text(max_size=20))
def test_part_selections(edits, text):
    written_by_hand = reworded(PART_TEXT, edits).decode("latin-1")
    ends_well(selection_from_json, written_by_hand)
    ends_well(edits_from_json, written_by_hand.partition('"edits": ')[2][:-1])
    ends_well(edits_from_json, text)


@cases(80)
@given(words((b"nan", b"-inf", b"1e308", b"0.35", b"0", b"x", b"", b"1e-300", b"2")))
def test_five_points(edits):
    from face_tracks import average_face

    points = ends_well(points_from_text, reworded(FIVE_POINTS, edits).decode())
    if points is not None:
        ends_well(place_face, points, (64, 48), average_face())


def test_what_is_fuzzed_is_read_when_it_is_whole(tmp_path, track_bytes):
    """Else the tests above would prove little."""
    for kind in PICTURES:
        assert read_image(written(tmp_path / "p", picture(kind))).shape[2] == 3
    for kind in SOUNDS:
        assert len(read_speech(written(tmp_path / "s", sound(kind)))) > 1000
    for kind in VIDEOS:
        assert len(list(read_frames(written(tmp_path / "v", video(kind))))) == 4
    for kind in ARRAYS:
        content = track_bytes if kind == "track" else arrays(kind)
        suffix = ".npy" if kind == "npy" else ".npz"
        assert import_landmarks(written(tmp_path / f"a{suffix}", content)).num_frames
    assert find_mini().denoising_unet.is_relative_to(MINI)
    assert selection_from_json(PART_TEXT.decode()).head_gain == 0.5
    written(tmp_path / "config.json", SETTINGS)
    assert unet_config(tmp_path / "x.pth", {}, "denoising_unet").channels == (8, 16)
