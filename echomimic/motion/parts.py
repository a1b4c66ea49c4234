"""Which parts of a face drive it, how strongly, and where they are moved by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import OptionsError, brief
from ..landmarks.mesh import DRAWN_BY_DEFAULT, PARTS

MAX_GAIN = 2.0
MAX_SCALE = 10.0


def _check_part(part: str) -> None:
    if part not in PARTS:
        raise OptionsError(f"A face has no part {part!r}; it has {', '.join(PARTS)}.")


def _check_gain(name: str, gain: float) -> None:
    if not 0 <= gain <= MAX_GAIN:
        raise OptionsError(f"The {name} is {gain}; give 0 to {MAX_GAIN:g}.")


@dataclass(frozen=True)
class PartEdit:
    """Where a part is at one time; between two of them it moves evenly."""

    time: float = 0.0  # seconds
    offset: tuple[float, float] = (0.0, 0.0)  # right and down, in shares of the face's width
    scale: float = 1.0  # about the part's centre
    rotation: float = 0.0  # degrees, clockwise in the picture, about the part's centre

    def __post_init__(self) -> None:
        numbers = {"time": self.time, "scale": self.scale, "rotation": self.rotation}
        for name, number in numbers.items():
            if not math.isfinite(number):
                raise OptionsError(f"The {name} of an edit is {number}; give a number.")
        if len(self.offset) != 2 or not all(map(math.isfinite, self.offset)):
            raise OptionsError(
                f"The offset of an edit is {self.offset}; give two numbers, right and down."
            )
        if not 0 <= self.scale <= MAX_SCALE:
            raise OptionsError(f"The scale of an edit is {self.scale}; give 0 to {MAX_SCALE:g}.")


@dataclass(frozen=True)
class PartSetting:
    """How one part of the face is used."""

    on: bool = True  # drawn, so that the landmarks decide it and not the voice
    gain: float = 1.0  # 0 keeps its neutral shape, 2 doubles its expression
    edits: tuple[PartEdit, ...] = ()

    def __post_init__(self) -> None:
        _check_gain("gain of a part", self.gain)


@dataclass(frozen=True)
class PartSelection:
    """A setting for every part of the face, and how much of the head's movement is kept."""

    parts: Mapping[str, PartSetting] = field(
        default_factory=lambda: {part: PartSetting(part in DRAWN_BY_DEFAULT) for part in PARTS}
    )
    head_gain: float = 1.0

    def __post_init__(self) -> None:
        for part in self.parts:
            _check_part(part)
        settings = {part: self.parts.get(part, PartSetting(on=False)) for part in PARTS}
        object.__setattr__(self, "parts", settings)
        _check_gain("gain of the head", self.head_gain)

    @property
    def drawn(self) -> frozenset[str]:
        return frozenset(part for part, setting in self.parts.items() if setting.on)

    def with_gains(self, gains: Mapping[str, float]) -> PartSelection:
        """Each part's gain multiplied by the one given for it."""
        return self._changed(
            {part: {"gain": self.parts[part].gain * gains[part]} for part in gains}
        )

    def with_edits(self, edits: Mapping[str, tuple[PartEdit, ...]]) -> PartSelection:
        """With these edits instead of its own for each part that is given."""
        return self._changed({part: {"edits": keys} for part, keys in edits.items()})

    def _changed(self, changes: Mapping[str, dict[str, Any]]) -> PartSelection:
        settings = {
            part: replace(setting, **changes.get(part, {})) for part, setting in self.parts.items()
        }
        return replace(self, parts=settings)


def _of_parts(parts: Iterable[str], gain: float = 1.0) -> PartSelection:
    return PartSelection({part: PartSetting(part in parts, gain) for part in PARTS})


PRESETS: dict[str, PartSelection] = {
    "all but mouth": PartSelection(),  # the official setting for a voice with landmarks
    "all": _of_parts(set(PARTS) - {"contour"}),
    "eyes and brows": _of_parts({"left_eye", "right_eye", "left_brow", "right_brow", "pupils"}),
    "head pose only": _of_parts(DRAWN_BY_DEFAULT, gain=0.0),
}


def preset(name: str) -> PartSelection:
    """One of `PRESETS`; raises `OptionsError` for another name."""
    if name not in PRESETS:
        raise OptionsError(f"There is no preset {name!r} of parts; choose {', '.join(PRESETS)}.")
    return PRESETS[name]


