"""How settings and their values are written: in tables, on axes, in sentences."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from luthier.evaluation.trials import is_number, value_key
from luthier.reporting.numbers import printable

__all__ = ["distinct_labels", "setting_names", "written_settings", "written_value"]

LONGEST_VALUE = 40
"""Characters of a value that are shown; a template has hundreds."""


def setting_names(paths: Iterable[str]) -> dict[str, str]:
    """The last part of each dotted path, or as many parts as tell it from the others.

    Examples:
        >>> setting_names(["tuning.epochs", "head.seed", "tuning.seed"])
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


def distinct_labels(values: Iterable[Any], longest: int = LONGEST_VALUE) -> dict[str, str]:
    """A label for each value by `value_key`, numbers by size first; those that are cut to the same text are numbered.

    Examples:
        >>> distinct_labels([10, 2.0, 10, "Rate this", "Rate that"], 6)
        {'2': '2', '10': '10', '"Rate that"': 'Rate… (1)', '"Rate this"': 'Rate… (2)'}
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


def written_settings(settings: Mapping[str, Any]) -> str:
    """Settings on one line.

    Examples:
        >>> written_settings({"tuning.epochs": 10, "tuning.learning_rate_multiplier": 0.21429})
        'epochs 10, learning_rate_multiplier 0.2143'
    """
    names = setting_names(settings)
    return ", ".join(f"{printable(names[path])} {written_value(value)}" for path, value in settings.items())


def _ends_with(path: str, ending: str) -> bool:
    return path == ending or path.endswith(f".{ending}")
