"""How settings, figures and states of trials are written: in tables, on axes, on lines of a log."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from luthier.reporting.numbers import Unit, metric_format, metric_title, number, printable
from luthier.sweeps.trial import SweepObjective, TrialStatus

__all__ = [
    "STATUS_WORDS",
    "distinct_labels",
    "figure_title",
    "figure_unit",
    "is_number",
    "short_names",
    "value_key",
    "written_seconds",
    "written_settings",
    "written_value",
    "written_values",
]

STATUS_WORDS: dict[TrialStatus, str] = {
    "running": "running",
    "paused": "paused",
    "interrupted": "interrupted",
    "complete": "complete",
    "pruned": "stopped early",
    "failed": "failed",
}
"""What people read for a status."""

COST = "cost_usd"
"""What a trial cost: an objective that is no metric of a task."""

LONGEST_VALUE = 40
"""Characters of a value that are shown; a template has hundreds."""


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """The last part of each dotted path, or as many parts as tell it from the others.

    Examples:
        >>> short_names(["tuning.epochs", "head.seed", "tuning.seed"])
        {'tuning.epochs': 'epochs', 'head.seed': 'head.seed', 'tuning.seed': 'tuning.seed'}
    """
    known = list(dict.fromkeys(paths))
    names: dict[str, str] = {}
    for path in known:
        parts = path.split(".")
        endings = (".".join(parts[-count:]) for count in range(1, len(parts) + 1))
        names[path] = next(
            (ending for ending in endings if sum(_ends_with(other, ending) for other in known) == 1), path
        )
    return names


def written_value(value: Any, longest: int = LONGEST_VALUE) -> str:
    """A value on one line.

    Examples:
        >>> written_value(0.00012345), written_value(10), written_value(0.5), written_value(True), written_value(None)
        ('0.0001234', '10', '0.5', 'true', 'null')
        >>> written_value("Stars for: {{ text }}", 10), written_value({"count": 3})
        ('Stars for…', '{"count": 3}')
    """
    if isinstance(value, float):
        text = f"{value:.4g}"
    elif isinstance(value, str):
        text = printable(value)
    else:
        text = printable(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def value_key(value: Any) -> str:
    """What tells values of a setting apart: a choice may be a block, which has no hash."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def distinct_labels(values: Iterable[Any], longest: int = LONGEST_VALUE) -> dict[str, str]:
    """A label for each value by `value_key`, numbers by size first; those that are cut to the same text are numbered.

    Examples:
        >>> distinct_labels([10, 2.0, 10, "Rate this", "Rate that"], 6)
        {'2.0': '2', '10': '10', '"Rate that"': 'Rate… (1)', '"Rate this"': 'Rate… (2)'}
    """
    given = list(values)
    others = sorted((value for value in given if not is_number(value)), key=value_key)
    ordered = [*sorted(filter(is_number, given)), *others]
    known = {value_key(value): value for value in ordered}
    texts = {key: written_value(value, longest) for key, value in known.items()}
    twice = {text for text, count in Counter(texts.values()).items() if count > 1}
    place: Counter[str] = Counter()
    labels = {}
    for key, text in texts.items():
        place[text] += 1
        labels[key] = f"{text} ({place[text]})" if text in twice else text
    return labels


def is_number(value: Any) -> bool:
    """Whether it is one that lies on an axis; `True` is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def written_settings(settings: Mapping[str, Any]) -> str:
    """Settings on one line.

    Examples:
        >>> written_settings({"tuning.epochs": 10, "tuning.learning_rate_multiplier": 0.21429})
        'epochs 10, learning_rate_multiplier 0.2143'
    """
    names = short_names(settings)
    return ", ".join(f"{printable(names[path])} {written_value(value)}" for path, value in settings.items())


def figure_title(metric: str) -> str:
    """The title of a metric or of an objective.

    Examples:
        >>> figure_title("weighted_f1"), figure_title("cost_usd"), figure_title("valid_loss")
        ('weighted F1', 'cost of the trial', 'valid_loss')
    """
    return "cost of the trial" if metric == COST else metric_title(metric)


def figure_unit(metric: str) -> Unit:
    """How its values are written: with three decimals, as the best trials differ in the third.

    Examples:
        >>> figure_unit("weighted_f1"), figure_unit("cost_usd"), figure_unit("latency_p50_seconds")
        ('fine', 'usd', 'seconds')
    """
    unit = "usd" if metric == COST else metric_format(metric)
    return "fine" if unit in ("share", "number") else unit


def written_values(objectives: Sequence[SweepObjective], values: Sequence[float]) -> str:
    """What a trial reached, by the titles of the objectives.

    Examples:
        >>> written_values([SweepObjective("qwk", "maximize"), SweepObjective("cost_usd", "minimize")], [0.6, 0.04])
        'QWK .600, cost of the trial $0.04'
    """
    pairs = zip(objectives, values, strict=False)
    return ", ".join(f"{figure_title(one.metric)} {_written(value, figure_unit(one.metric))}" for one, value in pairs)


def written_seconds(seconds: float) -> str:
    """A time as a clock shows it.

    Examples:
        >>> written_seconds(8.2), written_seconds(130), written_seconds(7205)
        ('0:08', '2:10', '2:00:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _written(value: float, unit: Unit) -> str:
    return f"{'$' if unit == 'usd' else ''}{number(value, unit)}"


def _ends_with(path: str, ending: str) -> bool:
    return path == ending or path.endswith(f".{ending}")