def selection_of(names: Iterable[str]) -> PartSelection:
    """Exactly these parts drawn, unchanged; raises `OptionsError` for one a face has not."""
    names = set(names)
    for name in names:
        _check_part(name)
    return _of_parts(names)


def selection_from_json(text: str) -> PartSelection:
    """From {"on": [parts], "gains": {part: gain}, "head_gain": 1, "edits": [...]}, all optional.

    Without "on" the parts of "all but mouth" are drawn. Edits are as `edits_from_json` takes
    them. Raises `OptionsError` which says what is wrong and where.
    """
    entries = _dict(_loaded(text, "part selection"), "The part selection")
    _check_keys(entries, {"on", "gains", "head_gain", "edits"}, "The part selection")
    drawn = entries.get("on", sorted(DRAWN_BY_DEFAULT))
    if not isinstance(drawn, list) or not all(isinstance(part, str) for part in drawn):
        raise OptionsError('"on" of the part selection must be a list of parts; write ["mouth"].')
    gains = _dict(entries.get("gains", {}), '"gains" of the part selection')
    for part in gains:
        _check_part(part)
    numbers = {part: _number(gain, f"The gain of {part}") for part, gain in gains.items()}
    selection = selection_of(drawn).with_gains(numbers)
    head_gain = _number(entries.get("head_gain", 1.0), "The gain of the head")
    edits = _edits(entries.get("edits", []))
    return replace(selection.with_edits(edits), head_gain=head_gain)


def edits_from_json(text: str) -> dict[str, tuple[PartEdit, ...]]:
    """Edits per part, in order of time, from a list; an empty text holds none.

    Each is {"part": "mouth", "time": 1.5, "offset": [0, 0.1], "scale": 1, "rotation": 0}, of
    which only "part" is needed. Raises `OptionsError` which names the edit and the key.
    """
    return _edits(_loaded(text, "list of edits")) if text.strip() else {}


def _edits(entries: Any) -> dict[str, tuple[PartEdit, ...]]:
    if not isinstance(entries, list):
        raise OptionsError('The edits must be a list; write [{"part": "mouth", "scale": 1.2}].')
    keyed: dict[str, dict[float, PartEdit]] = {}
    for number, entry in enumerate(entries, start=1):
        part, edit = _edit(entry, f"Edit {number}")
        keyed.setdefault(part, {})[edit.time] = edit  # a later one replaces one of that time
    return {part: tuple(edits[time] for time in sorted(edits)) for part, edits in keyed.items()}


def _edit(entry: Any, name: str) -> tuple[str, PartEdit]:
    entry = _dict(entry, name)
    _check_keys(entry, {"part", "time", "offset", "scale", "rotation"}, name)
    if not isinstance(entry.get("part"), str):
        raise OptionsError(f'{name} names no "part"; a face has {", ".join(PARTS)}.')
    _check_part(entry["part"])
    offset = entry.get("offset", [0.0, 0.0])
    if not isinstance(offset, list) or len(offset) != 2:
        raise OptionsError(f'The "offset" of {name.lower()} must be two numbers, [right, down].')
    numbers = {
        key: _number(entry.get(key, default), f'The "{key}" of {name.lower()}')
        for key, default in (("time", 0.0), ("scale", 1.0), ("rotation", 0.0))
    }
    x, y = (_number(share, f'The "offset" of {name.lower()}') for share in offset)
    return entry["part"], PartEdit(offset=(x, y), **numbers)


def _loaded(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise OptionsError(
            f"The {what} is not valid JSON ({brief(error)}); correct it there."
        ) from error


def _dict(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise OptionsError(f"{name} must be an object in braces, not {value!r:.40}.")
    return value


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not _finite(value):
        raise OptionsError(f"{name} must be a number, not {value!r:.40}.")
    return float(value)


def _finite(value: float) -> bool:
    return abs(value) < 1e9  # NaN is not either


def _check_keys(entries: dict[str, Any], known: set[str], name: str) -> None:
    unknown = sorted(set(entries) - known)
    if unknown:
        raise OptionsError(
            f'{name} has an unknown key "{unknown[0]}"; it may have {", ".join(sorted(known))}.'
        )
