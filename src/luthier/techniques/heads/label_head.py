"""The head over one label a row: a classifier or a regression on the vectors, chosen by cross-validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from luthier.providers.exchange import Conversation
from luthier.spec import Fitted, Spec
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import Rows, Task
from luthier.techniques.heads.answering import kept_while_used, label_values, share_predictions
from luthier.techniques.heads.automl import search_estimators
from luthier.techniques.heads.head import Head, HeadMethod, LearnedHead, refused_of_single_texts
from luthier.techniques.heads.learners import EstimatorChoice, Predictor, TrainedModel
from luthier.techniques.heads.probabilities import HeadScorer
from luthier.techniques.heads.row_texts import RowTexts
from luthier.techniques.heads.training_set import TrainingSet, assign_folds, labels_present, training_labels
from luthier.techniques.heads.trials import Trial, TrialRunner, plain, run_paths

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = ["LabelHead"]

STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Inverse regularisation of logistic regressions on standardised vectors, from strong to weak."""

PENALTIES = (10_000.0, 3_000.0, 1_000.0, 300.0, 100.0, 30.0, 10.0)
"""Of ridge regression, likewise."""

PATHS: Mapping[str, tuple[tuple[EstimatorChoice, ...], ...]] = {
    "logistic": tuple(
        tuple(
            EstimatorChoice("logistic", "classifier", {"C": strength, "class_weight": weight}) for strength in STRENGTHS
        )
        for weight in (None, "balanced")
    ),
    "ordinal": (tuple(EstimatorChoice("ordinal", "ordinal", {"C": strength}) for strength in STRENGTHS),),
    "regression": (tuple(EstimatorChoice("ridge", "regressor", {"alpha": penalty}) for penalty in PENALTIES),),
}


class LabelHead:
    """Gives one label of a closed set; the methods are `logistic`, `ordinal`, `regression` and `automl`."""

    def refusal(self, method: HeadMethod, task: Task) -> str | None:
        """`ordinal` and `regression` need labels with an order."""
        if method in ("ordinal", "regression") and not task.ordered:
            return f"head {method} is for ratings; task {task.name!r} has no order: take logistic or automl"
        return refused_of_single_texts(method, task)

    def training_rows(self, spec: Spec, rows: Rows | None) -> tuple[list[RowTexts], list[str]]:
        """Texts and labels of the training rows that have both."""
        return training_labels(spec, rows)

    def can_learn(self, spec: Spec, truths: Sequence[str]) -> bool:
        """Whether there are two labels."""
        return len(set(truths)) > 1

    def learn(
        self, spec: Spec, head: Head, texts: Sequence[RowTexts], truths: Sequence[str], vectors: Sequence[Floats]
    ) -> Conversation[LearnedHead]:
        """Chooses settings by cross-validation, scored by the objective, then trains on all rows."""
        training_set = _training_set(spec, texts, truths, vectors[0])
        scorer = HeadScorer(training_set.values, spec.objective)
        runner = TrialRunner(training_set, scorer, spec.seed, "AutoML" if head.method == "automl" else "head")
        if head.method == "automl":
            yield from search_estimators(runner, trials=head.most_trials, seconds=head.seconds)
        else:
            yield from run_paths(runner, PATHS[head.method])
        trained = yield from runner.train_best()
        won = runner.best
        assert won is not None
        thresholds = None
        if won.score is not None:
            thresholds = scorer.thresholds(training_set.targets[training_set.judged], won.probabilities)
        choice = won.choice
        return LearnedHead(
            arrays=trained.arrays,
            trials=runner.trials,
            notes=[*_label_notes(spec, training_set.labels, texts, truths), _selection_note(runner.trials, won)],
            state={
                "labels": list(training_set.labels),
                "head": {
                    "estimator": choice.estimator,
                    "as": choice.output,
                    "settings": plain(choice.settings),
                    "spread": won.spread,
                },
                "cuts": None if thresholds is None else list(thresholds),
            },
            files=trained.files,
        )

    def predictions(self, fitted: Fitted, vectors: Sequence[Floats], calls: Sequence[CallRecord]) -> list[Prediction]:
        """The label that suits the objective, with the probability of each label."""
        return share_predictions(fitted, kept_while_used(fitted, _predictor).probabilities(vectors[0]), calls)


def _training_set(spec: Spec, texts: Sequence[RowTexts], labels: Sequence[str], vectors: Floats) -> TrainingSet:
    import numpy as np

    present = labels_present(spec, labels)
    return TrainingSet(
        vectors=vectors,
        targets=np.array([present.index(label) for label in labels]),
        labels=present,
        values=label_values(spec.task, present),
        ordered=spec.task.ordered,
        folds=np.array(assign_folds(texts, labels, spec.seed)),
    )


def _label_notes(spec: Spec, present: Sequence[str], texts: Sequence[RowTexts], labels: Sequence[str]) -> list[str]:
    """What a reader should know of labels that were hardly seen."""
    notes = []
    missing = [label for label in spec.task.labels if label not in present]
    if missing:
        notes.append(f"No training row is labelled {', '.join(missing)}: always given probability 0.")
    times = Counter(label for _, label in set(zip(texts, labels, strict=True)))
    alone = [label for label in present if times[label] == 1]
    if alone:
        notes.append(f"Only one training text is labelled {', '.join(alone)}: learned, and never held out.")
    return notes


def _selection_note(trials: Sequence[Mapping[str, Any]], won: Trial) -> str:
    settings = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in won.choice.settings.items()
    )
    kind = " fitted as a regression" if won.choice.output == "regressor" else ""
    what = f"{won.choice.estimator}{kind} with {settings}" if settings else won.choice.estimator + kind
    if won.score is None:
        return f"Too few training rows to hold any out: {what} was taken without a comparison."
    return (
        f"The classifier on the embeddings is the best of {len(trials)} cross-validated on the training rows: {what} "
        f"({trials[0]['measure']} {won.score:.4f})."
    )


def _predictor(fitted: Fitted) -> Predictor:
    values = label_values(fitted.spec.task, fitted.state["labels"])
    head = fitted.state["head"]
    return Predictor(TrainedModel(fitted.arrays, fitted.files), head["as"], values, head["spread"])
