"""Does `echomimic prepare` catch planted defects, and does it keep clean films?

    python benchmarks/prepare_defects.py --clean 20 --each 5

Films of cartoon people are written as MP4 files with AAC sound, some with one planted defect each,
and prepared. The faces are the puppets' own, so what is measured is the filters, not a detector.
Prints the table of docs/data.md. The exit code is 1 if a defect is missed, is caught for a reason
that is not its own, or if a clean film is lost.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from echomimic.prepare.faces import StoredFaces
from echomimic.prepare.options import PrepareOptions
from echomimic.prepare.planted import CLIP_SIZE, DEFECTS, FPS, film
from echomimic.prepare.run import Summary, prepare
from echomimic.train.clips import Dataset

log = logging.getLogger("prepare_defects")


def write_films(root: Path, clean: int, each: int, num_frames: int) -> dict[str, int]:
    """A folder for each defect; how many films it has."""
    counts = {defect: each if defect != "none" else clean for defect in DEFECTS}
    for defect in counts:
        (root / defect).mkdir()
    for seed in range(max(counts.values())):
        for defect, count in counts.items():
            if seed < count:
                film(seed, defect, num_frames=num_frames).write(root / defect / f"{seed:03d}.mp4")
        log.info("person %d is filmed", seed)
    return counts


def table(counts: dict[str, int], summary: Summary, out: Path) -> tuple[str, bool]:
    """Markdown, and whether all is as it should be."""
    kept = Counter(clip.meta["source"].split("/")[1] for clip in Dataset(out).all)
    lines = ["| planted | films | kept | caught | reasons, with what was measured |",
             "|---|---|---|---|---|"]  # fmt: skip
    right = True
    for defect, count in counts.items():
        rejects = [r for r in summary.rejects if r.video.split("/")[1] == defect]
        reasons = sorted({reject.reason for reject in rejects})
        told = "; ".join(
            f"`{reason}` {_range([r.value for r in rejects if r.reason == reason])}"
            for reason in reasons
        )
        caught = len({reject.video for reject in rejects})
        lines.append(f"| {defect} | {count} | {kept[defect]} | {caught} | {told} |")
        right &= set(reasons) <= set(DEFECTS[defect])
        right &= kept[defect] == (count if defect == "none" else 0)
    return "\n".join(lines), right


def _range(values: list[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.3g} … {high:.3g} ({len(values)})"


def main() -> int:
    parser = argparse.ArgumentParser(description="Planted defects and clean films.")
    parser.add_argument("--clean", type=int, default=20)
    parser.add_argument("--each", type=int, default=5, help="films of each defect (5)")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--workers", type=int)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory() as folder:
        root, out = Path(folder) / "films", Path(folder) / "clips"
        root.mkdir()
        counts = write_films(root, options.clean, options.each, round(options.seconds * FPS))
        summary = prepare(
            [root], out, StoredFaces(), PrepareOptions(size=CLIP_SIZE, identity="video"),
            workers=options.workers,
        )  # fmt: skip
        text, right = table(counts, summary, out)
    sys.stdout.write(text + "\n")
    return int(not right)


if __name__ == "__main__":
    sys.exit(main())
