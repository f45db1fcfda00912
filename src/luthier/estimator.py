"""A spec as a scikit-learn classifier, for pipelines, cross-validation and searches over its settings."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from luthier.engine.budget import Budget
from luthier.engine.default_engine import default_engine
from luthier.errors import DataError, Partial, SpecError
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Conversation
from luthier.tables import frame_of, series_of
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

__all__ = ["Estimator"]

OWN_PARAMS = ("spec", "budget_usd")


class _FittableSpec(Protocol):
    # A spec as far as an estimator knows it: `Spec.estimator` makes estimators, so this module cannot import `Spec`.
    @property
    def name(self) -> str: ...
    @property
    def task(self) -> Task: ...
    @property
    def endpoint(self) -> Endpoint | None: ...
    def fit(self, rows: Rows | None) -> Conversation[Any]: ...
    def check_columns(self, columns: Any, source: str = "the table") -> None: ...
    def settings(self) -> dict[str, Any]: ...
    def with_settings(self, settings: Mapping[str, Any]) -> Self: ...


class Estimator(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A spec that scikit-learn can fit, clone, cross-validate and search over.

    `X` is a Series, a list or an array of texts, a DataFrame of one column, or a table with the columns the spec
    reads. `y` holds labels of the task in any dtype; predictions have that dtype.

    `classes_` are the labels of the task, ascending, including those that are not in `y`: a model may answer any of
    them. Nothing is logged to MLflow. Answers are kept in the journal, so a request that another fold or another call
    has made is not paid again.

    Args:
        spec: the recipe; its settings are parameters too, as in `spec__head` or `spec__prompt__examples__count`.
        budget_usd: most that one call of `fit` or `predict` may spend.

    Examples:
        >>> import luthier as lt
        >>> task = lt.Task("mood", labels=["bad", "good"])
        >>> texts, moods = ["good soup", "bad soup", "good bread", "bad bread"] * 3, ["good", "bad"] * 6
        >>> model = lt.Baseline(task).estimator().fit(texts, moods)
        >>> model.predict(["good cake"]).tolist(), model.classes_.tolist()
        (['good'], ['bad', 'good'])
    """

    def __init__(self, spec: _FittableSpec, *, budget_usd: float | None = None) -> None:
        self.spec = spec
        self.budget_usd = budget_usd

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803
        """Fits the spec on labelled texts.

        Args:
            X: the texts, or a table that holds them.
            y: a label of the task for each.

        Raises:
            DataError: X or y is of another form, a label is not one of the task's, or X and y differ in length.
            SpecError: the spec cannot be fitted on these rows.
            BudgetReached: the budget is spent.
        """
        task = self.spec.task
        if not task.labels:
            raise SpecError(
                f"an estimator is a classifier, and task {task.name!r} is of type "
                f"{task.type!r}{task.kind.made_by}; use compare and log."
            )
        if y is None:
            raise DataError("y is missing: an estimator is fitted on a label for each text.")
        given = np.asarray(y)
        if given.ndim != 1 and given.shape[1:] != (1,):
            raise DataError(f"y has shape {given.shape}; give one label for each text, in one dimension.")
        given = given.ravel()
        frame = self._frame(X)
        if len(frame) != len(given):
            raise DataError(f"X has {len(frame)} rows and y {len(given)}; give a label for each text.")
        if given.dtype.kind in "iu" and (given == 0).any() and task.canonical_label(0) is None:
            raise DataError(
                f"y holds 0, which is no label of task {task.name!r} ({', '.join(task.labels)}). `cross_val_predict` "
                "with method='predict_proba' numbers the labels anew, from 0: fit on each fold and call predict_proba."
            )
        # A column of that name in X is left alone by scikit-learn's rules: the truth is y.
        labelled = frame.drop(columns=task.label, errors="ignore")
        labelled[task.label] = series_of(given.tolist()).to_numpy()
        rows = task.rows(labelled, labelled=True, source="the training table")
        self.classes_, self._places = _classes(task, given, rows.labels)
        counts = Counter(rows.labels)
        self._shares = np.array([counts[task.labels[place]] / len(rows) for place in self._places])
        self.fitted_ = default_engine().drive(self.spec.fit(rows), self.spec.endpoint, budget=self._budget())
        return self

    def predict(self, X: Any) -> npt.NDArray[Any]:  # noqa: N803
        """A label for each text, in the dtype of the training labels.

        A row the model has no label for (`off_label`, `refused`, `empty`) gets the most frequent label of the training
        rows; a warning says how many rows there are.

        Raises:
            DataError: X is of another form, or a column is missing.
            Partial: some rows have no answer yet; the same call asks for them again.
        """
        task = self.spec.task
        predictions = self._predictions(X)
        usual = int(np.argmax(self._shares))
        places = {task.labels[place]: at for at, place in enumerate(self._places)}
        chosen = [usual if p.label is None else places[p.label] for p in predictions]
        found: npt.NDArray[Any] = self.classes_[np.array(chosen, dtype=int)]
        return found

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:  # noqa: N803
        """A probability per text and class, shape (texts, classes); the training shares where the model has no label.

        Raises:
            SpecError: the spec reads its label from text and gives no probabilities.
            DataError: as for `predict`.
            Partial: as for `predict`.
        """
        predictions = self._predictions(X)
        lacking = sum(p.label is not None and p.probabilities is None for p in predictions)
        if lacking:
            raise SpecError(
                f"{self.spec.name!r} gave {lacking} of {len(predictions)} labels without probabilities; where the "
                "endpoint returns log-probabilities, set `answer: {method: score}`."
            )
        found = [
            self._shares if p.probabilities is None else np.array(p.probabilities)[self._places] for p in predictions
        ]
        return np.array(found, dtype=float).reshape(len(found), len(self.classes_))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The spec and the budget; with `deep` the spec's settings too, as `spec__NAME`."""
        settings = _flat(self.spec.settings(), "spec") if deep else ()
        return {name: getattr(self, name) for name in OWN_PARAMS} | dict(settings)

    def set_params(self, **params: Any) -> Self:
        """Sets the spec, the budget, or settings of the spec.

        Raises:
            SpecError: the spec has no such setting, or it contradicts another.
        """
        for name in OWN_PARAMS:
            if name in params:
                setattr(self, name, params.pop(name))
        unknown = [name for name in params if not name.startswith("spec__")]
        if unknown:
            raise SpecError(
                f"no parameter {', '.join(unknown)}; there are: {', '.join(OWN_PARAMS)}, and spec__NAME for each "
                "setting of the spec."
            )
        if params:
            changed = {name.removeprefix("spec__").replace("__", "."): value for name, value in params.items()}
            self.spec = self.spec.with_settings(changed)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.target_tags.one_d_labels = True
        tags.no_validation = True
        return tags

    def _budget(self) -> Budget | None:
        return None if self.budget_usd is None else Budget(self.budget_usd)

    def _frame(self, given: Any) -> pd.DataFrame:
        text = self.spec.task.text
        frame = frame_of(given, "X", text=text)
        if text not in frame.columns and len(frame.columns) == 1:
            # Pipelines and column transformers rename what passes through them.
            frame = frame.set_axis([text], axis="columns")
        self.spec.check_columns(frame.columns, "X")
        return frame

    def _predictions(self, given: Any) -> Sequence[Prediction]:
        check_is_fitted(self, "fitted_")
        frame = self._frame(given)
        if not len(frame):
            return []
        rows = self.spec.task.rows(frame, source="X")
        predictions: Sequence[Prediction] = default_engine().drive(
            self.fitted_.predict(rows), self.spec.endpoint, budget=self._budget()
        )
        owed = sum(p.transient for p in predictions)
        if owed:
            raise Partial(f"{owed:,} of {len(rows):,} rows have no answer yet; call again to ask for them.")
        states = Counter(p.state for p in predictions if p.label is None)
        if states:
            why = ", ".join(f"{count:,} {state}" for state, count in states.items())
            warnings.warn(
                f"{states.total():,} of {len(rows):,} rows have no label from {self.spec.name!r} ({why}); the most "
                "frequent label of the training rows stands in for them.",
                stacklevel=3,
            )
        return predictions


def _classes(task: Task, given: npt.NDArray[Any], labels: Sequence[str | None]) -> tuple[npt.NDArray[Any], list[int]]:
    """Every label of the task in the dtype of `y`, ascending, and the position of each in the task."""
    seen = dict(zip(labels, given.tolist(), strict=True))
    kinds = {type(value) for value in seen.values()}
    kind = kinds.pop() if len(kinds) == 1 else str
    values = [seen[label] if label in seen else _as_given(label, kind) for label in task.labels]
    try:
        order = sorted(range(len(values)), key=values.__getitem__)
    except TypeError:
        order = sorted(range(len(values)), key=lambda place: str(values[place]))
    ordered = [values[place] for place in order]
    return np.array(ordered, dtype=object if given.dtype == object else None), order


def _as_given(label: str, kind: type) -> Any:
    """A label that is not in `y`, as `y` would hold it."""
    if kind not in (int, float):
        return label.lower() == "true" if kind is bool else label
    try:
        return kind(label)
    except ValueError:
        raise DataError(f"y holds numbers, but the task has the label {label!r}; give the labels as texts.") from None


def _flat(settings: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    """Nested settings by name, with `__` between the levels."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}__{key}")
        else:
            yield f"{above}__{key}", value
