"""Clips as tar archives, for object storage and slow disks: few large files, read from end to end.

The layout is WebDataset's: a member is CLIP.FILE, the files of a clip stand together, and the name
of the clip ends at the first dot. index.json beside the shards names them. Places are folders, or
addresses such as s3://bucket/clips, which fsspec opens; it needs a package for each kind (s3fs for
S3), and nothing else here does.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..errors import DatasetError, brief
from ..files import replacing, replacing_folder
from .clips import FRAME_ZIP, FRAMES, LANDMARKS, META, PORTRAIT, SPEECH, Clip, Dataset

INDEX = "index.json"
FILES = (META, SPEECH, LANDMARKS, PORTRAIT, FRAME_ZIP, FRAMES)
FETCHED = ".fetched"  # folder of a mark for each shard that is here

OnProgress = Callable[[int, int], None]  # shards done, shards in all


def is_address(place: str) -> bool:
    """Whether a place is an address of fsspec's, not a path."""
    return "://" in place


def is_sharded(place: str) -> bool:
    """Whether clips must be fetched from a place before they are trained on."""
    return is_address(place) or (Path(place) / INDEX).is_file()


def write_shards(
    folder: Path, place: str, *, clips_per_shard: int = 100, on_progress: OnProgress | None = None
) -> None:
    """Pack the clips of a folder. The index is written last. Raises `DatasetError`."""
    if clips_per_shard < 1:
        raise DatasetError(f"A shard holds at least 1 clip, not {clips_per_shard}.")
    clips = Dataset(folder).all
    for clip in clips:
        if "." in clip.name:
            raise DatasetError(f"The clip {clip.folder} has a dot in its name; rename it.")
    groups = [clips[i : i + clips_per_shard] for i in range(0, len(clips), clips_per_shard)]
    shards = []
    for number, group in enumerate(groups):
        name = f"clips-{number:06d}.tar"
        with _opened(place, name, "wb") as file:
            _pack(group, file)
        shards.append({"name": name, "clips": len(group)})
        if on_progress is not None:
            on_progress(number + 1, len(groups))
    with _opened(place, INDEX, "wb") as file:
        file.write(json.dumps({"shards": shards}, indent=1).encode())


def stream_clips(place: str, shard: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Clips of a shard one after the other: name and files. Raises `DatasetError`."""
    with _opened(place, shard, "rb") as file:
        yield from _unpacked(file, f"{place}/{shard}")


def fetch_shards(place: str, folder: Path, on_progress: OnProgress | None = None) -> Path:
    """Bring the clips of all shards into a folder to train on; those that are there stay.

    Goes on where it was stopped. Raises `DatasetError`.
    """
    shards = _index(place)
    for done, (shard, count) in enumerate(shards, 1):
        mark = _mark(folder, shard)
        if not mark.is_file():
            _fetch(place, shard, count, folder)
            _write(mark, b"")
        if on_progress is not None:
            on_progress(done, len(shards))
    return folder


def marks(place: str, folder: Path) -> list[Path]:
    """Files that are there as soon as all shards are in a folder. Raises `DatasetError`."""
    return [_mark(folder, shard) for shard, _ in _index(place)]


def _mark(folder: Path, shard: str) -> Path:
    return folder / FETCHED / f"{shard}.done"


def _pack(clips: Sequence[Clip], file: IO[bytes]) -> None:
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.USTAR_FORMAT) as archive:
        for clip in clips:
            for name in FILES:
                if (clip.folder / name).is_file():
                    _add(archive, f"{clip.name}.{name}", (clip.folder / name).read_bytes())


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """A member without owner and date, so that equal clips make equal shards."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def _unpacked(file: IO[bytes], shown_as: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    clip, files = "", {}
    try:
        with tarfile.open(fileobj=file, mode="r|") as archive:
            for member in archive:
                name, _, kind = member.name.partition(".")
                if not member.isfile() or not name or "/" in member.name or kind not in FILES:
                    raise DatasetError(
                        f"{shown_as} holds {member.name!r}, which is no file of a clip; pack the "
                        "clips again."
                    )
                if name != clip and files:
                    yield clip, files
                    files = {}
                clip = name
                files[kind] = archive.extractfile(member).read()
    except (tarfile.TarError, EOFError) as error:
        raise DatasetError(f"{shown_as} is damaged ({brief(error)}); pack it again.") from error
    if files:
        yield clip, files


def _fetch(place: str, shard: str, count: int, folder: Path) -> None:
    found = 0
    for name, files in stream_clips(place, shard):
        found += 1
        if not (folder / name / META).is_file():
            _write_clip(folder / name, files)
    if found != count:
        raise DatasetError(
            f"{place}/{shard} holds {found} clips, but {INDEX} says {count}; pack the clips again."
        )


def _write_clip(folder: Path, files: dict[str, bytes]) -> None:
    try:
        with replacing_folder(folder) as unfinished:
            for name, data in files.items():
                (unfinished / name).write_bytes(data)
    except OSError as error:
        raise DatasetError(f"{folder} cannot be written ({error}); free some space.") from error


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise DatasetError(f"{path} cannot be written ({error}); free some space.") from error


def _index(place: str) -> list[tuple[str, int]]:
    """Name and number of clips of each shard."""
    with _opened(place, INDEX, "rb") as file:
        text = file.read()
    try:
        shards = [(str(one["name"]), int(one["clips"])) for one in json.loads(text)["shards"]]
    except (ValueError, RecursionError, LookupError, TypeError) as error:
        raise DatasetError(
            f"{place}/{INDEX} is no list of shards ({brief(error)}); pack the clips again."
        ) from error
    for name, _ in shards:
        if "/" in name or "\\" in name or not name.endswith(".tar"):
            raise DatasetError(f"{place}/{INDEX} names {name!r}, which is no shard; pack again.")
    return shards


@contextmanager
def _opened(place: str, name: str, mode: str) -> Iterator[IO[bytes]]:
    """A file of a place, whole or not there at all once it is written."""
    try:
        if is_address(place):
            with _fsspec().open(f"{place.rstrip('/')}/{name}", mode) as file:
                yield file
        elif mode == "rb":
            with (Path(place) / name).open(mode) as file:
                yield file
        else:
            Path(place).mkdir(parents=True, exist_ok=True)
            with replacing(Path(place) / name) as temporary, temporary.open(mode) as file:
                yield file
    except (OSError, ImportError, ValueError) as error:
        verb = "read" if mode == "rb" else "written"
        raise DatasetError(
            f"{place}/{name} cannot be {verb} ({brief(error)}); check the place and the access."
        ) from error


def _fsspec() -> object:
    try:
        import fsspec
    except ImportError as error:
        raise DatasetError(
            'Object storage needs fsspec, which is not installed: `pip install ".[storage]"`, '
            "and the package of the storage (s3fs, gcsfs, adlfs)."
        ) from error
    return fsspec
