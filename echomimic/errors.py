"""Errors a user can cause. Each message is one sentence: what is wrong, where, what to do."""

from __future__ import annotations

from collections.abc import Iterator

LONGEST_REASON = 200  # characters


class EchoMimicError(Exception):
    """Base of every error that is shown to the user as a sentence instead of a traceback."""


class OptionsError(EchoMimicError, ValueError):
    """An option, or a combination of options, that cannot work."""


class WeightsError(EchoMimicError):
    """A model file that is missing, damaged, unsafe, or not what its name says."""


class MediaError(EchoMimicError):
    """A picture, sound or video file that cannot be read or written."""


class PortraitError(EchoMimicError):
    """A portrait that cannot be prepared."""


class LandmarkError(EchoMimicError):
    """Landmarks that cannot be found, read, or used as they are."""


class SamplingError(EchoMimicError):
    """Denoising produced something that is not a picture."""


class RenderError(EchoMimicError):
    """A long render that cannot go on; what is finished is kept."""


class DatasetError(EchoMimicError):
    """Training data that are missing, damaged, or not enough."""


class TrainingError(EchoMimicError):
    """Training that cannot go on; what was learnt so far is kept."""


class EvaluationError(EchoMimicError):
    """Clips, features or scores that cannot be measured or compared."""


def brief(reason: object) -> str:
    """What another library says, in one line and short enough to stand in a sentence: some quote
    half of a damaged file."""
    text = " ".join(str(reason).split())
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}..."


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it was raised from or while they were handled."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
