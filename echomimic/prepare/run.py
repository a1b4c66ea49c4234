"""Folders of videos → a folder of clips: in parallel, and going on where it was stopped.

What became of each video is kept in OUT/.prepare/VIDEO.json, written when the video is finished.
A run that is killed, at any moment, does the unfinished videos again and nothing else.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, astuple, dataclass, fields
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any

import torch

from ..errors import DatasetError, OptionsError
from ..files import UNFINISHED, replacing
from ..media.frames import VIDEO_SUFFIXES
from ..train.cache import FOLDER as CACHE
from .faces import FaceSource
from .lip_sync import LipSync, MouthVoiceProxy
from .one_video import Outcome, Reject, Task, Video, prepare_video
from .options import PrepareOptions

RECORDS, SETTINGS, REJECTS = ".prepare", "settings.json", "rejects.csv"

OnVideo = Callable[[int, int, str], None]  # videos done, videos in all, what came of them


@dataclass(frozen=True)
class Summary:
    """What came of all videos."""

    outcomes: list[Outcome]
    lip_sync: str  # name of the meter of lips against voices

    @property
    def kept(self) -> list[str]:
        return [name for outcome in self.outcomes for name in outcome.kept]

    @property
    def rejects(self) -> list[Reject]:
        return [reject for outcome in self.outcomes for reject in outcome.rejects]

    @property
    def note(self) -> str:
        return f"{len(self.kept)} clips, {len(self.rejects)} rejects"

    def text(self) -> str:
        """For people, a line per reason."""
        reasons = Counter(reject.reason for reject in self.rejects)
        lines = [f"{len(self.outcomes)} videos: {self.note}"]
        lines += [f"  {reason:14}{count:6}" for reason, count in reasons.most_common()]
        lines.append(f"lips against voice: {self.lip_sync}")
        return "\n".join(lines)


def find_videos(folders: Sequence[Path]) -> list[Video]:
    """The video files in folders and in folders below; raises `DatasetError` without any."""
    videos = []
    for root in (Path(folder).resolve() for folder in folders):
        if not root.is_dir():
            raise DatasetError(f"There is no folder of videos {root}; check the path.")
        found = sorted(path for path in root.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
        videos += [Video(path, root) for path in found if not _hidden(path, root)]
    if not videos:
        raise DatasetError(
            f"{', '.join(map(str, folders))} holds no videos ({', '.join(VIDEO_SUFFIXES)}); choose "
            "another folder."
        )
    doubled = [label for label, count in Counter(v.label for v in videos).items() if count > 1]
    if doubled:
        raise DatasetError(
            f"Two folders hold a video {doubled[0]}; give the folder above them instead, or "
            "rename one."
        )
    return videos


def prepare(
    folders: Sequence[Path],
    out: Path,
    faces: FaceSource,
    options: PrepareOptions = PrepareOptions(),  # noqa: B008 (frozen)
    *,
    lip_sync: LipSync = MouthVoiceProxy(),  # noqa: B008 (frozen)
    workers: int | None = None,
    on_progress: OnVideo | None = None,
) -> Summary:
    """Prepare every video that is not finished yet, and list all rejects in OUT/rejects.csv.

    Raises `DatasetError` without videos, where `out` was begun with other settings or cannot be
    written to, `WeightsError` and `PortraitError` without a detector.
    """
    videos = find_videos(folders)
    _check_workers(workers)
    records = _open_records(out, options, faces, lip_sync)
    tasks = [Task(video, out, options, faces, lip_sync) for video in videos]
    outcomes = {t.video.key: o for t in tasks if (o := _finished(records, t.video)) is not None}
    waiting = [task for task in tasks if task.video.key not in outcomes]
    try:
        for task, outcome in _run(waiting, workers):
            _remember(records, task.video, outcome)
            outcomes[task.video.key] = outcome
            if on_progress is not None:
                note = Summary([*outcomes.values()], lip_sync.name).note
                on_progress(len(outcomes), len(tasks), note)
    finally:
        told = [outcomes[video.key] for video in videos if video.key in outcomes]
        summary = Summary(told, lip_sync.name)
        _write_rejects(out / REJECTS, summary.rejects)
    return summary


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _check_workers(workers: int | None) -> None:
    if workers is not None and workers < 1:
        raise OptionsError(f"workers must be at least 1, not {workers}.")


def _run(tasks: Sequence[Task], workers: int | None) -> Iterator[tuple[Task, Outcome]]:
    """Outcomes as they come."""
    workers = min(workers or os.cpu_count() or 1, max(1, len(tasks)))
    if workers == 1:
        yield from ((task, prepare_video(task)) for task in tasks)
        return
    # Not forked: a copy of a process whose libraries have threads may wait for them for ever.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (workers,))
    try:
        futures = {pool.submit(prepare_video, task): task for task in tasks}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise DatasetError(
            "A worker process died, mostly for lack of memory; run the same command again with "
            "fewer --workers."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(workers: int) -> None:
    """In each new process: its share of the cores, and an end when the run is killed, or it would
    go on with the next videos while the same command is begun again."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent_process().join()
    os._exit(1)


