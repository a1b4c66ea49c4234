"""Files that widgets name, found and made in ComfyUI's folders only."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import folder_paths

from ..echomimic.errors import OptionsError, WeightsError, brief
from ..echomimic.weights.files import find_mini, foreign_reason, variant_of

FOLDER = "echo_mimic"  # the key in ComfyUI and the folder below models/
MINI = "mini (built in)"
NONE = "none"
SYNCNET_SUFFIX = ".model"  # of the published file; ComfyUI's lists leave such files out


def register_folder() -> None:
    """Make models/echo_mimic known, unless the user's extra_model_paths.yaml did already."""
    usual = ([os.path.join(folder_paths.models_dir, FOLDER)], folder_paths.supported_pt_extensions)
    paths, suffixes = folder_paths.folder_names_and_paths.get(FOLDER, usual)
    folder_paths.folder_names_and_paths[FOLDER] = (paths, {*suffixes, SYNCNET_SUFFIX})


def model_folders() -> list[Path]:
    """Where the files of a model set may lie."""
    return [Path(path) for path in folder_paths.get_folder_paths(FOLDER)]


def landmarker_folders() -> list[Path]:
    """Where MediaPipe's face landmarker may lie."""
    detection, _ = folder_paths.folder_names_and_paths.get(
        "detection", ([os.path.join(folder_paths.models_dir, "detection")], set())
    )  # ComfyUI knows the folder since 0.23
    return [*model_folders(), *map(Path, detection)]


def denoising_unets() -> list[str]:
    """The built-in model, then the installed variants.

    Files that are not there are not offered: ComfyUI then says of a workflow that names one which
    file it lacks, and where it goes.
    """
    return [MINI, *_existing(lambda path: variant_of(path) is not None)]


def audio_encoders() -> list[str]:
    """The built-in one, then the installed ones."""
    return [MINI, *_existing(lambda path: "whisper" in path.as_posix().lower())]


def syncnets() -> list[str]:
    """None, then the files of SyncNet that the user has."""
    return [NONE, *_existing(lambda path: "syncnet" in path.name.lower())]


def resolve(name: str, component: str = "denoising_unet") -> Path:
    """The path of a name that was listed; raises `WeightsError` if it is not there.

    `component` says which file of the built-in model is meant.
    """
    if name == MINI:
        return getattr(find_mini(), component)
    names = folder_paths.get_filename_list(FOLDER)
    listed = name.replace("\\", "/") in {known.replace("\\", "/") for known in names}
    path = folder_paths.get_full_path(FOLDER, name) if listed else None
    if path is None:
        folders = ", ".join(map(str, model_folders()))
        raise WeightsError(
            f"{name} is not in {folders}; put it there (the README lists all files), "
            "then press R to refresh the lists."
        )
    return Path(path)


def new_file(
    prefix: str, folder: str, suffix: str, size: tuple[int, int] = (0, 0)
) -> tuple[Path, str]:
    """A free path in ComfyUI's folder "output" or "temp", numbered as Save Image does; and the
    subfolder it is in. `size` is what %width% and %height% in the prefix stand for.

    Raises `OptionsError` for a prefix that leads out of the folder, also by a link, or that the
    file system does not take.
    """
    root = folder_paths.get_directory_by_type(folder)
    if not within(root, prefix):
        raise OptionsError(
            f"The filename_prefix {prefix!r:.80} lies outside the {folder} folder of ComfyUI; "
            "choose a name in it."
        )
    try:
        place, name, counter, subfolder, _ = folder_paths.get_save_image_path(prefix, root, *size)
    except (OSError, ValueError) as error:
        raise OptionsError(
            f"The filename_prefix {prefix!r:.80} cannot be used ({brief(error)}); choose another."
        ) from error
    return Path(place, f"{name}_{counter:05}_{suffix}"), subfolder


def within(folder: str, name: str) -> bool:
    """Whether a name below a folder stays there once links are followed."""
    try:
        root = os.path.realpath(folder)
        return os.path.commonpath((root, os.path.realpath(os.path.join(root, name)))) == root
    except ValueError:  # a zero byte, characters no file has, or another drive of Windows
        return False


def _existing(wanted: Callable[[Path], bool]) -> list[str]:
    """Listed names of our files. A file may have gone since ComfyUI last looked."""
    names = [name for name in folder_paths.get_filename_list(FOLDER) if wanted(Path(name))]
    paths = {name: folder_paths.get_full_path(FOLDER, name) for name in names}
    return [name for name, path in paths.items() if path and foreign_reason(Path(path)) is None]
