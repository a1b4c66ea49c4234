"""What a training run does: a YAML file, read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_type_hints

import yaml

from ..errors import OptionsError

T = TypeVar("T")

STAGES = ("vae", "audio", "stage1", "stage2")
RECIPES = Path(__file__).parent / "recipes"  # those that come with the package


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
        for name in ("steps", "batch_size", "log_every", "save_every", "keep_last"):
            if getattr(self, name) < 1:
                raise OptionsError(f"{name} must be 1 or more, not {getattr(self, name)}.")
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
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise OptionsError(f"{path} is not valid YAML ({reason}); correct it.") from None
    if not isinstance(values, Mapping):
        raise OptionsError(f"{path} is not a recipe: it must be a mapping of settings.")
    stages = values.get("stages") or {}
    options = {
        name: strict(StageOptions, given, f"stage {name!r} of {path}")
        for name, given in stages.items()
    }
    return strict(Recipe, {"name": path.stem, **values, "stages": options}, str(path))


def strict(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """A settings dataclass from a mapping, dataclasses inside it included.

    Raises `OptionsError` for a key that does not exist, is missing, or has a value of another
    kind than expected.
    """
    hints, known = get_type_hints(kind), {item.name: item for item in fields(kind)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise OptionsError(f"{where} has no setting {unknown[0]!r}; it has {', '.join(known)}.")
    for name, item in known.items():
        if item.default is MISSING and item.default_factory is MISSING and name not in values:
            raise OptionsError(f"{where} lacks {name!r}; add it.")
    made = {}
    for name, value in values.items():
        if is_dataclass(hints[name]) and isinstance(value, Mapping):
            value = strict(hints[name], value, f"{where}, {name}")
        made[name] = tuple(value) if isinstance(value, list) else value
    try:
        return kind(**made)
    except TypeError as error:
        raise OptionsError(f"{where} has a value of the wrong kind ({error}).") from None
