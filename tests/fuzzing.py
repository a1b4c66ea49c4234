"""Damaged and hostile input, from Hypothesis: always the same cases, quickly made."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture import providers

from echomimic.errors import EchoMimicError

if hasattr(providers.HypothesisProvider, "_local_constants"):
    # Else it mixes in numbers from the source of all that is imported: other cases every time.
    providers.HypothesisProvider._local_constants = property(lambda _: providers.Constants())

HEADER = 256  # bytes in which half of the damage is done: most of a format is decided there
EXTREMES = (0, 1, -1, 2**31 - 1, -(2**31), 2**16, 0x7FC00000, 0x7F800000)  # NaN and infinity
WORD = re.compile(rb'"[^"\n]*"|[\w.+-]+')
TOKENS = (
    b"null", b"true", b"-1", b"0", b"1.5", b"NaN", b"-Infinity", b"1e999", b"9" * 30, b"9" * 5000,
    b'""', b'"x"', b"[]", b"{}", b"[0]", b'{"a": 1}', b"[" * 3000, b"\xff\xfe", b"\x00",
)  # fmt: skip
YAML_TOKENS = (
    *TOKENS, b"!!python/object/apply:os.system ['false']", b"!!timestamp x", b"2001-99-99",
    b"!!int x", b"!!bool x", b"*a", b"&a [*a]", b"? {a: b}", b".nan", b".inf", b"- -", b"'''",
    b"&a [1, &b [*a, *a], &c [*b, *b]]",
)  # fmt: skip

EDITS = st.lists(
    st.tuples(
        st.sampled_from(("flip", "set", "cut", "drop", "repeat", "number")),
        st.one_of(st.integers(0, HEADER - 1), st.integers(HEADER, 2**16)),
        st.integers(0, 255),
    ),
    max_size=4,
)


def cases(number: int) -> Callable[[Any], Any]:
    """So many cases: the same in every run, without a clock, a database or shrinking.

    `ECHOMIMIC_FUZZ=10` looks at ten times as many, others in every run.
    """
    times = int(os.environ.get("ECHOMIMIC_FUZZ", "1"))
    return settings(
        max_examples=number * times,
        derandomize=times == 1,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def damaged(content: bytes, edits: list[tuple[str, int, int]]) -> bytes:
    """The content after edits (kind, place, number); places from `HEADER` on are shares of 2^16."""
    for kind, place, number in edits:
        at = place if place < HEADER else place * len(content) >> 16
        content = _edited(content, kind, min(at, max(0, len(content) - 1)), number)
    return content


def _edited(content: bytes, kind: str, at: int, number: int) -> bytes:
    before, here, after = content[:at], content[at : at + 1], content[at + 1 :]
    if kind == "flip":
        return before + bytes(byte ^ (1 << number % 8) for byte in here) + after
    if kind == "set":
        return before + bytes([number]) * len(here) + after
    if kind == "cut":
        return before
    if kind == "drop":
        return before + content[at + number :]
    if kind == "repeat":
        return content[: at + number] + content[at:]
    value = EXTREMES[number % len(EXTREMES)] & 0xFFFFFFFF
    return before + struct.pack("<>"[number % 2] + "I", value) + content[at + 4 :]


def words(tokens: tuple[bytes, ...] = TOKENS) -> st.SearchStrategy:
    """Edits for `reworded`: (which word, what to put there)."""
    return st.lists(
        st.tuples(st.integers(0, 2**16), st.sampled_from(tokens)), min_size=1, max_size=3
    )


def reworded(text: bytes, edits: list[tuple[int, bytes]]) -> bytes:
    """The text with some of its words, numbers and strings replaced."""
    for place, token in edits:
        found = list(WORD.finditer(text))
        if found:
            start, end = found[place % len(found)].span()
            text = text[:start] + token + text[end:]
    return text


def ends_well(read: Callable[..., Any], *args: Any, error: type[Exception] = EchoMimicError) -> Any:
    """What `read` returns; None where it raised one of our errors, which says it in one line."""
    try:
        return read(*args)
    except error as found:
        message = str(found)
        assert message and "\n" not in message and len(message) < 2000, f"no sentence: {message}"
        return None


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
