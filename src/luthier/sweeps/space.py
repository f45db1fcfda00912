"""The space of a sweep: the settings that trials vary, the values each may take, and where it applies."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from luthier.documents import described
from luthier.errors import SpecError
from luthier.providers.redaction import redact
from luthier.spec import Spec
from luthier.spec.digests import TRANSPORT_FIELDS
from luthier.spec.setting_paths import check_path, kinds_of, with_setting
from luthier.sweeps.searched_settings import EXPONENT, SearchedSetting, read_setting
from luthier.techniques.finetune import FineTune
from luthier.tuning.preflight import check_hyperparameter, check_training_type
from luthier.tuning.tuners import Tuner

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

__all__ = ["SearchSpace"]

SAME_ANSWERS = {
    "gates": "requirements change no answer",
    "tuning.suffix": "a name changes no answer",
    **{f"endpoint.{name}": "it changes how an answer is fetched, never what it says" for name in TRANSPORT_FIELDS},
}
"""Settings that are the same for all trials, and why."""

ONE_SERVICE = ("endpoint", "endpoint.provider", "endpoint.base_url")
"""Settings of a fine-tuned spec that would train its trials at several services."""

LONGEST_NAME = 64

TRIED = 20
"""Combinations with other settings that are tried before a value counts as impossible."""


@dataclass(frozen=True)
class SearchSpace:
    """The settings that the trials of a sweep vary.

    Attributes:
        settings: in the order of the YAML.

    Examples:
        >>> from luthier.techniques.embedding import Embedding
        >>> given = {
        ...     "head.method": ["logistic", "automl"],
        ...     "head.trials": {"int": [10, 50], "step": 20, "when": {"head.method": "automl"}},
        ... }
        >>> space = SearchSpace.read(given, Embedding)
        >>> space.size, space.settings_of({"head.method": "logistic", "head.trials": 30})
        (4, {'head.method': 'logistic'})
    """

    settings: tuple[SearchedSetting, ...]

    @classmethod
    def read(cls, given: Any, technique: type[Spec], source: str = "space") -> SearchSpace:
        """The space that a `space:` block describes.

        Args:
            given: dotted paths of settings, each with its values.
            technique: of the spec that is varied.
            source: where the block stands, to begin messages with; empty where something else says so.

        Raises:
            SpecError: a path names no setting, values make no sense or are one only, or a condition is never met.
        """
        start = f"{source}: " if source else ""
        if not isinstance(given, Mapping) or not given:
            raise SpecError(
                f"{start}it has dotted paths of settings with the values to try, as in "
                f"prompt.examples.count: [1, 3, 5]; given: {'an empty block' if given == {} else described(given)}."
            )
        settings = []
        for path, rule in given.items():
            where = f"{start}{path}"
            check_path(str(path), technique, where)
            _check_varies(str(path), technique, where)
            settings.append(read_setting(str(path), rule, kinds_of(str(path), technique), where))
        space = cls(tuple(settings))
        space._check_conditions(start)
        if space.size == 1:
            raise SpecError(
                f"{start}it has one point only, so there is nothing to search; give a second value to try, or put "
                "the values into the spec and measure that: luthier compare, or luthier tune."
            )
        return space

    @property
    def paths(self) -> tuple[str, ...]:
        """Of every setting, in the order of the YAML."""
        return tuple(one.path for one in self.settings)

    @cached_property
    def size(self) -> int | None:
        """Number of points, settings counted only where they apply; `None` where there is no end of them."""
        return self._count(0, {})

    def document(self) -> dict[str, Any]:
        """The space as YAML has it, written out in full; equal for spaces that are."""
        return {one.path: one.document() for one in self.settings}

    def distributions(self) -> dict[str, BaseDistribution]:
        """The values of every setting as Optuna has them, those of conditional settings too."""
        return {one.path: one.distribution for one in self.settings}

    def suggest(self, trial: BaseTrial) -> dict[str, Any]:
        """The settings of a trial, drawn by its sampler; for a trial that has some already, the same and the rest."""
        return self._settings(lambda one: one.value_of(_suggested(trial, one.path, one.distribution)))

    def settings_of(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of a trial by its Optuna parameters; those that do not apply, or are missing, are left out."""
        found: dict[str, Any] = {}
        for one in self._ordered:
            if one.path in params and one.applies(found):
                found[one.path] = one.value_of(params[one.path])
        return found

    def params_of(self, settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """The Optuna parameters of a point; `None` where the space does not hold it."""
        found: dict[str, Any] = {}
        for one in self._ordered:
            if one.applies(settings):
                if one.path not in settings or not one.holds(settings[one.path]):
                    return None
                found[one.path] = one.kept_of(settings[one.path])
        return found

    def spec_for(self, base: Spec, settings: Mapping[str, Any], number: int) -> Spec:
        """The spec of a trial, called by the spec that is varied and the trial's number.

        A setting that does not apply beside the others is left out, even where the spec that is varied has it.

        Raises:
            SpecError: the settings contradict each other.

        Examples:
            >>> import luthier as lt
            >>> mood = lt.Task("mood", labels=["good", "bad"])
            >>> few = lt.Prompt(mood, "{{ text }}", endpoint=lt.openai("some-model"), name="few")
            >>> space = SearchSpace.read({"prompt.examples.count": {"int": [0, 8]}}, lt.Prompt)
            >>> spec = space.spec_for(few, {"prompt.examples.count": 3}, 7)
            >>> spec.name, spec.prompt.examples.count
            ('few-t007', 3)
        """
        document: dict[str, Any] = base.model_dump(mode="json", exclude_defaults=True, exclude={"name"})
        for path in self.paths:
            if path not in settings:
                document = _without(document, path.split("."))
        for path, value in settings.items():
            document = with_setting(document, path, value, f"space: {path}")
        mark = f"-t{number:03}"
        name = base.name[: LONGEST_NAME - len(mark)].rstrip("._-") + mark
        return base.make(document | {"task": base.task, "technique": base.technique, "name": name}, f"trial {number}")

    def check(self, spec: Spec, tuner: Tuner | None) -> None:
        """Refuses values that no trial could have: out of the service's bounds, or none that the spec takes.

        Args:
            spec: the spec that is varied.
            tuner: the service that trains; `None` for a spec that is not fine-tuned.

        Raises:
            SpecError: names the setting, the value, and the bounds.
        """
        if tuner is not None:
            for model in self._models(spec):
                self._check_service(model, tuner)
        for setting in self.settings:
            # The two bounds, or every value of a list.
            for value in setting.values:
                self._check_value(spec, setting, value)

    def _check_service(self, model: str, tuner: Tuner) -> None:
        known = {one.name: one for one in tuner.hyperparameters(model)}
        for setting in self.settings:
            name = setting.path.removeprefix("tuning.")
            elsewhere = model not in self._needs(setting).get("endpoint.model", (model,))
            if elsewhere or name == setting.path or name == "seed":
                continue
            for value in setting.values:
                if name == "training_type":
                    check_training_type(value, model, tuner)
                elif value is not None:
                    check_hyperparameter(name, value, known, tuner)

    def _check_value(self, spec: Spec, setting: SearchedSetting, value: Any) -> None:
        fault: SpecError | None = None
        for point in self._points_with(setting, value):
            try:
                self.spec_for(spec, point, 0)
            except SpecError as error:
                fault = error
            else:
                return
        raise SpecError(
            f"space: {setting.path} cannot be {_said(value)} in any trial. {str(fault).removeprefix('trial 0: ')}"
        )

    def _points_with(self, setting: SearchedSetting, value: Any) -> Iterator[dict[str, Any]]:
        """Points in which a setting has a value: the others at their first values, their last, and at random."""
        fixed = {**self._needs(setting), setting.path: (value,)}
        drawn = random.Random(0)
        choosers: list[Callable[[tuple[Any, ...]], Any]] = [
            lambda values: values[0],
            lambda values: values[-1],
            *[drawn.choice] * TRIED,
        ]
        for choose in choosers:
            yield self._settings(lambda one, choose=choose: choose(fixed.get(one.path, one.values)))  # type: ignore[misc]

    def _models(self, spec: Spec) -> tuple[str, ...]:
        varied = next((one.values for one in self.settings if one.path == "endpoint.model"), None)
        return (spec.base_model,) if varied is None else tuple(map(str, varied))

    def _settings(self, value_for: Callable[[SearchedSetting], Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for one in self._ordered:
            if one.applies(found):
                found[one.path] = value_for(one)
        return found

    @cached_property
    def _by_path(self) -> dict[str, SearchedSetting]:
        return {one.path: one for one in self.settings}

    @cached_property
    def _ordered(self) -> tuple[SearchedSetting, ...]:
        """Every setting after those that it depends on, else in the order of the YAML."""
        found: dict[str, SearchedSetting] = {}

        def place(one: SearchedSetting) -> None:
            for path in one.when:
                place(self._by_path[path])
            found.setdefault(one.path, one)

        for one in self.settings:
            place(one)
        return tuple(found.values())

    def _needs(self, setting: SearchedSetting) -> dict[str, tuple[Any, ...]]:
        """The values that other settings must have for this one to apply, those that they depend on among them."""
        found = dict(setting.when)
        for path in setting.when:
            for other, values in self._needs(self._by_path[path]).items():
                found[other] = tuple(value for value in found.get(other, values) if value in values)
        return found

    def _check_conditions(self, start: str) -> None:
        for one in self.settings:
            where = f"{start}{one.path}"
            within = next((path for path in self.paths if one.path.startswith(f"{path}.")), None)
            if within is not None:
                raise SpecError(f"{where} lies within {within}, which is searched as a whole; search one of them.")
            for path, values in one.when.items():
                self._check_condition(one, path, values, where)
        for one in self.settings:
            self._check_no_circle(one, (), start)
        for one in self.settings:
            never = [path for path, values in self._needs(one).items() if not values]
            if never:
                raise SpecError(
                    f"{start}{one.path} never applies: its own condition and those of the settings it depends on "
                    f"want different values of {never[0]}."
                )

    def _check_condition(self, one: SearchedSetting, path: str, values: tuple[Any, ...], where: str) -> None:
        if path not in self._by_path:
            others = [other for other in self.paths if other != one.path]
            may = f"it may name {', '.join(others)}" if others else "there is no other that it could name"
            raise SpecError(
                f"{where}: when names {path}, which is not searched; {may}. A condition on a setting "
                "that every trial has alike is met or not: leave it out, or leave the setting out of the space."
            )
        parent = self._by_path[path]
        if parent.size is None:
            raise SpecError(
                f"{where}: when names {path}, which may have any value of a range and hardly ever has exactly this "
                "one; give it a list of values or a step."
            )
        for value in values:
            if not parent.holds(value):
                trap = ""
                if isinstance(value, bool):
                    trap = " YAML reads yes, no, on and off as booleans; put words in quotes."
                elif isinstance(value, str) and EXPONENT.fullmatch(value):
                    trap = f" YAML reads {value} as a word; write the number with a dot, as in 1.0e-4."
                allowed = (
                    parent.document() if parent.kind != "choice" else ", ".join(f"{v!r:.40}" for v in parent.values)
                )
                raise SpecError(f"{where}: {path} is never {value!r:.40}; it may be {allowed}.{trap}")

    def _check_no_circle(self, one: SearchedSetting, above: tuple[str, ...], start: str) -> None:
        if one.path in above:
            circle = " -> ".join((*above[above.index(one.path) :], one.path))
            raise SpecError(f"{start}the conditions go round in a circle: {circle}; one must apply without the others.")
        for path in one.when:
            self._check_no_circle(self._by_path[path], (*above, one.path), start)

    def _count(self, place: int, chosen: Mapping[str, Any]) -> int | None:
        """Points of the settings from a place on, given what others were chosen."""
        if place == len(self._ordered):
            return 1
        one = self._ordered[place]
        if not one.applies(chosen):
            return self._count(place + 1, chosen)
        if one.size is None:
            return None
        # Only values that some condition names make a difference to the rest.
        named = {repr(value): value for other in self.settings for value in other.when.get(one.path, ())}
        counts = [self._count(place + 1, {**chosen, one.path: value}) for value in named.values()]
        counts += [self._count(place + 1, chosen)] * (one.size - len(named))
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None


def _check_varies(path: str, technique: type[Spec], source: str) -> None:
    """Refuses a setting that is the same for all trials.

    Raises:
        SpecError: says why.
    """
    fixed = next((why for fixed, why in SAME_ANSWERS.items() if f"{path}.".startswith(f"{fixed}.")), None)
    if fixed is not None:
        raise SpecError(f"{source}: a sweep cannot vary this setting: {fixed}. Put it into the spec.")
    if path.partition(".")[0] == "tuned":
        raise SpecError(
            f"{source}: luthier tune writes this block; a sweep varies what is trained, as in tuning.epochs."
        )
    if path in ONE_SERVICE and issubclass(technique, FineTune):
        raise SpecError(
            f"{source}: the jobs of a sweep are bought at one service; vary endpoint.model, or write a sweep for each "
            "service."
        )


def _suggested(trial: BaseTrial, path: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(path, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(path, distribution.low, distribution.high, step=distribution.step)
    assert isinstance(distribution, FloatDistribution)
    return trial.suggest_float(path, distribution.low, distribution.high, step=distribution.step, log=distribution.log)


def _said(value: Any) -> str:
    """A value for a message; it may be a key that was put in the wrong place."""
    if value is None:
        return "null"
    return redact(f"{value!r:.60}") if isinstance(value, str | bool | int | float) else "one of its blocks"


def _without(document: Mapping[str, Any], parts: list[str]) -> dict[str, Any]:
    """A spec's document without a setting."""
    head, *rest = parts
    if not rest:
        return {name: value for name, value in document.items() if name != head}
    inner = document.get(head)
    return {**document, head: _without(inner, rest)} if isinstance(inner, Mapping) else dict(document)
