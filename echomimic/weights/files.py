"""Where model files are, by name: the official layout and that of other ComfyUI packs (spec 1)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..assets import MINI
from ..config import VARIANTS, Variant, variant
from ..errors import WeightsError
from .read import SUFFIXES, read_state

COMPONENTS = (
    "denoising_unet",
    "motion_module",
    "reference_unet",
    "landmark_encoder",
    "audio_encoder",
    "vae",
)
OWN_FOLDERS = ("", "echo_mimic", "echomimic", "EchoMimic")  # of ours inside a folder of models
# Paths without suffix, relative to a searched folder; the official place comes first.
AUDIO_ENCODERS = (
    "audio_processor/whisper_tiny",
    "audio_processor/tiny",
    "whisper_tiny",
    "whisper-tiny/model",
    "whisper-tiny/pytorch_model",
    "audio_processor/whisper-tiny/model",
    "audio_encoders/whisper_tiny",
    "../audio_encoders/whisper_tiny",
)
VAES = (
    "sd-vae-ft-mse/diffusion_pytorch_model",
    "vae/diffusion_pytorch_model",
    "vae/sd-vae-ft-mse",
    "vae/vae-ft-mse-840000-ema-pruned",
    "../vae/sd-vae-ft-mse/diffusion_pytorch_model",
    "../vae/sd-vae-ft-mse",
    "../vae/vae-ft-mse-840000-ema-pruned",
    "../vae/diffusion_pytorch_model",
)
FOREIGN_FOLDER = re.compile(r"(echo_?mimic[_-]?)?v([23])|(transformer)", re.IGNORECASE)
FOREIGN_NEIGHBOUR = "pose_encoder"  # EchoMimicV2 has it where version 1 has face_locator


@dataclass(frozen=True)
class ModelFiles:
    """The files of one variant. Raises `WeightsError` if they are named after different ones."""

    variant: str
    denoising_unet: Path
    motion_module: Path | None  # None: the denoising file holds it, as `convert` writes it
    reference_unet: Path
    landmark_encoder: Path
    audio_encoder: Path | None  # None: chosen by itself, see `files_beside`
    vae: Path

    def __post_init__(self) -> None:
        row = variant(self.variant)
        for component in ("denoising_unet", "motion_module", "reference_unet", "landmark_encoder"):
            path = getattr(self, component)
            if path is None:
                continue
            require_own(path)
            names = {getattr(other, component) for other in VARIANTS.values()}
            if path.stem in names and path.stem != getattr(row, component):
                raise WeightsError(
                    f"{path} belongs to another variant than {self.variant!r}, which needs "
                    f"{getattr(row, component)}; files of different variants cannot be mixed."
                )


def find_models(folders: Sequence[Path], variant: str) -> ModelFiles:
    """Every file that `variant` needs, from the first folder that has it.

    Raises `WeightsError` that names what is missing, where it was looked for and how to get it.
    """
    paths = {component: find_file(folders, variant, component) for component in COMPONENTS}
    return ModelFiles(variant, **paths)


def find_mini() -> ModelFiles:
    """The files of the model that comes with the package; raises `WeightsError` without it."""
    try:
        return find_models([MINI], "joint")
    except WeightsError as error:
        raise WeightsError(
            f"The built-in model is not whole in this installation ({MINI}); "
            "install the package again."
        ) from error


def files_beside(denoising_unet: Path, folders: Sequence[Path] = ()) -> ModelFiles:
    """The files that go with a chosen denoising UNet: first from its folder, then from `folders`.

    The audio encoder, which all variants share, may be absent: it can be chosen by itself.
    Raises `WeightsError` if the name is not that of a variant, or if another file is missing.
    """
    require_own(denoising_unet)
    name = variant_of(denoising_unet)
    if name is None:
        names = ", ".join(row.denoising_unet for row in VARIANTS.values())
        raise WeightsError(
            f"{denoising_unet} is not named as a denoising UNet; choose one of {names}."
        )
    folders = [denoising_unet.parent, *folders]
    required = [part for part in COMPONENTS if part not in ("denoising_unet", "audio_encoder")]
    paths = {part: find_file(folders, name, part, denoising_unet) for part in required}
    audio_encoder = look_up(folders, variant(name), "audio_encoder")
    return ModelFiles(name, denoising_unet, audio_encoder=audio_encoder, **paths)


def find_file(
    folders: Sequence[Path], variant_name: str, component: str, denoising_unet: Path | None = None
) -> Path | None:
    """The first existing file of a component; None only for a motion module that is merged into
    the denoising UNet (`denoising_unet`, or the one that is found). Raises `WeightsError`."""
    row = variant(variant_name)
    if component == "motion_module":
        host = denoising_unet or look_up(folders, row, "denoising_unet")
        if host is not None and holds_motion_modules(host):
            return None
    path = look_up(folders, row, component)
    if path is None:
        raise WeightsError(missing_sentence(folders, row, component))
    return path


def look_up(folders: Sequence[Path], row: Variant, component: str) -> Path | None:
    """The first existing file of a component that is not of another EchoMimic version."""
    for path in places(folders, row, component):
        if path.is_file() and foreign_reason(path) is None:
            return path
    return None


def places(folders: Sequence[Path], row: Variant, component: str) -> list[Path]:
    """Where a component is looked for, in order."""
    found = [
        Path(os.path.normpath(folder / f"{stem}{suffix}"))
        for folder in search_folders(folders)
        for stem in _stems(row, component)
        for suffix in SUFFIXES
    ]
    return list(dict.fromkeys(found))


def search_folders(folders: Sequence[Path]) -> list[Path]:
    """The folders, and ours inside them where one is the root of all models."""
    existing: dict[str, Path] = {}
    for path in (Path(folder) / name for folder in folders for name in OWN_FOLDERS):
        if path.is_dir():
            existing.setdefault(os.path.realpath(path), path)
    return list(existing.values())


def variant_of(path: Path) -> str | None:
    """The variant whose denoising UNet has this file name."""
    for row in VARIANTS.values():
        if path.stem == row.denoising_unet and path.suffix in SUFFIXES:
            return row.name
    return None


def foreign_reason(path: Path) -> str | None:
    """Why a file is not of EchoMimic version 1, judged by its surroundings; None if it may be.

    Version 2 gives its files the same names (and, as far as known, shapes), so only the folder
    tells: its name, or a `pose_encoder` without a `face_locator` beside it.
    """
    if list(path.parent.glob("face_locator*")):
        return None
    match = FOREIGN_FOLDER.fullmatch(path.parent.name)
    if match:
        return f"lies in a folder of EchoMimicV{match[2] or 3}"
    if list(path.parent.glob(f"{FOREIGN_NEIGHBOUR}.*")):
        return f"lies beside EchoMimicV2's {FOREIGN_NEIGHBOUR}"
    return None


def require_own(path: Path) -> None:
    """Raises `WeightsError` for files of EchoMimicV2 and V3."""
    reason = foreign_reason(path)
    if reason:
        raise WeightsError(
            f"{path} {reason}; choose the files of EchoMimic version 1 "
            "(put its face_locator file beside them if they are)."
        )


def holds_motion_modules(path: Path) -> bool:
    """Whether a denoising file was merged with its motion modules by `convert`."""
    if path.suffix != ".safetensors":
        return False
    return any(".motion_modules." in name for name in read_state(path)[0])


def missing_sentence(folders: Sequence[Path], row: Variant, component: str) -> str:
    """What is missing, where it was looked for, and what to do."""
    searched = ", ".join(str(folder) for folder in folders) or "no folder"
    name = Path(next(_stems(row, component)))
    foreign = [path for path in places(folders, row, component) if path.is_file()]
    hint = f" ({foreign[0]} {foreign_reason(foreign[0])})" if foreign else ""
    return (
        f"The {component.replace('_', ' ')} of variant {row.name!r} is missing: no {name} with "
        f"suffix {' or '.join(SUFFIXES[:3])} in {searched}{hint}; {_remedy(row)}."
    )


def _remedy(row: Variant) -> str:
    if row.published:
        return f"get it with `echomimic models download --variant {row.name}`"
    return (
        "there is none to download: train a model with `echomimic train`, or use the built-in "
        "one, `--models mini`"
    )


def _stems(row: Variant, component: str) -> Iterator[str]:
    if component == "audio_encoder":
        yield from AUDIO_ENCODERS
    elif component == "vae":
        yield from VAES
    else:
        yield getattr(row, component)
