"""The nodes themselves, loaded by ComfyUI's own loader into this process."""

import sys

import pytest
import torch
from support import ROOT

PACK = str(ROOT).replace(".", "_x_")
SIZE, FPS, FRAMES = 128, 24.0, 14  # below 128 pixels, tiny random networks are ill-conditioned


def module(name: str):
    """A module of the pack as ComfyUI imported it."""
    return sys.modules[f"{PACK}.{name}"]


@pytest.fixture(scope="module")
def loaded(pack):
    """Outputs of the loaders: model, reference UNet, landmark encoder, VAE, audio encoder."""
    networks = pack["EchoMimicModelLoader"].execute(model="denoising_unet.pth", dtype="fp32")
    audio = pack["EchoMimicAudioEncoderLoader"].execute("audio_processor/whisper_tiny.pt")
    return [*networks.args, *audio.args]


@pytest.fixture(scope="module")
def inputs(pack, loaded):
    """A portrait and a voice as the nodes prepare them."""
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(1, 96, 96, 3, generator=generator)
    sound = torch.randn(1, 2, 9000, generator=generator) / 10
    box = {"x": 20, "y": 20, "width": 50, "height": 60}
    portrait = pack["EchoMimicPortrait"].execute(
        image, SIZE, SIZE, crop_ratio=0.5, mask_ratio=0.1, parity=False, face_box=box
    )
    voice = pack["EchoMimicAudioEncode"].execute(
        loaded[4], {"waveform": sound, "sample_rate": 16_000}, FPS, 0, parity=False
    )
    return portrait.args, voice.args


@torch.inference_mode()
def sampled(pack, loaded, inputs, **changes):
    """The sampler node's latent."""
    choices = {
        "seed": 7, "steps": 2, "cfg": 2.5, "scheduler": "ddim", "windows": "open",
        "context_frames": 12, "context_overlap": 3, "overlap_weights": "flat",
        "window_batch": 0, "parity": False,
    } | changes  # fmt: skip
    (portrait, *_), (track, *_) = inputs
    node = pack["EchoMimicSampler"]
    return node.execute(*loaded[:4], portrait, track, **choices)[0]["samples"]


def test_every_widget_has_a_tooltip(pack):
    for node in pack.values():
        for item in node.GET_SCHEMA().inputs:
            if hasattr(item, "default"):
                assert item.tooltip, f"{node.__name__}.{item.id}"


def test_only_denoising_unets_of_this_version_are_offered(pack, models):
    foreign = models / "echo_mimic/v2/denoising_unet.pth"
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_bytes(b"")
    try:
        names = module("nodes.files").denoising_unets()
    finally:
        foreign.unlink()
        foreign.parent.rmdir()

    assert names == [
        "mini (built in)",
        "denoising_unet.pth",
        "denoising_unet_acc.pth",
        "denoising_unet_pose_acc.pth",
    ]


def test_only_the_built_in_model_is_offered_while_nothing_is_installed(pack, tmp_path, monkeypatch):
    """Then ComfyUI says of a workflow that names another file that it is missing."""
    import folder_paths

    files = module("nodes.files")
    nowhere = ([str(tmp_path / "none")], {".pth", ".pt"})
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "echo_mimic", nowhere)

    assert files.denoising_unets() == files.audio_encoders() == ["mini (built in)"]


def test_a_file_that_went_since_the_last_look_is_no_error(pack, monkeypatch):
    import folder_paths

    listed = ["denoising_unet.pth", "gone/denoising_unet.pth"]
    monkeypatch.setattr(folder_paths, "get_filename_list", lambda _: listed)

    assert module("nodes.files").denoising_unets()[1:] == ["denoising_unet.pth"]


def test_paths_outside_the_models_folder_are_refused(pack):
    errors = module("echomimic.errors")
    for name in ("../../secret.pth", "/etc/passwd", "nothing.pth"):
        with pytest.raises(errors.WeightsError, match="is not in"):
            module("nodes.files").resolve(name)


def test_the_models_folder_of_the_user_is_kept(pack, monkeypatch):
    import folder_paths

    own = (["/somewhere/else"], {".pth"})
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "echo_mimic", own)

    module("nodes.files").register_folder()

    paths, suffixes = folder_paths.folder_names_and_paths["echo_mimic"]
    assert paths is own[0]
    assert suffixes == {".pth", ".model"}  # the second is SyncNet's


