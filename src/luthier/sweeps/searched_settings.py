"""One setting of a search space: which values it may take, and where it applies."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import Any, Literal

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from luthier.documents import described
from luthier.errors import SpecError
from luthier.spec.setting_paths import plain_value
from luthier.truncation import one_line

__all__ = ["EXPONENT", "SearchedSetting", "read_setting"]

Kind = Literal["choice", "int", "uniform", "log_uniform"]

KINDS: dict[str, Kind] = {"choice": "choice", "int": "int", "uniform": "uniform", "log_uniform": "log_uniform"}

EXAMPLES = "a list of values, {int: [1, 20]}, {uniform: [0, 1]} or {log_uniform: [0.05, 2]}"

EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")
"""Numbers that YAML reads as texts: to YAML 1e-4 is a word, and only 1.0e-4 a number."""

BOOLEAN = "is a boolean: YAML reads yes, no, on, off, true and false so. Put it in quotes if it is a word"

LONGEST_NAME = 60
"""Characters of a text that Optuna keeps as it is; a longer one, as templates are, is kept by its place in the list."""


@dataclass(frozen=True)
class SearchedSetting:
    """A setting that trials vary.

    Attributes:
        path: its dotted path.
        kind: `choice` of a list, `int` and `uniform` between two bounds, `log_uniform` so that each order of magnitude
            is tried as often.
        values: the list of a choice; the lowest and the highest value of the others.
        step: distance of neighbouring values; `None` for choices and where every number may be tried.
        when: the setting applies only where each of these settings has one of these values.
    """

    path: str
    kind: Kind
    values: tuple[Any, ...]
    step: float | None = None
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    @cached_property
    def names(self) -> tuple[Any, ...]:
        """The values of a choice as Optuna keeps them: blocks and long texts by their place and their beginning."""
        short = all(
            value is None or isinstance(value, bool | int | float) or (isinstance(value, str) and _is_short(value))
            for value in self.values
        )
        # Optuna cannot tell 1 from true.
        if short and len(set(self.values)) == len(self.values):
            return self.values
        return tuple(
            f"{place}: {one_line(str(value), LONGEST_NAME)}" for place, value in enumerate(self.values, start=1)
        )

    @cached_property
    def distribution(self) -> BaseDistribution:
        """The values as Optuna has them."""
        if self.kind == "choice":
            return CategoricalDistribution(self.names)
        low, high = self.values
        if self.kind == "int":
            return IntDistribution(low, high, step=int(self.step or 1))
        return FloatDistribution(low, high, log=self.kind == "log_uniform", step=self.step)

    @property
    def size(self) -> int | None:
        """Number of values; `None` where there is no end of them."""
        if self.kind == "choice":
            return len(self.values)
        low, high = self.values
        return None if self.step is None else round((high - low) / self.step) + 1

    def value_of(self, kept: Any) -> Any:
        """The value of the setting by what Optuna keeps of it."""
        if self.kind == "choice":
            return self.values[self.names.index(kept)] if self.names is not self.values else kept
        # 0.1 + 0.2 is to read as 0.3.
        return float(f"{kept:.12g}") if self.step is not None and self.kind == "uniform" else kept

    def kept_of(self, value: Any) -> Any:
        """What Optuna keeps for a value that the setting may take."""
        place = self._place(value)
        assert place is not None
        if self.kind == "choice":
            return self.names[place]
        return int(value) if self.kind == "int" else float(value)

    def holds(self, value: Any) -> bool:
        """Whether the setting may take a value."""
        return self._place(value) is not None

    def applies(self, settings: Mapping[str, Any]) -> bool:
        """Whether the setting is to be set beside those that it depends on."""
        return all(
            path in settings and any(_is_same(value, settings[path]) for value in values)
            for path, values in self.when.items()
        )

    def document(self) -> dict[str, Any]:
        """The setting as YAML has it, written out in full."""
        written: dict[str, Any] = {self.kind: list(self.values)}
        if self.step is not None and not (self.kind == "int" and self.step == 1):
            written["step"] = self.step
        if self.when:
            written["when"] = {path: list(values) for path, values in self.when.items()}
        return written

    def _place(self, value: Any) -> int | None:
        """The place of a value in a choice, 0 within bounds; `None` where the space does not hold it."""
        if self.kind == "choice":
            return next((place for place, one in enumerate(self.values) if _is_same(one, value)), None)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        low, high = self.values
        if not low <= value <= high:
            return None
        steps = 0.0 if self.step is None else (value - low) / self.step
        return 0 if abs(steps - round(steps)) < 1e-6 else None


def read_setting(path: str, given: Any, kinds: frozenset[type] | None, source: str) -> SearchedSetting:
    """The setting that one line of `space:` describes.

    Args:
        path: its dotted path.
        given: as YAML has it, or in Python.
        kinds: classes of the values that the spec takes there, from `kinds_of`; `None` where any may stand.
        source: the path and where it stands, for messages.

    Raises:
        SpecError: it describes no two values, or such as the setting does not have.
    """
    rule = given if isinstance(given, Mapping) else {"choice": given}
    if not isinstance(given, Mapping) and not _is_list(given):
        raise SpecError(
            f"{source}: {described(given)} is one value, which belongs into the spec; to search, give {EXAMPLES}."
        )
    unknown = [str(key) for key in rule if key not in (*KINDS, "step", "when")]
    if unknown:
        near = get_close_matches(unknown[0].replace("-", "_"), [*KINDS, "step", "when"], 1, 0.6)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise SpecError(f"{source}: {unknown[0]!r} is unknown; give {EXAMPLES}, and perhaps step and when.{hint}")
    named = [kind for key, kind in KINDS.items() if key in rule]
    if len(named) != 1:
        said = " and ".join(named) if named else "no values"
        raise SpecError(f"{source}: it has {said}; give one of these: {EXAMPLES}.")
    kind = named[0]
    values = rule[kind]
    when = _conditions(rule.get("when"), source)
    if kind == "choice":
        if "step" in rule:
            raise SpecError(f"{source}: step goes with int and uniform; a choice has its values in a list.")
        return SearchedSetting(path, kind, _choices(values, kinds, source), None, when)
    low, high = _bounds(kind, values, source)
    if kind != "int" and kinds is not None and int in kinds and float not in kinds:
        raise SpecError(f"{source}: the setting takes whole numbers only; write {{int: [{low:g}, {high:g}]}}.")
    step = _step(kind, rule.get("step"), low, high, source)
    return SearchedSetting(path, kind, (low, high), step, when)


def _choices(given: Any, kinds: frozenset[type] | None, source: str) -> tuple[Any, ...]:
    if not _is_list(given) or not len(given):
        raise SpecError(f"{source}: a choice is a list of values, as in [4, 8, 16]; given: {described(given)}.")
    values = tuple(_value(value, kinds, source) for value in given)
    for place, value in enumerate(values):
        if any(_is_same(value, before) for before in values[:place]):
            said = "null" if value is None else f"{value!r:.60}"
            raise SpecError(f"{source}: {said} is there twice; give each value once.")
    return values


def _value(given: Any, kinds: frozenset[type] | None, source: str) -> Any:
    """A value of a choice, as JSON has it."""
    value = _as_json(plain_value(given), source)
    if isinstance(value, bool) and kinds is not None and bool not in kinds:
        raise SpecError(f"{source}: {str(value).lower()} {BOOLEAN}.")
    if isinstance(value, str) and kinds is not None and str not in kinds and EXPONENT.fullmatch(value):
        return float(value)
    return value


def _as_json(value: Any, source: str) -> Any:
    """A value with the keys that JSON gives it, so that it is the same after it was stored."""
    if isinstance(value, Mapping):
        for key in value:
            if isinstance(key, bool):
                raise SpecError(f"{source}: the key {str(key).lower()} {BOOLEAN}.")
        return {str(key): _as_json(inner, source) for key, inner in value.items()}
    if _is_list(value):
        return [_as_json(inner, source) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise SpecError(f"{source}: {value} is no number to try.")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if hasattr(value, "item"):
        return _as_json(value.item(), source)
    raise SpecError(f"{source}: {described(value)} cannot stand in a spec; give texts, numbers, lists or blocks.")


def _bounds(kind: Kind, given: Any, source: str) -> tuple[Any, Any]:
    example = {"int": "int: [1, 20]", "uniform": "uniform: [0, 1]"}.get(kind, "log_uniform: [0.05, 2]")
    if not _is_list(given) or len(given) != 2:
        count = f"{len(given)} values" if _is_list(given) else described(given)
        raise SpecError(f"{source}: {kind} has the lowest and the highest value, as in {{{example}}}; given: {count}.")
    low, high = (_number(value, source) for value in given)
    if kind == "int":
        for value in (low, high):
            if value != int(value):
                raise SpecError(
                    f"{source}: int goes from one whole number to another; given: {value:g}. "
                    f"For any number between them write {{uniform: [{low:g}, {high:g}]}}."
                )
        low, high = int(low), int(high)
    if kind == "log_uniform" and low <= 0:
        raise SpecError(
            f"{source}: log_uniform goes from {low:g}, and only numbers above 0 have a logarithm. "
            "Begin above 0, or write uniform."
        )
    if low >= high:
        swapped = f" Write {kind}: [{high:g}, {low:g}]." if low > high else " One value belongs into the spec itself."
        raise SpecError(f"{source}: the lowest value {low:g} is not below the highest, {high:g}.{swapped}")
    return low, high


def _number(given: Any, source: str) -> float:
    if isinstance(given, str) and EXPONENT.fullmatch(given):
        return float(given)
    if hasattr(given, "item"):
        given = given.item()
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        raise SpecError(f"{source}: a bound is a number; given: {described(given)}.")
    return given if isinstance(given, int) else float(given)


def _step(kind: Kind, given: Any, low: float, high: float, source: str) -> float | None:
    if given is None:
        return 1 if kind == "int" else None
    step = _number(given, source)
    if kind == "log_uniform":
        raise SpecError(f"{source}: step goes with int and uniform; for numbers by magnitude write a list of values.")
    if step <= 0 or (kind == "int" and step != int(step)):
        raise SpecError(f"{source}: step is a {'whole ' if kind == 'int' else ''}number above 0; given: {step:g}.")
    steps = (high - low) / step
    if abs(steps - round(steps)) > 1e-6 or not round(steps):
        last = float(f"{low + math.floor(steps + 1e-9) * step:.12g}")
        instead = f"end at {last:g}" if last > low else f"take a step of at most {high - low:g}"
        raise SpecError(f"{source}: steps of {step:g} from {low:g} do not reach {high:g}; {instead}.")
    return int(step) if kind == "int" else step


def _conditions(given: Any, source: str) -> dict[str, tuple[Any, ...]]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not given:
        raise SpecError(
            f"{source}: when names settings of the space with a value or a list of values, as in "
            f"when: {{head.method: automl}}; given: {described(given)}."
        )
    found = {str(path): tuple(values) if _is_list(values) else (values,) for path, values in given.items()}
    for path, values in found.items():
        if not values:
            raise SpecError(f"{source}: when: {path} has an empty list, so the setting would never apply.")
    return {path: tuple(_as_json(plain_value(value), source) for value in values) for path, values in found.items()}


def _is_list(given: Any) -> bool:
    return isinstance(given, Sequence) and not isinstance(given, str | bytes)


def _is_same(one: Any, other: Any) -> bool:
    """Whether two values are the same to a spec: 1 and 1.0 are, 1 and true are not."""
    return (isinstance(one, bool), one) == (isinstance(other, bool), other)


def _is_short(text: str) -> bool:
    return len(text) <= LONGEST_NAME and "\n" not in text
