"""The clip while it is made: what is sent to the page, by whom it is asked for, and its colours."""

import base64
from io import BytesIO
from urllib.request import urlopen

import interface_files as files
import numpy as np
import pytest
import torch
from comfy_server import MINI_SAMPLER, mini_graph
from PIL import Image
from test_mini_nodes import CHOICES, MINI
from test_nodes_in_process import module

from echomimic.config import LATENT_SCALE

FRAMES, SIZE, FPS = 30, 128, 25.0


@pytest.fixture(scope="module")
def clip(pack):
    """Networks of the built-in model, a puppet's portrait and its voice."""
    networks = pack["EchoMimicModelLoader"].execute(model=MINI, dtype="fp32").args
    puppet = pack["EchoMimicPuppet"].execute(seed=3, motion="lively", length=FRAMES, size=SIZE)
    portrait = pack["EchoMimicPortrait"].execute(
        puppet[0], SIZE, SIZE, crop_ratio=0.5, mask_ratio=0.1, parity=False, face_box=puppet[1]
    )[0]
    (encoder,) = pack["EchoMimicAudioEncoderLoader"].execute(MINI).args
    voice = pack["EchoMimicAudioEncode"].execute(encoder, puppet[2], FPS, 0, parity=False)[0]
    return networks, portrait, voice


@pytest.fixture
def sent(pack, monkeypatch):
    """Messages instead of a page."""
    messages = []
    monkeypatch.setattr(
        module("nodes.preview"), "send", lambda stage, **facts: messages.append((stage, facts))
    )
    return messages


def tiles(facts) -> list[np.ndarray]:
    """The frames in a message."""
    data = base64.b64decode(facts["sheet"].partition("base64,")[2])
    image = np.asarray(Image.open(BytesIO(data)))
    width, height = facts["tile"]
    places = [divmod(number, facts["columns"]) for number in range(len(facts["shown"]))]
    return [image[y * height :, x * width :][:height, :width] for y, x in places]


def previewed(method, pack, clip, monkeypatch):
    """The sampler's latent, with a way of preview chosen for ComfyUI."""
    from comfy.cli_args import LatentPreviewMethod, args

    monkeypatch.setattr(args, "preview_method", LatentPreviewMethod.from_string(method))
    networks, portrait, voice = clip
    with torch.inference_mode():
        choices = CHOICES | {"steps": 3}
        return pack["EchoMimicSampler"].execute(*networks, portrait, voice, **choices)[0]


def test_every_step_shows_the_whole_clip_in_the_colours_of_its_vae(pack, clip, sent, monkeypatch):
    latent = previewed("latent2rgb", pack, clip, monkeypatch)["samples"]
    pictures = [facts for stage, facts in sent if stage == "sampling" and "sheet" in facts]
    assert len(pictures) == 3
    last = pictures[-1]
    assert last["shown"] == list(range(FRAMES))
    assert (last["num_frames"], last["fps"]) == (FRAMES, FPS)
    assert last["seconds_left"] == 0
    assert pictures[0]["seconds_left"] > 0
    ends = latent[[0, -1]]
    decoded = clip[0][3].decode(ends).numpy() * 255
    preview = module("nodes.preview")
    usual = preview._coloured(ends * LATENT_SCALE, preview._usual_colours())
    for seen, truth, wrong in zip((tiles(last)[0], tiles(last)[-1]), decoded, usual, strict=True):
        small = truth.reshape(16, 8, 16, 8, 3).mean(axis=(1, 3))
        assert np.corrcoef(seen.ravel(), small.ravel())[0, 1] > 0.6
        assert np.abs(seen - small).mean() < 0.7 * np.abs(np.asarray(wrong) - small).mean()


def test_without_previews_only_the_time_is_told(pack, clip, sent, monkeypatch):
    previewed("none", pack, clip, monkeypatch)
    assert all("sheet" not in facts for _, facts in sent)


def test_previews_do_not_change_the_clip(pack, clip, sent, monkeypatch):
    shown, unseen = (
        previewed(method, pack, clip, monkeypatch)["samples"] for method in ("latent2rgb", "none")
    )
    assert torch.equal(shown, unseen)