def _open_records(out: Path, options: PrepareOptions, faces: FaceSource, lip_sync: LipSync) -> Path:
    """The folder of records, of a run with the same settings; leftovers of a kill are removed."""
    settings = asdict(options) | {"faces": faces.name, "lip_sync": lip_sync.name}
    records = out / RECORDS
    try:
        records.mkdir(parents=True, exist_ok=True)
        if (records / SETTINGS).is_file():
            _check_settings(out, json.loads((records / SETTINGS).read_text("utf-8")), settings)
        _write_json(records / SETTINGS, settings)
        for folder in out.glob(f"{UNFINISHED}*"):
            shutil.rmtree(folder, ignore_errors=True)
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{records} cannot be used ({error}); choose another folder for the clips."
        ) from error
    return records


def _check_settings(out: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    changed = sorted(key for key in now if before.get(key) != now[key])
    if changed:
        raise DatasetError(
            f"{out} was begun with other settings ({', '.join(changed)}); use the same ones or "
            "choose another folder for the clips."
        )


def _finished(records: Path, video: Video) -> Outcome | None:
    """What became of a video; None if it is not finished, or is another file by now."""
    try:
        stored = json.loads((records / f"{video.key}.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    if stored["file"] != _file(video):
        for name in stored["kept"]:
            _remove(records.parent, name)
        return None
    rejects = [Reject(**reject) for reject in stored["rejects"]]
    return Outcome(stored["video"], stored["kept"], rejects)


def _remove(out: Path, name: str) -> None:
    """A clip, and what was encoded of it."""
    shutil.rmtree(out / name, ignore_errors=True)
    for encoded in out.glob(f"{CACHE}/*/{name}.npy"):
        encoded.unlink(missing_ok=True)


def _remember(records: Path, video: Video, outcome: Outcome) -> None:
    _write_json(records / f"{video.key}.json", {"file": _file(video), **asdict(outcome)})


def _file(video: Video) -> list[int]:
    """What tells that a file has changed: its size, and when it was written in nanoseconds.

    Nothing of what cannot be looked at, a link to nowhere for instance.
    """
    try:
        state = video.path.stat()
    except OSError:
        return []
    return [state.st_size, state.st_mtime_ns]


def _write_json(path: Path, value: Any) -> None:
    try:
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(value, indent=1), encoding="utf-8")
    except OSError as error:
        raise DatasetError(f"{path} cannot be written ({error}); free some space.") from error


def _write_rejects(path: Path, rejects: Sequence[Reject]) -> None:
    """A table with a line per reject."""
    try:
        with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as f:
            table = csv.writer(f)
            table.writerow([field.name for field in fields(Reject)])
            table.writerows(astuple(reject) for reject in rejects)
    except OSError as error:
        raise DatasetError(f"{path} cannot be written ({error}); free some space.") from error