def test_length_frames_and_sound_agree(inputs):
    _, (track, audio, length, fps) = inputs
    assert (length, fps) == (FRAMES, FPS)
    assert track.num_frames == FRAMES
    assert audio["waveform"].shape == (1, 2, 9000)


def test_the_model_is_a_stock_model_with_the_names_of_the_checkpoint(loaded):
    import comfy.model_base
    import comfy.model_patcher

    model = loaded[0]
    assert isinstance(model, comfy.model_patcher.ModelPatcher)
    assert isinstance(model.model, comfy.model_base.BaseModel)
    key = "diffusion_model.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight"
    assert key in model.model_state_dict()


@torch.inference_mode()
def test_comfyui_can_call_the_unet_itself(loaded):
    unet = loaded[0].model.diffusion_model
    x = torch.randn(12, 4, 16, 16)  # two chunks of six frames
    options = {"cond_or_uncond": [1, 0]}

    v = unet(x, torch.full((12,), 500.0), transformer_options=options)

    plain = module("echomimic.models.unet").UNet.forward
    torch.testing.assert_close(v, plain(unet, x, 500.0, num_frames=6), rtol=0, atol=1e-5)


@torch.inference_mode()
def test_wrappers_of_other_packs_see_the_call(loaded):
    from comfy.patcher_extension import WrappersMP, add_wrapper

    seen, options = [], {}

    def wrapper(executor, *args, **kwargs):
        seen.append(args[0].shape)
        return executor(*args, **kwargs)

    add_wrapper(WrappersMP.DIFFUSION_MODEL, wrapper, options)
    loaded[0].model.diffusion_model(torch.zeros(2, 4, 8, 8), 5.0, transformer_options=options)

    assert seen == [(2, 4, 8, 8)]