def test_known_latents_are_drawn_as_comfyui_draws_them(pack, monkeypatch):
    """A VAE whose latents have the colours that ComfyUI knows of Stable Diffusion's."""
    preview = module("nodes.preview")
    from comfy.cli_args import LatentPreviewMethod, args

    monkeypatch.setattr(args, "preview_method", LatentPreviewMethod.Latent2RGB)
    colours = preview._usual_colours()

    class Vae:
        def __init__(self, _vae):
            pass

        def encode(self, pictures):
            cells = torch.nn.functional.interpolate(pictures, scale_factor=1 / 8, mode="area")
            inverse = torch.linalg.pinv(colours[:4])  # (3, 4)
            flat = (cells.movedim(1, -1) - colours[4]) @ inverse
            return flat.movedim(-1, 1)

    monkeypatch.setattr(preview, "ComfyVAE", Vae)
    monkeypatch.setattr(preview, "fit_colours", lambda *_: pytest.fail("they are known"))
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(3, 64, 64, generator=generator) * 2 - 1
    made = preview.clip_preview(None, picture, FPS)
    drawn = np.asarray(made.draw(Vae(None).encode(picture[None]))[0])
    cells = torch.nn.functional.interpolate(picture[None], scale_factor=1 / 8, mode="area")[0]
    assert np.abs(drawn - (cells.movedim(0, -1).numpy() + 1) * 127.5).max() < 2


def test_a_network_that_draws_previews_is_asked_for_fewer_frames(pack, monkeypatch):
    """TAESD decodes every frame, which takes its time."""
    preview = module("nodes.preview")
    asked = []

    class Network:
        def decode_latent_to_preview_image(self, _format, latents):
            asked.append(tuple(latents.shape))
            return "JPEG", Image.new("RGB", (512, 256)), 512

    class Vae:
        def __init__(self, _vae):
            pass

        def encode(self, pictures):
            return torch.zeros(len(pictures), 4, 8, 8)

    monkeypatch.setattr(preview.latent_preview, "get_previewer", lambda *_: Network())
    monkeypatch.setattr(preview, "ComfyVAE", Vae)
    monkeypatch.setattr(preview, "explained", lambda *_: 1.0)
    made = preview.clip_preview(None, torch.zeros(3, 64, 64), FPS)
    drawn = made.draw(torch.zeros(500, 4, 8, 8)[preview.evenly(500, made.most)])
    assert len(drawn) == preview.MOST_DECODED
    assert asked == [(1, 4, 8, 8)] * preview.MOST_DECODED
    assert drawn[0].size == (preview.TILE, preview.TILE // 2)


def test_frames_pass_unchanged_while_they_are_decoded(pack, sent, monkeypatch):
    preview = module("nodes.preview")
    monkeypatch.setattr(preview, "EVERY", 0)
    frames = np.random.default_rng(0).integers(0, 255, (10, 16, 24, 3), dtype=np.uint8)
    chunks = [frames[:4], frames[4:8], frames[8:]]
    passed = list(preview.watched(iter(chunks), 10, FPS))
    assert all(one is other for one, other in zip(passed, chunks, strict=True))
    assert [len(facts["shown"]) for _, facts in sent] == [4, 8, 10]
    assert {stage for stage, _ in sent} == {"decoding"}


def test_a_long_clip_is_shown_by_frames_from_all_of_it(pack):
    shown = module("nodes.preview").evenly(5000, 120)
    assert len(shown) == 120
    assert (shown[0], shown[-1]) == (0, 4999)
    assert max(np.diff(shown)) - min(np.diff(shown)) <= 1


@pytest.fixture(scope="module")
def run(server):
    """A small graph of the built-in model, run on a server."""
    return server.run(mini_graph(server.get("/object_info"), length=14, steps=2))


def test_the_page_that_queued_hears_of_the_whole_clip(run):
    assert run.error() is None
    events = [e["data"] for e in run.events if e["type"] == "echomimic.preview"]
    pictures = [data for data in events if data["stage"] == "sampling" and "sheet" in data]
    assert [data["node"] for data in pictures] == [MINI_SAMPLER, MINI_SAMPLER]
    assert {data["prompt_id"] for data in events} == {run.prompt_id}
    assert len(pictures[-1]["shown"]) == 14
    assert run.previews >= 2  # ComfyUI's own, for other programs


@pytest.mark.parametrize("language", files.LANGUAGES)
def test_help_pages_and_their_pictures_are_served(server, language):
    base = f"{server.url}/extensions/echomimic-nodes/docs"
    names = [name for name in server.get("/object_info") if name.startswith("EchoMimic")]
    for name in names:
        assert urlopen(f"{base}/{name}/{language}.md").read().startswith(b"# ")
    for picture in (files.PAGES / "images").glob("*.png"):
        assert urlopen(f"{base}/images/{picture.name}").status == 200


def test_the_page_speaks_chinese(server):
    texts = server.get("/i18n")["zh"]
    sampler = texts["nodeDefs"]["EchoMimicSampler"]
    assert sampler["display_name"] == "EchoMimic 采样器"
    assert texts["nodeCategories"]["landmarks"] == "面部关键点"
