"""Each measure of a clip against its limit, and in words what was wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .options import Limits

# What a reject says: {value} was measured, {limit} is allowed.
REASONS = {
    "unreadable": "the video cannot be read",
    "no_sound": "the video has no sound track",
    "short": "the shot lasts {value:.2f} s, less than {limit:g} s",
    "no_face": "{value:.0%} of the frames show a face, fewer than {limit:.0%}",
    "second_face": "a second face has {value:.0%} of the first one's area, more than {limit:.0%}",
    "more_faces": "{value:.0%} of the frames show more than one face, more than {limit:.0%}",
    "face_jumps": "the face jumps by {value:.2f} of its size, more than {limit:g}: another person "
    "or another shot",
    "small_face": "the face has {value:.0f} pixels, fewer than {limit:.0f}",
    "face_share": "the face fills {value:.0%} of the crop's side, less than {limit:.0%}",
    "turned": "the head turns or tilts by {value:.0f} degrees, more than {limit:g}",
    "face_range": "the face moves through {value:.0%} of the width, more than {limit:.0%}",
    "camera": "the background moves by {value:.2%} of the width in 5 frames, more than {limit:.2%}",
    "camera_jumps": "the background jumps by {value:.2%} of the width, more than {limit:.2%}",
    "silent": "a voice is heard in {value:.0%} of the frames, fewer than {limit:.0%}",
    "mouth_voice": "mouth and voice correlate by {value:.2f}, less than {limit:g} "
    "(a proxy that hears loudness only)",
    "mouth_late": "the mouth is {value:+.0f} frames late, more than {limit:g} "
    "(a proxy that hears loudness only)",
    "mouth_chance": "mouth and voice correlate only {value:+.2f} better than when wrongly aligned, "
    "less than {limit:g} (a proxy that hears loudness only)",
    "sync_c": "lips and voice belong together by a Sync-C of {value:.2f}, less than {limit:g} "
    "(SyncNet, own crop)",
    "sync_offset": "the mouth is {value:+.0f} frames late, more than {limit:g} "
    "(SyncNet, own crop)",
}  # fmt: skip
AT_LEAST = {
    "short", "no_face", "small_face", "face_share", "silent", "mouth_voice", "mouth_chance",
    "sync_c",
}  # the others are at most  # fmt: skip


@dataclass(frozen=True)
class Check:
    """One measure of a clip. A value of None could not be measured, and passes."""

    reason: str  # of REASONS
    value: float | None
    limit: float | None = None

    @property
    def passed(self) -> bool:
        if self.limit is None:
            return False  # nothing to measure: the video itself is at fault
        if self.value is None:
            return True
        if self.reason in AT_LEAST:
            return self.value >= self.limit
        return abs(self.value) <= self.limit

    @property
    def sentence(self) -> str:
        return REASONS[self.reason].format(value=self.value, limit=self.limit)


def check(limits: Limits, **values: float | None) -> list[Check]:
    """Checks of measures that `limits` has a field for."""
    return [Check(reason, value, getattr(limits, reason)) for reason, value in values.items()]


def first_failed(checks: Sequence[Check]) -> Check | None:
    return next((one for one in checks if not one.passed), None)


def measured(checks: Sequence[Check]) -> dict[str, float | None]:
    """What was measured, rounded, by reason."""
    return {one.reason: None if one.value is None else round(float(one.value), 5) for one in checks}
