"""What a training run does: a YAML file, read strictly."""

from __future__ import annotations

import math
import reprlib
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from ..errors import OptionsError, brief

T = TypeVar("T")

STAGES = ("vae", "decoder", "audio", "stage1", "stage2")
RECIPES = Path(__file__).parent / "recipes"  # those that come with the package
YAML_ERRORS = (  # what the parser raises for texts that are no YAML or break its own types
    yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, ArithmeticError,
    RecursionError,
)  # fmt: skip
COUNTS = ("steps", "batch_size", "micro_batch", "log_every", "save_every", "keep_last")
COUNTS_OR_NONE = ("warmup_steps", "validate_every", "workers")


@dataclass(frozen=True)
class StageOptions:
    """How one stage is optimised; `settings` are its own (see the stage)."""

    steps: int
    batch_size: int = 32  # samples per step, of all processes together
    micro_batch: int | None = None  # samples per forward and process; None: as many as possible
    learning_rate: float = 1e-5
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 1e-2
    warmup_steps: int = 0
    cosine_from: float = 1.0  # share of the steps after which the rate falls to a hundredth
    clip_norm: float = 1.0
    ema_decay: float = 0.0  # 0: none
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    gradient_checkpointing: bool = False
    workers: int = 0
    log_every: int = 10
    validate_every: int = 0  # 0: at the end only
    save_every: int = 500
    keep_last: int = 2
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for names, least in ((COUNTS, 1), (COUNTS_OR_NONE, 0)):
            for name in names:
                value = getattr(self, name)
                if value is not None and value < least:
                    raise OptionsError(f"{name} must be {least} or more, not {value}.")
        if self.learning_rate <= 0 or self.clip_norm <= 0:
            raise OptionsError("learning_rate and clip_norm must be more than 0.")
        if not all(0 <= share < 1 for share in (*self.betas, self.ema_decay)):
            raise OptionsError("betas and ema_decay must be 0 or more and less than 1.")
        if self.micro_batch is not None and self.batch_size % self.micro_batch:
            raise OptionsError(
                f"batch_size ({self.batch_size}) must be a multiple of micro_batch "
                f"({self.micro_batch}), or samples would not count the same."
            )


@dataclass(frozen=True)
class Recipe:
    """A whole training run."""

    name: str
    seed: int
    variant: str  # whose files it makes, of `config.VARIANTS`
    model: dict[str, Any]  # shapes of the networks, or `start` from a folder of files
    data: dict[str, Any]
    stages: dict[str, StageOptions]  # in the order in which they run

    def __post_init__(self) -> None:
        if not self.stages:
            raise OptionsError("The recipe has no stages; add at least one.")
        for name in self.stages:
            if name not in STAGES:
                raise OptionsError(f"There is no stage {name!r}; there are {', '.join(STAGES)}.")


def read_recipe(path: Path | str) -> Recipe:
    """A recipe from a file, or by the name of one that comes with the package.

    Raises `OptionsError` for a file that is not there, is no YAML, or has an unknown key.
    """
    bundled = RECIPES / f"{path}.yaml"
    path = bundled if bundled.is_file() else Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        names = ", ".join(sorted(p.stem for p in RECIPES.glob("*.yaml")))
        raise OptionsError(
            f"{path} cannot be read ({error.strerror}); give a recipe file or one of {names}."
        ) from None
    except YAML_ERRORS as error:
        raise OptionsError(f"{path} is not valid YAML ({brief(error)}); correct it.") from None
    if not isinstance(values, Mapping):
        raise OptionsError(f"{path} is not a recipe: it must be a mapping of settings.")
    stages = _fitted(dict[str, Any], values.get("stages", {}), f"stages of {path}")
    options = {
        name: _fitted(StageOptions, given, f"stage {name!r} of {path}")
        for name, given in stages.items()
    }
    return strict(Recipe, {"name": path.stem, **values, "stages": options}, str(path))


def strict(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """A settings dataclass from a mapping, dataclasses inside it included.

    Raises `OptionsError` for a key that does not exist or is missing, and for a value of another
    kind than expected, or that the dataclass refuses.
    """
    hints, known = get_type_hints(kind), {item.name: item for item in fields(kind)}
    unknown = sorted(set(values) - set(known), key=str)
    if unknown:
        raise OptionsError(f"{where} has no setting {unknown[0]!r}; it has {', '.join(known)}.")
    for name, item in known.items():
        if item.default is MISSING and item.default_factory is MISSING and name not in values:
            raise OptionsError(f"{where} lacks {name!r}; add it.")
    made = {
        name: _fitted(hints[name], value, f"{name} of {where}") for name, value in values.items()
    }
    try:
        return kind(**made)
    except OptionsError as error:
        raise OptionsError(f"{where}: {error}") from None


def _fitted(kind: Any, value: Any, where: str) -> Any:
    """A value read from YAML as the type of its setting. Raises `OptionsError` if it is none."""
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind) and isinstance(value, Mapping):
        return strict(kind, value, where)
    if origin in (Union, types.UnionType):
        return None if value is None else _fitted(arguments[0], value, where)
    if origin is tuple and isinstance(value, (list, tuple)):
        kinds = arguments[:1] * len(value) if arguments[-1] is ... else arguments
        if len(kinds) == len(value):
            return tuple(_fitted(k, v, where) for k, v in zip(kinds, value, strict=True))
    if origin is Literal and value is False:
        value = "no"  # YAML reads a bare `no` as false
    if kind is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        value = _number(value)  # YAML reads `1e-5`, without a point, as text
    fits = value in arguments if origin is Literal else _is(origin or kind, value)
    if not fits:
        raise OptionsError(f"{where} must be {_said(kind)}, not {reprlib.repr(value):.80}.")
    return value


def _number(value: int | str) -> float | int | str:
    try:
        return float(value)
    except (ValueError, OverflowError):
        return value


def _is(kind: Any, value: Any) -> bool:
    if kind is Any:
        return True
    if kind is float and isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, Mapping) if kind is dict else type(value) is kind


def _said(kind: Any) -> str:
    """A type in the words of whoever writes a recipe."""
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if is_dataclass(kind) or get_origin(kind) is dict:
        return "a mapping of settings"
    if get_origin(kind) is tuple:
        return "a list, " + str(kind).removeprefix("tuple")
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return words[kind]
