"""AutoML by FLAML: its search spaces and its cost-frugal optimiser, one trial at a time.

FLAML's own loop runs until its time is over. Here its optimiser proposes settings and `TrialRunner` tries them, so
that the search can be watched and stopped, scored by the objective of the spec, and repeated with a number of trials.
"""

from __future__ import annotations

import importlib
import importlib.util
import random
from collections.abc import Mapping
from typing import Any, cast

from luthier.errors import MissingPart
from luthier.providers.exchange import Conversation
from luthier.techniques.heads.learners import EstimatorChoice, EstimatorName, tree_library
from luthier.techniques.heads.probabilities import OutputKind
from luthier.techniques.heads.training_set import TrainingSet
from luthier.techniques.heads.trials import TrialRunner, plain

__all__ = ["check_parts", "search_estimators"]

PARTS = {"flaml": "flaml", "lightgbm": "lightgbm", "xgboost": "xgboost-cpu"}
"""Modules the search needs, and the packages that contain them."""

KINDS: tuple[tuple[EstimatorName, OutputKind], ...] = (
    ("logistic", "classifier"),
    ("ordinal", "ordinal"),
    ("ridge", "regressor"),
    ("lgbm", "classifier"),
    ("xgboost", "classifier"),
    ("xgb_limitdepth", "classifier"),
    ("lgbm", "regressor"),
    ("xgboost", "regressor"),
    ("xgb_limitdepth", "regressor"),
)
"""The kinds of models, cheap ones first; `ordinal` and `regressor` are for ratings."""

LINEAR_MODEL = 20.0
"""Cost of a linear model, in trees."""

TIMES_ASKED = 20
"""Proposals in a row without new settings after which a kind counts as exhausted."""


