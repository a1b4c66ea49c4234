"""The finished segments of a long render, on disk, with a manifest that says what they are."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import load_file, save
from torch import Tensor

from .errors import RenderError
from .files import replacing
from .fingerprint import digest, file_digest

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
PARTS = {"settings": dict, "chosen": dict, "finished": list}  # of a manifest
FORMAT = 2  # 1: shared frames were those of the segment before
NAME_LENGTH = 12  # digits of the settings' digest in a folder's name
HASHED = 32  # digits; values that are this long are digests, whose change is named without them


@dataclass(frozen=True)
class Segment:
    """Frames start to stop - 1 of a clip, of which the segment before has finished `known`.

    It has them too, on their way from that one's to its own.
    """

    number: int
    start: int
    stop: int
    known: int = 0


class RenderFolder:
    """One render: its settings, what was chosen for it, and the latents that are finished.

    Iterating yields the latents (f, 4, h, w) of the clip, segment by segment, each frame once.
    """

    def __init__(self, path: Path, segments: Sequence[Segment], manifest: dict[str, Any]) -> None:
        self.path, self.segments, self._manifest = path, segments, manifest

    @classmethod
    def open(
        cls, root: Path, settings: Mapping[str, Any], segments: Sequence[Segment]
    ) -> RenderFolder:
        """The folder below `root` that belongs to `settings`; made, and said so, if it is new.

        `settings` are numbers, texts and digests of all that the result depends on. Raises
        `RenderError` if the folder cannot be made or written.
        """
        plan = {"segments": [asdict(segment) for segment in segments]}
        key = digest([FORMAT, settings, plan])
        path = Path(root) / f"render-{key[:NAME_LENGTH]}"
        manifest = _read(path / MANIFEST)
        if manifest.get("fingerprint") == key:
            folder = cls(path, segments, manifest)
            folder._keep_whole_ones()
            return folder
        _say_what_is_new(path, settings)
        new = {"format": FORMAT, "fingerprint": key, "settings": dict(settings), **plan}
        folder = cls(path, segments, new | {"chosen": {}, "finished": []})
        with folder._explained():
            path.mkdir(parents=True, exist_ok=True)
            folder._write_manifest()
        return folder

    @property
    def num_finished(self) -> int:
        """Segments that are on disk; the first ones of `segments`."""
        return len(self._manifest["finished"])

    @property
    def num_frames(self) -> int:
        """Length of the whole clip."""
        return self.segments[-1].stop

    def chosen(self, name: str, choose: Callable[[], int]) -> int:
        """What `choose` said at the render's first start, by the memory that was free then.

        Results depend on such numbers in their last bits.
        """
        known = self._manifest["chosen"].get(name)
        if type(known) is not int or known < 0:  # not chosen yet, or no longer readable
            with self._explained():
                self._write_manifest(chosen=self._manifest["chosen"] | {name: choose()})
        return self._manifest["chosen"][name]

    def known(self, segment: Segment) -> Tensor | None:
        """The finished latents (k, 4, h, w) that a segment goes on from; None for the first."""
        if not segment.known:
            return None
        before = self.segments[segment.number - 1]
        return self._read(before)[segment.start - before.start :]

    def add(self, segment: Segment, latents: Tensor) -> None:
        """Keep a segment's latents (f, 4, h, w), the known ones included. Raises `RenderError`."""
        path = self._path(segment)
        with self._explained():
            write_durably(path, save({"latents": latents.contiguous()}))
            self._write_manifest(finished=[*self._manifest["finished"], file_digest(path)])

    def __iter__(self) -> Iterator[Tensor]:
        return (latents for _, latents in self.pieces())

    def pieces(self, number: int = 0) -> Iterator[tuple[int, Tensor]]:
        """From finished segment `number` on: the first frame of each, and its latents.

        Frames that two of them have are in the later one.
        """
        finished = self.segments[number : self.num_finished]
        ends = [*(segment.start for segment in finished[1:]), finished[-1].stop] if finished else []
        for segment, end in zip(finished, ends, strict=True):
            if end > segment.start:  # else all of it is in the next
                yield segment.start, self._read(segment)[: end - segment.start]

    @contextmanager
    def video(self, out: Path) -> Iterator[Path]:
        """A name to write the video to; afterwards it is `out`.

        So that a process that is killed leaves nothing half-written beside `out`. Raises
        `RenderError` where it cannot be moved there.
        """
        path = self.path / f"video{out.suffix}"
        yield path
        try:
            _move(path, out)
        except OSError as error:
            raise RenderError(
                f"The video {out} cannot be written ({error.strerror}); it is kept as {path}."
            ) from error

    def remove(self) -> None:
        """Delete everything, also what killed processes left behind."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _path(self, segment: Segment) -> Path:
        return self.path / f"segment-{segment.number:05}.safetensors"

    def _read(self, segment: Segment) -> Tensor:
        try:
            return load_file(self._path(segment))["latents"]
        except (OSError, KeyError, safetensors.SafetensorError) as error:
            raise RenderError(
                f"{self._path(segment)} cannot be read any more ({error}); run the same again to "
                "render it anew."
            ) from error

    def _keep_whole_ones(self) -> None:
        """Forget a segment whose file is gone or changed, and all that went on from it."""
        finished = self._manifest["finished"]
        del finished[len(self.segments) :]
        for segment, expected in zip(self.segments, finished, strict=False):
            path = self._path(segment)
            if not path.is_file() or file_digest(path) != expected:
                log.warning("%s is gone or damaged; it is rendered again.", path)
                del finished[segment.number :]
                break
        if finished:
            log.info(
                "Going on in %s: %d of %d segments are finished.",
                self.path, len(finished), len(self.segments),
            )  # fmt: skip

    def _write_manifest(self, **changes: Any) -> None:
        manifest = self._manifest | changes
        write_durably(self.path / MANIFEST, json.dumps(manifest, indent=1).encode())
        self._manifest = manifest

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            remedy = "free disk space" if full else "make the folder writable"
            raise RenderError(
                f"The render in {self.path} cannot go on ({error.strerror}); {remedy} and run the "
                f"same again: {self.num_finished} of {len(self.segments)} segments are kept."
            ) from error


def write_durably(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, also if the power fails. Raises `OSError`."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _move(path: Path, out: Path) -> None:
    try:
        path.replace(out)
    except OSError as error:
        if error.errno != errno.EXDEV:  # another disk
            raise
        with replacing(out) as temporary:
            shutil.copyfile(path, temporary)


def _read(path: Path) -> dict[str, Any]:
    """A manifest; empty if there is none that can be understood."""
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(manifest, dict):
        return {}
    whole = all(isinstance(manifest.get(name), kind) for name, kind in PARTS.items())
    return manifest if whole else {}


def _say_what_is_new(path: Path, settings: Mapping[str, Any]) -> None:
    """If other renders lie beside it, name what differs from the latest."""
    found = set(path.parent.glob(f"render-*/{MANIFEST}")) - {path / MANIFEST}
    others = sorted(found, key=lambda manifest: manifest.stat().st_mtime)
    if not others:
        return
    before = _read(others[-1]).get("settings", {})
    names = sorted({*before, *settings})
    changed = [_change(n, before, settings) for n in names if before.get(n) != settings.get(n)]
    log.warning(
        "Starting anew in %s: it differs from the unfinished render in %s in %s.",
        path, others[-1].parent, ", ".join(changed) or "its segments",
    )  # fmt: skip


def _change(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    old, new = before.get(name), after.get(name)
    if HASHED in (len(str(old)), len(str(new))):
        return name
    return f"{name} ({old} → {new})"