def test_the_sampler_gives_what_the_library_gives(pack, loaded, inputs, models):
    from echomimic.config import SamplingOptions
    from echomimic.pipeline import EchoMimic

    (portrait, *_), (track, *_) = inputs
    library = EchoMimic.from_folder(models / "echo_mimic", "audio", device="cpu")
    options = SamplingOptions(num_inference_steps=2, guidance_scale=2.5, seed=7)
    conditions = library.encode_conditions(portrait, track)

    expected = library.sample(conditions, options)

    latent = sampled(pack, loaded, inputs)
    assert latent.shape == (FRAMES, 4, SIZE // 8, SIZE // 8)
    torch.testing.assert_close(latent * 0.18215, expected, rtol=0, atol=5e-4)


def test_seed_0_is_a_seed_of_its_own_but_steps_0_and_overlap_minus_1_the_variants(pack, loaded):
    options = module("nodes.sample").sampling_options
    row = module("nodes.model").variant_of(loaded[0])

    chosen = options(row, steps=0, cfg=0.0, context_overlap=-1, window_batch=0, seed=0)
    none = options(row, steps=0, cfg=0.0, context_overlap=0, window_batch=0, seed=0)

    assert (chosen.num_inference_steps, chosen.guidance_scale) == (30, 2.5)
    assert (chosen.context_overlap, none.context_overlap) == (3, 0)
    assert (chosen.seed, chosen.window_batch) == (0, None)


def test_half_precision_weights_compute_in_what_the_device_can(pack, loaded, inputs):
    half = pack["EchoMimicModelLoader"].execute(model="denoising_unet.pth", dtype="bf16")
    unet = half.args[0].model.diffusion_model

    latent = sampled(pack, [*half.args, loaded[4]], inputs)

    assert unet.dtype == torch.bfloat16
    exact = sampled(pack, loaded, inputs)
    error = (latent - exact).square().mean().sqrt() / exact.std()
    assert 0 < error < 0.15


def test_a_change_of_attention_weights_reaches_the_sampler(pack, loaded, inputs):
    """What a LoRA does: a patch on a clone acts, and the original is as before."""
    key = "diffusion_model.mid_block.attentions.0.transformer_blocks.0.attn1.to_v.weight"
    before = sampled(pack, loaded, inputs)
    patched = loaded[0].clone()
    weight = loaded[0].model_state_dict()[key]
    patched.add_patches({key: ("diff", (torch.ones_like(weight),))})

    changed = sampled(pack, [patched, *loaded[1:]], inputs)

    assert (changed - before).abs().max() > 1e-3
    torch.testing.assert_close(sampled(pack, loaded, inputs), before)


def test_models_of_other_families_are_refused(pack, loaded, inputs):
    class Other:
        model = torch.nn.Identity()

    with pytest.raises(module("echomimic.errors").OptionsError, match="not EchoMimic's"):
        sampled(pack, [Other(), *loaded[1:]], inputs)


def test_networks_of_different_variants_are_refused(pack, loaded, inputs, monkeypatch):
    reference_unet = loaded[1]
    monkeypatch.setattr(reference_unet.model, "published_as", "reference_unet_pose")
    with pytest.raises(Exception, match="reference_unet_pose is connected; take all three"):
        sampled(pack, loaded, inputs)


def test_vaes_of_other_families_are_refused(pack):
    class Other:
        latent_channels, latent_dim = 16, 3

    with pytest.raises(module("echomimic.errors").OptionsError, match="of another model family"):
        module("nodes.vae").ComfyVAE(Other())


@torch.inference_mode()
def test_comfyuis_vae_gives_what_diffusers_gives(loaded, models):
    from echomimic.weights.files import find_models
    from echomimic.weights.load import load_vae

    ours = module("nodes.vae").ComfyVAE(loaded[3])
    reference = load_vae(find_models([models / "echo_mimic"], "audio"), dtype=torch.float32)
    images = torch.rand(2, 3, 32, 32) * 2 - 1

    latents = reference.encode(images)

    torch.testing.assert_close(ours.encode(images), latents, rtol=0, atol=1e-4)
    decoded = reference.decode(latents).clamp(-1, 1)
    torch.testing.assert_close(ours.decode(latents), decoded, rtol=0, atol=1e-3)
    assert ours.frame_bytes(512, 512) > 512 * 512 * 3 * 4


def test_a_borrowed_network_leaves_the_device_and_no_other(pack, loaded, monkeypatch):
    import comfy.model_management as management

    freed = []
    reference, other = loaded[1].clone(), loaded[2]
    reference.offload_device = torch.device("meta")  # as if it were not the device it works on
    monkeypatch.setattr(
        management, "free_memory", lambda amount, device, keep=(): freed.append(keep)
    )
    management.load_models_gpu([other])

    with module("nodes.runtime").borrowed(reference):
        held = [item.model for item in management.current_loaded_models]
        freed.clear()

    (kept,) = freed
    assert reference in held
    assert [item.model for item in kept] == [model for model in held if model is not reference]


def test_progress_notices_a_cancel(pack):
    import comfy.model_management as management

    progress = module("nodes.runtime").Progress()
    progress(1, 10)
    management.interrupt_current_processing(True)

    with pytest.raises(management.InterruptProcessingException):
        progress(2, 10)


@pytest.fixture
def output(pack, tmp_path, monkeypatch):
    import folder_paths

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    return tmp_path


@torch.inference_mode()
def decoded(pack, loaded, **changes):
    choices = {"fps": 12.5, "filename_prefix": "clip/one", "save_output": True, "crf": 18}
    latent = {"samples": torch.randn(5, 4, 8, 8)}
    node = pack["EchoMimicDecodeVideo"]
    return node.execute(latent, loaded[3], parity=False, **(choices | changes))


def test_a_video_is_named_like_those_of_save_video(pack, loaded, output):
    first, second = decoded(pack, loaded), decoded(pack, loaded)

    assert first.ui.as_dict()["images"][0]["subfolder"] == "clip"
    names = sorted(path.name for path in (output / "clip").iterdir())
    assert names == ["one_00001_.mp4", "one_00002_.mp4"]
    video = second[0]
    assert video.get_dimensions() == (64, 64)
    assert video.get_duration() == pytest.approx(5 / 12.5)


def test_a_prefix_cannot_leave_the_output_folder(pack, loaded, output):
    with pytest.raises(Exception, match="outside the output folder"):
        decoded(pack, loaded, filename_prefix="../elsewhere/one")


def test_cancelling_while_decoding_leaves_no_file(pack, loaded, output):
    import comfy.model_management as management

    management.interrupt_current_processing(True)
    with pytest.raises(management.InterruptProcessingException):
        decoded(pack, loaded)

    assert [path for path in output.rglob("*") if path.is_file()] == []
