"""The page's section on sampling."""

from __future__ import annotations

from typing import Any

from .sentences import number, table

WORTH = 0.1  # of the time


def sampling(section: dict[str, Any]) -> list[str]:
    protocol, settings = section["protocol"], section["settings"]
    timing = protocol["timing"]
    own, names = section["own"], list(next(iter(settings.values()))["measures"])
    lines = [
        "## 4. Sampling",
        "",
        f"{protocol['people']} people driven by voice and by landmarks, {protocol['frames']} "
        "frames each, one factor at a time around the model's own setting "
        f"({', '.join(f'{name} {value}' for name, value in protocol['own'].items())}); steps and "
        "guidance, and steps and schedulers, also together. *Calls* are the windows that the UNet "
        "sees, with guidance each twice. Seconds are those of the processor per second of video, "
        f"one thread, by the line {number(timing['fixed'])} + {number(timing['each'])} × calls "
        "through what the films took, portrait and voice included: they are measured one after "
        "another, and the machine's speed drifts (they lie "
        f"{timing['deviation']:.0%} off the line, as a standard deviation). Mouth amplitude and "
        "the distances of section 1 do not judge here: an amplitude of 1 is best, not a larger "
        "one, and the distances need more films.",
        "",
        "![Quality against time of all settings](evaluation/sampling.png)",
        "",
    ]
    for name, chosen in section["fronts"].items():
        on = "is" if own in chosen else "is not"
        lines.append(
            f"- Front of {name} against time: {'; '.join(chosen)}. "
            f"The model's own setting {on} on it."
        )
    lines += ["", *_advice(section), ""]
    for factor, chosen in section["factors"].items():
        rows = [[setting, str(settings[setting]["calls"]), number(settings[setting]["seconds"]),
                 *(number(settings[setting]["measures"][name]["mean"]) for name in names),
                 _against(settings[setting])] for setting in dict.fromkeys(chosen)]  # fmt: skip
        heading = ["setting", "calls", "seconds", *names, "against the own"]
        lines += [f"**{factor}**", "", *table(heading, rows), ""]
    return lines


def _advice(section: dict[str, Any]) -> list[str]:
    hairs = ", ".join(f"{name} {hair:g}" for name, hair in section["hairs"].items())
    cheapest, ahead = section["cheapest"], section["ahead"]
    better = "; ".join(f"{one} ({_share(section, one)})" for one in ahead) or "no setting"
    return [
        f"Better and worse is what differs from the model's own by more than a hair ({hairs}), "
        "with an asterisk where Student's interval over the films excludes 0. "
        f"The cheapest setting that is worse in no measure is **{cheapest}** "
        f"({_share(section, cheapest)}). Better in at least one measure and worse in none: "
        f"{better}.",
        "",
        _decision(section),
    ]


def _decision(section: dict[str, Any]) -> str:
    """What follows for the defaults, by a rule."""
    saved = 1 - _seconds(section, section["cheapest"]) / _seconds(section, section["own"])
    return (
        f"A default is changed for a setting that is worse in no measure and saves {WORTH:.0%} of "
        "the time: "
        + (
            f"here, to **{section['cheapest']}**."
            if saved >= WORTH
            else "there is none here, so **the defaults stay**. What takes longer is for the user "
            "to choose."
        )
    )


def _share(section: dict[str, Any], setting: str) -> str:
    return f"{_seconds(section, setting) / _seconds(section, section['own']):.0%} of the time"


def _seconds(section: dict[str, Any], setting: str) -> float:
    return section["settings"][setting]["seconds"]


def _against(row: dict[str, Any]) -> str:
    parts = [
        f"{word}: {', '.join(one.replace(', ', ' ') for one in row[word])}"
        for word in ("better", "worse")
        if row[word]
    ]
    return "; ".join(parts) or "–"
