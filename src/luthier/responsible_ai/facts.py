"""What a scorecard says of the model and the rows, taken from the model, the store and the predictions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from luthier.evaluation.metric_names import metric_name
from luthier.evaluation.resampling import Interval
from luthier.evaluation.scorecard import DataFacts, ModelFacts, ReportedMetric
from luthier.scoring.scored_model import Model
from luthier.tasks.prediction import STATES, Prediction
from luthier.tasks.task import Rows, Task
from luthier.techniques import Decision, FineTune, Prompt
from luthier.tracking.runs import version_of
from luthier.tracking.stores import connect

__all__ = ["data_facts", "model_facts", "reported_metrics"]


def model_facts(model: Model) -> ModelFacts:
    """What is assessed; its purpose is what a person wrote as the description of the registered model."""
    import mlflow

    spec = model.spec
    connect()
    version = version_of(model.uri)
    registered = None if version is None else mlflow.MlflowClient().get_registered_model(version[0])
    return ModelFacts(
        uri=model.uri,
        name=spec.name,
        version=None if version is None else "/".join(version),
        technique=spec.technique,
        base_model=spec.base_model,
        address=spec.endpoint.address if spec.endpoint is not None else None,
        columns=spec.columns,
        fitted_digest=model.fitted.digest,
        train_digest=model.fitted.train_digest,
        prompt=spec.prompt_text if isinstance(spec, Prompt | Decision) else "",
        purpose=(registered.description or "") if registered is not None else "",
    )


def data_facts(task: Task, name: str, rows: Rows, predictions: Sequence[Prediction]) -> DataFacts:
    """The rows, and the states of what was answered; labels and confidences are counted where answers are labels."""
    states = Counter(prediction.state for prediction in predictions)
    texts = [text for text in rows.texts if text is not None]
    closed = bool(task.labels)
    scored = [max(prediction.scores) for prediction in predictions if closed and prediction.scores is not None]
    tenths = Counter(min(int(10 * confidence), 9) for confidence in scored)
    return DataFacts(
        name=name,
        digest=rows.digest,
        rows=len(rows),
        labelled=sum(label is not None for label in rows.labels),
        labels=Counter(label for label in rows.labels if closed and label is not None),
        states={state: states[state] for state in STATES},
        missing=sum(prediction.transient for prediction in predictions),
        answers=Counter(one.value for one in predictions if closed and one.value is not None),
        confidences=tuple(tenths[tenth] for tenth in range(10)) if scored else (),
        non_ascii=_non_ascii(texts),
    )


def reported_metrics(model: Model, measured: Mapping[str, Interval]) -> tuple[ReportedMetric, ...]:
    """The figures that the service reported of a fine-tuned model and that were also measured here."""
    import mlflow
    from mlflow.exceptions import MlflowException

    spec = model.spec
    if not isinstance(spec, FineTune) or spec.tuned is None or spec.tuned.run_id is None:
        return ()
    connect()
    try:
        figures = mlflow.get_run(spec.tuned.run_id).data.metrics
    except MlflowException:
        # The job's run is in another store, or deleted: then nothing is known of what was reported.
        return ()
    named = {metric_name(name): value for name, value in figures.items()}
    return tuple(ReportedMetric(name, named[name], found) for name, found in measured.items() if name in named)


def _non_ascii(texts: Sequence[str]) -> float:
    characters = sum(map(len, texts))
    plain = sum(len(text) if text.isascii() else sum(map(str.isascii, text)) for text in texts)
    return 1 - plain / characters if characters else 0.0
