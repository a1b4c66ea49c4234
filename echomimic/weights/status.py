"""Which model files are there, which are missing, and which do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..config import PUBLISHED, Variant
from ..errors import WeightsError
from ..landmarks.detect import find_landmarker
from .files import (
    COMPONENTS,
    ModelFiles,
    find_file,
    look_up,
    places,
)
from .load import LOADERS


@dataclass(frozen=True)
class FileStatus:
    """One row: a component of a variant, where it is, and what is wrong with it."""

    variant: str
    component: str
    path: Path | None
    places: tuple[Path, ...]  # where it was looked for, in order
    size: int  # bytes; 0 when missing
    problem: str | None  # a sentence, or None when all is well


ANY = "any"  # variant of files that all of them use
FIRST = 2  # places of a missing file that the table names
NOWHERE = Path("missing/missing")  # stands for files that are not there and will not be read


def status(folders: Sequence[Path]) -> list[FileStatus]:
    """A row for every component of every variant, and one for the face landmarker.

    Names and shapes are checked, no weights read.
    """
    rows = [row for variant in PUBLISHED.values() for row in _variant_status(folders, variant)]
    return [*rows, _landmarker_status(folders)]


def status_table(rows: Sequence[FileStatus]) -> str:
    """The rows as text: what each component is, its size, and where it is or what is wrong.

    Of a missing file the first places are named where it was looked for.
    """
    lines = []
    for row in rows:
        size = f"{row.size / 1e6:8.1f} MB" if row.size else " " * 11
        state = "missing" if row.path is None else "problem" if row.problem else "ok"
        note = row.problem or str(row.path)
        if row.path is None and row.places:
            note += f" Looked for first at {' and '.join(map(str, row.places[:FIRST]))}."
        lines.append(f"{row.variant:13} {row.component:17} {state:8} {size}  {note}")
    return "\n".join(lines)


def _landmarker_status(folders: Sequence[Path]) -> FileStatus:
    path, looked = find_landmarker(folders), tuple(Path(folder) for folder in folders)
    if path is not None:
        return FileStatus(ANY, "face_landmarker", path, looked, path.stat().st_size, None)
    searched = ", ".join(map(str, folders))
    problem = (
        f"There is no face_landmarker*.task in {searched}; "
        "get it with `echomimic models download --face`."
    )
    return FileStatus(ANY, "face_landmarker", None, looked, 0, problem)


def _variant_status(folders: Sequence[Path], variant: Variant) -> list[FileStatus]:
    rows = [_find(folders, variant, component) for component in COMPONENTS]
    found = {row.component: row.path for row in rows}
    if found["motion_module"] == found["denoising_unet"]:
        found["motion_module"] = None  # merged
    others = {part: path or NOWHERE for part, path in found.items() if part != "motion_module"}
    files = ModelFiles(variant.name, motion_module=found["motion_module"], **others)
    incomplete = any(row.component == "motion_module" and row.problem for row in rows)
    return [
        row
        if row.problem or (row.component == "denoising_unet" and incomplete)
        else replace(row, problem=_problem(files, row.component))
        for row in rows
    ]


def _find(folders: Sequence[Path], variant: Variant, component: str) -> FileStatus:
    looked = tuple(places(folders, variant, component))
    try:
        path = find_file(folders, variant.name, component)
    except WeightsError as error:
        return FileStatus(variant.name, component, None, looked, 0, str(error))
    if path is None:  # merged into the denoising UNet
        host = look_up(folders, variant, "denoising_unet")
        return FileStatus(variant.name, component, host, looked, 0, None)
    return FileStatus(variant.name, component, path, looked, path.stat().st_size, None)


def _problem(files: ModelFiles, component: str) -> str | None:
    if component not in LOADERS:
        return None  # the motion module is checked with the denoising UNet
    try:
        LOADERS[component](files, device="meta")
    except WeightsError as error:
        return str(error)
    return None