def check_parts() -> None:
    """Raises where AutoML is not installed.

    Raises:
        MissingPart: a package or a system library is missing; the message has what to type.
    """
    missing = [package for module, package in PARTS.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingPart(
            f"head automl needs {', '.join(missing)}, which is not installed; "
            'type: pip install "luthier[automl]", or choose head: logistic, which needs nothing more'
        )
    tree_library("lightgbm")
    tree_library("xgboost")


def search_estimators(runner: TrialRunner, *, trials: int | None, seconds: float | None) -> Conversation[None]:
    """Tries kinds of models with settings, up to a number of trials or for a time.

    Every kind is tried once with its cheapest settings; then kinds are drawn, each with a probability inverse to the
    estimated cost of its next improvement (FLAML's rule, Wang et al. 2021). Cost is counted in trees, not in seconds,
    so that the same rows and seed give the same trials. When the time is over, the trial in progress is dropped.
    """
    drawn = random.Random(runner.seed)
    kinds = [
        _Kind(*kind, runner.training_set, runner.seed)
        for kind in KINDS
        if runner.training_set.ordered or kind[1] == "classifier"
    ]
    # Counted from here: importing FLAML takes seconds.
    until = None if seconds is None else runner.seconds + seconds
    while trials is None or len(runner.trials) < trials:
        if until is not None and runner.seconds >= until and runner.best is not None:
            return
        open_kinds = [kind for kind in kinds if not kind.exhausted]
        if not open_kinds:
            return
        kind = next((kind for kind in open_kinds if not kind.losses), None)
        if kind is None:
            least = min(kind.losses[-1] for kind in kinds if kind.losses)
            weights = [1 / kind.cost_of_a_gain(least) for kind in open_kinds]
            kind = drawn.choices(open_kinds, weights)[0]
        settings = kind.ask()
        if settings is None:
            continue
        choice = EstimatorChoice(kind.estimator, kind.output, settings)
        trial = yield from runner.run(choice, trials=trials, until=until)
        if trial is None or trial.score is None:
            return
        kind.tell(runner.scorer.loss(trial.score), work_of(choice, runner.training_set))


def work_of(choice: EstimatorChoice, training_set: TrainingSet) -> float:
    """The cost of a trial, in trees."""
    if "n_estimators" not in choice.settings:
        return LINEAR_MODEL
    several = choice.output == "classifier" and len(training_set.labels) > 2
    return float(choice.settings["n_estimators"] * (len(training_set.labels) if several else 1))


class _Kind:
    """One kind of model: its optimiser, and the costs and losses of its trials."""

    def __init__(self, estimator: EstimatorName, output: OutputKind, training_set: TrainingSet, seed: int) -> None:
        from flaml.tune.searcher.blendsearch import CFO

        self.estimator, self.output = estimator, output
        self.exhausted = False
        self.losses: list[float] = []
        """The best loss after each improvement, falling."""
        self._spent = 0.0
        self._spent_at: list[float] = []
        every, start, cheap = _space(estimator, output, training_set)
        domains = {name: domain for name, domain in every.items() if not _is_one_value(domain)}
        # With a handful of rows some settings have one value, which makes the optimiser divide by zero.
        self._given = {name: domain.lower for name, domain in every.items() if name not in domains}
        start, cheap = ({name: one[name] for name in one if name in domains} for one in (start, cheap))
        self._optimiser = CFO(
            metric="loss",
            mode="min",
            space=domains,
            low_cost_partial_config=cheap,
            points_to_evaluate=[start],
            seed=seed,
            cost_attr="cost",
        )
        self._asked = 0
        self._proposed: dict[str, Any] = {}

    def ask(self) -> dict[str, Any] | None:
        """Settings to try next; `None` if it has no new ones."""
        for _ in range(TIMES_ASKED):
            self._asked += 1
            found = self._optimiser.suggest(str(self._asked))
            if found:
                self._proposed = found
                return plain({**self._given, **found})
        self.exhausted = True
        return None

    def tell(self, loss: float, cost: float) -> None:
        """Records the loss and the cost of the settings it gave last."""
        self._spent += cost
        result = {"loss": loss, "cost": cost, "config": self._proposed}
        self._optimiser.on_trial_complete(str(self._asked), result)
        if not self.losses or loss < self.losses[-1]:
            self.losses.append(loss)
            self._spent_at.append(self._spent)

    def cost_of_a_gain(self, least: float) -> float:
        """The estimated cost until this kind is better than the best of all."""
        last = self._spent_at[-1]
        before = self._spent_at[-2] if len(self._spent_at) > 1 else 0.0
        own = max(self._spent - last, last - before)
        gap = self.losses[-1] - least
        if gap <= 0:
            return own
        gained = self.losses[-2] - self.losses[-1] if len(self.losses) > 1 else gap
        return max(own, 2 * gap * (self._spent - before) / max(gained, 1e-12))


def _is_one_value(domain: Any) -> bool:
    from flaml.tune.sample import Integer

    low, high = getattr(domain, "lower", None), getattr(domain, "upper", None)
    if low is None or high is None:
        return False
    # The upper end of FLAML's whole numbers is excluded.
    return bool(high - 1 <= low if isinstance(domain, Integer) else high <= low)


def _space(
    estimator: EstimatorName, output: OutputKind, training_set: TrainingSet
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Domains of the settings, those the search starts from, and those that make a trial cheap."""
    from flaml import tune

    if estimator in ("logistic", "ordinal"):
        domains: dict[str, Any] = {"C": tune.loguniform(1e-4, 10)}
        start: dict[str, Any] = {"C": 0.01}
        if estimator == "logistic":
            domains["class_weight"] = tune.choice([None, "balanced"])
            start["class_weight"] = None
        return domains, start, {}
    if estimator == "ridge":
        return {"alpha": tune.loguniform(1.0, 1e5)}, {"alpha": 1000.0}, {}
    model = importlib.import_module("flaml.automl.model")
    kind = {
        "lgbm": model.LGBMEstimator,
        "xgboost": model.XGBoostSklearnEstimator,
        "xgb_limitdepth": model.XGBoostLimitDepthEstimator,
    }[estimator]
    task = "regression" if output == "regressor" else "classification"
    described = cast("Mapping[str, Mapping[str, Any]]", kind.search_space(training_set.vectors.shape, task=task))
    return (
        {name: one["domain"] for name, one in described.items()},
        {name: one["init_value"] for name, one in described.items() if "init_value" in one},
        {name: one["low_cost_init_value"] for name, one in described.items() if "low_cost_init_value" in one},
    )
