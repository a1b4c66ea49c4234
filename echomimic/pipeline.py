"""Portrait and voice → video; the only place where all parts meet."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .audio.tokens import AudioTrack
from .conditions import (
    Conditions,
    DrawnFace,
    check_driving,
    encode_face,
    encode_reference,
    encode_voice,
    landmarks_of_clip,
)
from .config import Compatibility, SamplingOptions, variant
from .denoiser import Denoiser, check_sampling, sample_clip
from .driving import Driving, Points, box_by_hand, driving_track
from .fingerprint import file_digest
from .landmarks.detect import find_face_box, find_landmarker
from .landmarks.face_box import FaceBox
from .landmarks.paste import paste_back
from .landmarks.portrait import Portrait, check_size, prepare_portrait
from .landmarks.track import LandmarkTrack
from .media.audio import read_speech
from .media.frames import video_info
from .media.image import read_image
from .media.provenance import Provenance, made_by
from .media.video import check_output, single_frames, to_uint8, write_video
from .models.landmark_encoder import LandmarkEncoder
from .models.unet import UNet
from .models.vae import decode_frames
from .motion.retime import fit_track
from .render_folder import RenderFolder
from .sampling.samplers import OnStep
from .segments import (
    Segments,
    decode_segments,
    kept_memory,
    place_of,
    plan_segments,
    render_segments,
    render_settings,
)
from .weights import load
from .weights.files import ModelFiles, find_mini, find_models
from .weights.settings import native

log = logging.getLogger(__name__)

OnProgress = Callable[[str, int, int], None]  # stage, done, total
STAGES = ("voice", "landmarks", "sampling", "decoding")
# Networks whose weights are in the latents by themselves; the audio encoder's are in its states.
WEIGHTS = ("denoising_unet", "motion_module", "reference_unet", "landmark_encoder", "vae")


@dataclass(frozen=True)
class ClipOptions:
    """What clip is made; how it is denoised is `SamplingOptions`."""

    size: tuple[int, int] | None = None  # width, height; None: what the model was trained on
    fps: float | None = None  # None: likewise
    length: int | None = None  # frames; None: as long as the voice
    face_box: FaceBox | None = None  # pixels of the picture; None: found by MediaPipe
    face_points: Points | None = None  # by hand, for a face that is not found: motion.place
    paste_back: bool = False  # into the whole picture, instead of the crop alone


class Networks:
    """The networks of one variant, each loaded when it is used and let go afterwards.

    `keep` holds them in main memory between uses, for programs that make several clips; else
    only one of the large ones exists at a time.
    """

    def __init__(
        self, files: ModelFiles, device: torch.device, dtype: torch.dtype, *, keep: bool = False
    ) -> None:
        self.files, self.device, self.dtype = files, device, dtype
        self._keep = keep
        self._kept: dict[str, Any] = {}

    @contextmanager
    def use(self, name: str) -> Iterator[Any]:
        """A network on the compute device, named as in `ModelFiles`; the VAE as `DiffusersVAE`."""
        # Rounding in the audio encoder would reach every frame, and it is small (33 MB).
        dtype = torch.float32 if name == "audio_encoder" else self.dtype
        network = self._kept.pop(name, None) or load.LOADERS[name](self.files, dtype=dtype)
        module = getattr(network, "model", network)
        module.to(self.device)
        try:
            yield network
        finally:
            if self._keep:
                module.to("cpu")
                self._kept[name] = network


class EchoMimic:
    """One variant of the model on one device."""

    def __init__(
        self,
        files: ModelFiles,
        *,
        landmarker: Path | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        keep_loaded: bool = False,
    ) -> None:
        self.variant = variant(files.variant)
        self.device = torch.device(device or default_device())
        self.dtype = dtype or load.default_dtype(self.device)
        self.landmarker = landmarker
        self.native = native(files.denoising_unet)
        self.networks = Networks(files, self.device, self.dtype, keep=keep_loaded)

    @classmethod
    def from_folder(
        cls, folders: Path | str | Sequence[Path], variant: str = "audio", **options: Any
    ) -> EchoMimic:
        """Find a variant's files in one or several folders of models (docs/models.md).

        Options are those of the class. Raises `WeightsError` that lists what is missing.
        """
        if isinstance(folders, str | Path):
            folders = [Path(folders)]
        options.setdefault("landmarker", find_landmarker(folders))
        return cls(find_models(folders, variant), **options)

    @classmethod
    def mini(cls, **options: Any) -> EchoMimic:
        """The small model that comes with the package: it knows cartoon people only.

        Options are those of the class. Raises `WeightsError` if a file of it is gone.
        """
        return cls(find_mini(), **options)

    def animate(
        self,
        portrait: Path | str,
        audio: Path | str | None,
        out: Path | str,
        clip: ClipOptions = ClipOptions(),  # noqa: B008 (frozen)
        options: SamplingOptions | None = None,
        on_progress: OnProgress | None = None,
        *,
        driving: Driving | None = None,
        segments: Segments | None = None,
    ) -> None:
        """Make the video `out` of the picture `portrait` speaking `audio`, or moved by `driving`.

        What is given decides the mode: a voice, landmarks, or a voice and selected landmarks. With
        landmarks alone their length and frame rate are the clip's, and the sound of a driving
        video goes with it. `options` default to the variant's own. With `segments`, what is
        finished outlives the process, and the same call goes on from there.
        on_progress(stage, done, total) is called through the stages in `STAGES`; raising in it
        cancels and leaves no file. Raises `EchoMimicError`s of one sentence for what cannot be
        read, written or combined.
        """
        options, out = options or SamplingOptions.for_variant(self.variant), Path(out)
        clip = self.completed(clip)
        check_output(out)
        check_size(*clip.size)
        check_sampling(options)
        compatibility = options.compatibility
        picture = read_image(Path(portrait))
        box = clip.face_box or self._box_by_hand(picture, clip.face_points)
        prepared = self.prepare_portrait(picture, clip.size, box, compatibility)
        voice, landmarks = self.drive(prepared, audio, clip, driving, compatibility, on_progress)
        conditions = self.encode_conditions(prepared, voice, landmarks, compatibility)
        on_window = _stage(on_progress, "sampling")
        folder = None
        if segments is None:
            latents = self.sample(conditions, options, on_window=on_window)
        else:
            latents = folder = self.render_folder(segments, prepared, conditions, options)
            self.sample_segments(folder, conditions, options, on_window=on_window)
        frames: Iterable[np.ndarray] = self.frames(latents, truncate=compatibility.truncate_frames)
        if clip.paste_back:
            frames = paste_back(
                single_frames(frames), prepared.crop, picture, face_box=prepared.face_box,
                landmarks=landmarks,
            )  # fmt: skip
        with nullcontext(out) if folder is None else folder.video(out) as path:
            write_video(
                path,
                frames,
                fps=clip.fps if landmarks is None else landmarks.fps,
                num_frames=conditions.num_frames,
                size=prepared.crop.source_size if clip.paste_back else clip.size,
                soundtrack=_soundtrack(audio, driving),
                provenance=self.provenance(options),
                on_progress=_stage(on_progress, "decoding"),
            )
        if folder is not None and not segments.keep:
            folder.remove()

    def drive(
        self,
        portrait: Portrait,
        audio: Path | str | None,
        clip: ClipOptions,
        driving: Driving | None = None,
        compatibility: Compatibility = Compatibility(),  # noqa: B008 (frozen)
        on_progress: OnProgress | None = None,
    ) -> tuple[AudioTrack | None, LandmarkTrack | None]:
        """What the clip's frames hear, and the landmarks that move them in the portrait."""
        landmarks = voice = None
        clip = self.completed(clip)
        check_driving(self.variant, driven=driving is not None)
        if audio is not None:
            speech = read_speech(Path(audio), int16=compatibility.int16_audio)
            on_voice = _stage(on_progress, "voice")
            voice = self.encode_voice(speech, clip.fps, clip.length, compatibility, on_voice)
        if driving is not None:
            landmarks = driving_track(
                driving,
                portrait,
                self.landmarker,
                voiced=voice is not None,
                portrait_points=clip.face_points,
                seconds=_seconds(voice, clip, driving),
                on_progress=_stage(on_progress, "landmarks"),
            )
        if voice is None and landmarks is not None and clip.length is not None:
            landmarks = fit_track(landmarks, clip.length, landmarks.fps, "cut")
        return voice, landmarks_of_clip(voice, landmarks, driving.end if driving else "hold")

    def completed(self, clip: ClipOptions) -> ClipOptions:
        """The options, with the size and frame rate that the model was trained on if not given."""
        size = self.native.size if clip.size is None else clip.size
        fps = self.native.fps if clip.fps is None else clip.fps
        if size != self.native.size and not self.variant.published:
            log.warning(
                "This model was trained on videos of %dx%d pixels; %dx%d will look worse.",
                *self.native.size, *size,
            )  # fmt: skip
        return replace(clip, size=size, fps=fps)

    def _box_by_hand(self, picture: np.ndarray, points: Points | None) -> FaceBox | None:
        if points is None:
            return None
        size = (picture.shape[1], picture.shape[0])
        return box_by_hand(points, size, self.landmarker)

    def prepare_portrait(
        self,
        image: np.ndarray,
        size: tuple[int, int],
        face_box: FaceBox | None = None,
        compatibility: Compatibility = Compatibility(),  # noqa: B008 (frozen)
    ) -> Portrait:
        """Crop a uint8 RGB picture (H, W, 3) around its face, which is looked for if not given."""
        if face_box is None and self.landmarker is None:
            log.warning(
                "There is no face_landmarker*.task in the models folder, so the face is not looked "
                "for; run `echomimic models download --face`, or give the face box."
            )
        elif face_box is None:
            face_box = find_face_box(image, self.landmarker, bgr=compatibility.bgr_detector)
        return prepare_portrait(image, size, face_box=face_box, compatibility=compatibility)

    def encode_voice(
        self,
        speech: Tensor,
        fps: float | None = None,
        length: int | None = None,
        compatibility: Compatibility = Compatibility(),  # noqa: B008 (frozen)
        on_progress: Callable[[int, int], None] | None = None,
    ) -> AudioTrack:
        """16 kHz mono speech (n,) → what the clip's frames hear."""
        with self.networks.use("audio_encoder") as encoder:
            return encode_voice(
                encoder,
                speech,
                fps=self.native.fps if fps is None else fps,
                length=length,
                compatibility=compatibility,
                on_progress=on_progress,
            )

    def encode_conditions(
        self,
        portrait: Portrait,
        voice: AudioTrack | None,
        landmarks: LandmarkTrack | None = None,
        compatibility: Compatibility = Compatibility(),  # noqa: B008 (frozen)
    ) -> Conditions:
        """All that drives the clip; voice and landmarks are of one frame rate (`drive`)."""
        place = {"device": self.device, "dtype": self.dtype}
        with self.networks.use("landmark_encoder") as encoder:
            face = encode_face(encoder, portrait, self.variant, landmarks, **place)
        with self.networks.use("vae") as vae, self.networks.use("reference_unet") as unet:
            reference = encode_reference(unet, vae, portrait, compatibility=compatibility, **place)
        return Conditions(reference, voice, face)

    def sample(
        self,
        conditions: Conditions,
        options: SamplingOptions | None = None,
        *,
        on_window: Callable[[int, int], None] | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Denoise the clip: latents (f, 4, h, w), scaled, on the CPU."""
        options = options or SamplingOptions.for_variant(self.variant)
        with self.networks.use("denoising_unet") as unet, self._encoder(conditions) as encoder:
            denoiser = Denoiser(
                unet, conditions, device=self.device, dtype=self.dtype, landmark_encoder=encoder
            )
            with self._reader_of_frames(unet) as reference_unet:
                return sample_clip(
                    denoiser, self.variant, options,
                    reference_unet=reference_unet, on_window=on_window, on_step=on_step,
                )  # fmt: skip

    def render_folder(
        self,
        segments: Segments,
        portrait: Portrait,
        conditions: Conditions,
        options: SamplingOptions,
    ) -> RenderFolder:
        """Where this very clip is rendered in segments, or goes on being rendered."""
        files = self.networks.files
        paths = {name: getattr(files, name) for name in WEIGHTS}
        settings = render_settings(
            self.variant,
            options,
            portrait=portrait,
            conditions=conditions,
            weights={name: file_digest(path) for name, path in paths.items() if path},
            place=place_of(self.device, self.dtype),
        )
        plan = plan_segments(conditions.num_frames, options, segments.windows)
        return RenderFolder.open(segments.folder, settings, plan)

    def sample_segments(
        self,
        folder: RenderFolder,
        conditions: Conditions,
        options: SamplingOptions,
        *,
        on_window: Callable[[int, int], None] | None = None,
    ) -> None:
        """Denoise what `folder` lacks of the clip; iterating over it yields the latents."""
        if folder.num_finished == len(folder.segments):
            return
        with self.networks.use("denoising_unet") as unet, self._encoder(conditions) as encoder:
            make_denoiser = partial(
                Denoiser,
                unet,
                device=self.device,
                dtype=self.dtype,
                landmark_encoder=encoder,
                memory=kept_memory(folder, self.device),
            )
            render_segments(
                folder, conditions, self.variant, options, make_denoiser, on_window=on_window
            )

    def _encoder(self, conditions: Conditions) -> AbstractContextManager[LandmarkEncoder | None]:
        """The landmark encoder, if landmarks are drawn while sampling."""
        drawn = isinstance(conditions.face, DrawnFace)
        return self.networks.use("landmark_encoder") if drawn else nullcontext()

    def _reader_of_frames(self, unet: UNet) -> AbstractContextManager[UNet | None]:
        """The reference UNet, if the model sees the frames before each window."""
        return self.networks.use("reference_unet") if unet.motion_frames else nullcontext()

    def frames(
        self, latents: Tensor | RenderFolder, *, truncate: bool = False
    ) -> Iterator[np.ndarray]:
        """Decode latents (f, 4, h, w) a few at a time: yields uint8 (n, H, W, 3)."""
        with self.networks.use("vae") as vae:
            decode = decode_frames if isinstance(latents, Tensor) else decode_segments
            images = decode(vae, latents)
            yield from (to_uint8(chunk, truncate=truncate) for chunk in images)

    def provenance(self, options: SamplingOptions) -> Provenance:
        """What a video says that this model made; names, without the folders of this machine."""
        model = self.networks.files.denoising_unet.name
        return Provenance(made_by(self.variant, options, model=model))


def _seconds(voice: AudioTrack | None, clip: ClipOptions, driving: Driving) -> float | None:
    """How much of a driving video the clip needs; None: all of it."""
    if voice is not None:
        return voice.num_frames / voice.fps
    if clip.length is None or driving.soundtrack is None:
        return None
    return clip.length / video_info(driving.soundtrack).fps


def _soundtrack(audio: Path | str | None, driving: Driving | None) -> Path | None:
    """The voice, or else the sound of the driving video, if it has one."""
    if audio is not None:
        return Path(audio)
    video = driving.soundtrack if driving else None
    return video if video and video_info(video).has_audio else None


def default_device() -> torch.device:
    """The accelerator that PyTorch sees, else the CPU."""
    if torch.accelerator.is_available():
        return torch.accelerator.current_accelerator()
    return torch.device("cpu")


def _stage(on_progress: OnProgress | None, name: str) -> Callable[[int, int], None] | None:
    return None if on_progress is None else lambda done, total: on_progress(name, done, total)
