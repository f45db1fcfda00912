"""Specs that differ only in the seed of their examples, and how much their figures differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from luthier.evaluation.leaderboard import Leaderboard
from luthier.evaluation.spread import Spread, spread_of
from luthier.spec import Spec
from luthier.tasks.crossed_names import prompt_and_model
from luthier.techniques import Prompt

__all__ = ["SEED", "spreads_of"]

SEED = "prompt.examples.seed"
"""The setting that draws other examples and changes nothing else."""

LONGEST_SETTING = 24


def spreads_of(specs: Sequence[Spec], board: Leaderboard) -> tuple[Spread, ...]:
    """For every grid that tries several seeds of examples: the ranking metric of the seeds, setting by setting."""
    metric = board.ranked_by
    values = {entry.name: entry.metrics[metric].value for entry in board.entries if metric in entry.metrics}
    grids: dict[tuple[str, ...], list[Spec]] = {}
    for spec in specs:
        point = spec.grid_point
        if point is not None and SEED in point.settings and spec.name in values:
            _, model = prompt_and_model(spec.name)
            grids.setdefault((model, point.grid, point.name, *point.settings), []).append(spec)
    found = []
    for (model, *_), members in grids.items():
        groups: dict[str, list[float]] = {}
        titles = _titles([spec.grid_point.settings for spec in members if spec.grid_point is not None])
        for spec, title in zip(members, titles, strict=True):
            group = groups.setdefault(f"{model}, {title}" if model else title, [])
            # Without examples, or with the nearest ones, the seed changes nothing: equal results count once.
            if not group or not isinstance(spec, Prompt) or spec.prompt.examples.is_drawn:
                group.append(values[spec.name])
        if any(len(group) > 1 for group in groups.values()):
            found.append(spread_of(groups, metric, measure=board.measure))
    return tuple(found)


def _titles(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each point is called, seed aside: the settings that vary, long ones by their place among the values."""
    paths = [path for path in points[0] if path != SEED]
    seen = {path: list(dict.fromkeys(_written(point[path]) for point in points)) for path in paths}
    varying = [path for path in paths if len(seen[path]) > 1] or paths[:1]
    return [", ".join(_title(path, _written(point[path]), seen[path]) for path in varying) or "all" for point in points]


def _title(path: str, value: str, among: Sequence[str]) -> str:
    short = value if len(value) <= LONGEST_SETTING else str(among.index(value) + 1)
    return f"{path.split('.')[-1]} {short}"


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
