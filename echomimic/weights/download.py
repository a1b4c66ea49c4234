"""Fetch model files, only when asked: from Hugging Face, the face landmarker from its vendor."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import shutil
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from ..config import variant
from ..errors import OptionsError, WeightsError
from ..landmarks.detect import LANDMARKER_URL, find_landmarker
from .files import COMPONENTS, find_file
from .write import writing

log = logging.getLogger(__name__)

REPOSITORY = "BadToBest/EchoMimic"
SHARED_FILES = {
    "audio_encoder": ("audio_processor/whisper_tiny.pt",),
    "vae": ("sd-vae-ft-mse/config.json", "sd-vae-ft-mse/diffusion_pytorch_model.safetensors"),
}
LANDMARKER = "face_landmarker_v2_with_blendshapes.task"
LANDMARKER_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
TRUE = ("1", "ON", "YES", "TRUE")  # as huggingface_hub reads its variables
TIMEOUT = 60  # seconds without an answer

FetchFile = Callable[[str, str, Path], object]  # repository, file, folder to put it in
FetchUrl = Callable[[str, Path], object]  # address, file to write


def download(
    folder: Path,
    variants: Sequence[str] | None = None,
    *,
    face_only: bool = False,
    fetch: FetchFile | None = None,
    fetch_url: FetchUrl | None = None,
) -> list[Path]:
    """Fetch what the variants (None: audio) need and `folder`, or a place beside it, lacks.

    The face landmarker comes with them; with `face_only` it comes alone.

    Interrupted downloads of the large files are resumed; huggingface_hub shows the progress and
    honours HF_ENDPOINT and HF_HUB_OFFLINE. Returns the files that are new. Raises `WeightsError`
    when there is no connection or a file is not what it should be.
    """
    folder = Path(folder)
    wanted = () if face_only else variants or ("audio",)
    needed = [name for each in wanted for name in missing_files(folder, each)]
    new = []
    for name in dict.fromkeys(needed):
        log.info("Fetching %s from %s.", name, REPOSITORY)
        (fetch or fetch_from_hub)(REPOSITORY, name, folder)
        new.append(folder / name)
    if find_landmarker([folder]) is None:
        new.append(_fetch_landmarker(folder / LANDMARKER, fetch_url or fetch_from_url))
    return new


def missing_files(folder: Path, variant_name: str) -> list[str]:
    """Names in the repository of what `folder` lacks for a variant.

    Raises `OptionsError` for a variant of which the repository has nothing.
    """
    row, missing = variant(variant_name), []
    if not row.published:
        raise OptionsError(
            f"Variant {row.name!r} has no published files to download; train a model with "
            "`echomimic train`, or use the built-in one, `--models mini`."
        )
    for component in COMPONENTS:
        try:
            find_file([folder], variant_name, component)
        except WeightsError:
            missing += SHARED_FILES.get(component) or [f"{getattr(row, component)}.pth"]
    return missing


def fetch_from_hub(repository: str, name: str, folder: Path) -> None:
    """One file of a Hugging Face repository into `folder`. Raises `WeightsError`."""
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError
    except ImportError as error:
        raise WeightsError(
            "Downloading needs the package huggingface_hub; install it with "
            "`pip install huggingface_hub`, or put the files there by hand."
        ) from error
    try:
        hf_hub_download(repository, name, local_dir=folder)
    except (OSError, EntryNotFoundError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(
            f"{name} could not be fetched from {repository} ({reason}); check the connection "
            f"(HF_HUB_OFFLINE, HF_ENDPOINT) and run the command again to resume, or put the file "
            f"into {folder} by hand."
        ) from error


def fetch_from_url(address: str, path: Path) -> None:
    """One file from its address. Raises `OSError`, also when HF_HUB_OFFLINE forbids it."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in TRUE:
        raise OSError("HF_HUB_OFFLINE is set")
    with urllib.request.urlopen(address, timeout=TIMEOUT) as answer, path.open("wb") as file:
        shutil.copyfileobj(answer, file)


def _fetch_landmarker(path: Path, fetch_url: FetchUrl) -> Path:
    log.info("Fetching %s from %s.", path.name, LANDMARKER_URL)
    with writing(path) as temporary:
        try:
            fetch_url(LANDMARKER_URL, temporary)
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise WeightsError(
                f"{path.name} could not be fetched from {LANDMARKER_URL} ({reason}); check the "
                f"connection (HF_HUB_OFFLINE), or put the file into {path.parent} by hand."
            ) from error
        found = hashlib.sha256(temporary.read_bytes()).hexdigest()
        if found != LANDMARKER_SHA256:
            raise WeightsError(
                f"{LANDMARKER_URL} gave a file with sha256 {found} instead of "
                f"{LANDMARKER_SHA256}; nothing was kept, try again later."
            )
    return path
