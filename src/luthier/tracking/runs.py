"""Runs in MLflow: their tags, what is logged of a spec, of its figures and of tables, and what was fitted before."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.errors import ModelError
from luthier.model_names import ModelName, parse_model_name, parse_tuned_name
from luthier.spec import Fitted, Spec
from luthier.tables import utf8_frame
from luthier.techniques import FineTune, read_fitted
from luthier.techniques.wordings import prompt_digest, wording_of
from luthier.tracking.store_file import REGISTERED

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import Dataset
    from mlflow.entities import Run as MlflowEntity
    from mlflow.entities.model_registry import ModelVersion

    from luthier.evaluation.resampling import Interval
    from luthier.reporting.table import Page

__all__ = [
    "TAGS",
    "MlflowRun",
    "begin_run",
    "fitted_of_run",
    "made_from",
    "model_versions",
    "model_of",
    "run_of",
    "runs_of_fitted",
    "spec_tags",
    "tag_of",
    "version_of",
]

TAGS = {
    "kind": "luthier.kind",
    "task": "luthier.task",
    "spec": "luthier.spec",
    "technique": "luthier.technique",
    "base_model": "luthier.base_model",
    "model_key": "luthier.model_key",
    "partial": "luthier.partial",
    "stopped_after": "luthier.stopped_after_rows",
    "grid": "luthier.grid",
    "adopted_from": "luthier.adopted_from",
    "fitted_digest": "luthier.digest.fitted",
    "spec_digest": "luthier.digest.spec",
    "task_digest": "luthier.digest.task",
    "test_digest": "luthier.digest.test",
    "train_digest": "luthier.digest.train",
    "prompt_digest": "luthier.digest.prompt",
    "prompt_wording": "luthier.prompt_wording",
    "prompt_parent": "luthier.prompt_parent",
    "prompt_how": "luthier.prompt_how",
    "judged_run": "luthier.judged_run",
    "input_digest": "luthier.digest.input",
    "output_digest": "luthier.digest.output",
}
"""Tag names on runs, models and versions; digests apart from what a person reads.

`prompt_digest` is of a prompt's wording, `prompt_parent` that of the wording it was made from, `prompt_how` by what
means, and `prompt_wording` the wording itself as JSON.
"""


def tag_of(tags: Mapping[str, str], name: str) -> str | None:
    """A tag of a run, model or version, also under the name that earlier Luthiers gave it (`luthier.fitted_digest`)."""
    return tags.get(TAGS[name], tags.get(f"luthier.{name}"))


def version_of(model_uri: str) -> tuple[str, str] | None:
    """Name and version of a registered model, by `models:/NAME@ALIAS` or `models:/NAME/VERSION`; else `None`."""
    import mlflow

    named = REGISTERED.fullmatch(model_uri)
    if named is None:
        return None
    name, alias, version = named.groups()
    return name, str(version or mlflow.MlflowClient().get_model_version_by_alias(name, alias).version)


def model_versions(condition: str) -> list[ModelVersion]:
    """Every registered version that meets a condition of `MlflowClient.search_model_versions`."""
    import mlflow

    client = mlflow.MlflowClient()
    found: list[ModelVersion] = []
    token: str | None = None
    while True:
        page = client.search_model_versions(condition, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


MOST_TRIES = 5
"""Tries to write what another process may be writing too."""

LONGEST_TAG = 5000
"""Characters of a tag that every MLflow takes; later ones take 8,000."""

LONGEST_PARAM = 500
"""Characters of a spec's setting shown as an MLflow parameter; the whole spec is an artifact."""

MOST_TABLE_ROWS = 20_000
"""Rows of predictions shown in MLflow's table view, which a browser holds whole; the parquet has all."""

PAGE, CHARTS = "report.html", "charts"
"""Artifacts of a run: its page, and the folder with the page's figures."""

SCORE = "score.json"
"""Artifact of a score: its `ScoreSummary`."""

DIGEST_LENGTH = 36
"""Characters of a dataset's digest that MLflow takes."""

FITTED = "fitted"
"""Artifact folder of a run that holds what was measured."""


@dataclass
class MlflowRun:
    """A run that is written to, by MLflow's id of it."""

    run_id: str

    def log_table(self, frame: pd.DataFrame, *, name: str, context: str, targets: str | None) -> None:
        """Names a table among the run's datasets, by MLflow's own digest of it."""
        import mlflow

        with warnings.catch_warnings():
            # MLflow warns that integer columns cannot hold missing values; nothing is served from this schema.
            warnings.filterwarnings("ignore", message="Hint: Inferred schema contains integer column")
            dataset = mlflow.data.from_pandas(
                utf8_frame(frame), name=name, targets=targets if targets in frame.columns else None
            )
            entity = dataset._to_mlflow_entity()
        self._log_dataset(entity, context)

    def log_dataset(self, source: str, digest: str, rows: int, *, context: str, name: str | None = None) -> None:
        """Names a table that is in no DataFrame among the run's datasets, by a digest of its rows.

        Args:
            source: where it is.
            digest: as hexadecimal digits, of which MLflow keeps the first.
            rows: how many it has.
            context: what it was to the run, such as `input`.
            name: what it is called; the last part of the source when absent.
        """
        from mlflow.entities import Dataset

        name = name or re.split(r"[/\\]", source.rstrip("/\\"))[-1] or source
        place, profile = json.dumps({"uri": source}), json.dumps({"num_rows": rows})
        self._log_dataset(Dataset(name, digest[:DIGEST_LENGTH], "local", place, profile=profile), context)

    def _log_dataset(self, entity: Dataset, context: str) -> None:
        from mlflow.entities import DatasetInput, InputTag
        from mlflow.exceptions import MlflowException

        tags = [InputTag(key="mlflow.data.context", value=context)]
        inputs = [DatasetInput(dataset=entity, tags=tags)]
        for left in reversed(range(MOST_TRIES)):
            try:
                self._client.log_inputs(self.run_id, datasets=inputs)
                return
            except MlflowException as error:
                # MLflow looks for the dataset and then adds it: another run may have added the same one in between.
                if not left or not re.search(r"unique|duplicate", str(error), re.I):
                    raise

    def log_params(self, values: Mapping[str, object]) -> None:
        """Settings as MLflow parameters, long values cut."""
        from mlflow.entities import Param

        params = [Param(key[:250], str(value)[:LONGEST_PARAM]) for key, value in values.items()]
        self._client.log_batch(self.run_id, params=params)

    def log_metrics(self, found: Mapping[str, Interval], rows: int) -> None:
        """Every metric with its bounds as `NAME_low` and `NAME_high`, and how many rows they were computed on."""
        values: dict[str, float] = {"rows_evaluated": rows}
        for name, interval in found.items():
            for suffix, value in (("", interval.value), ("_low", interval.low), ("_high", interval.high)):
                if value is not None:
                    values[name + suffix] = value
        self._log_values([(name, value, 0) for name, value in values.items()])

    def log_spent(self, usd: float | None) -> None:
        """What the run has cost, as the metric `spent_usd`; an unknown price is no number."""
        if usd is not None:
            self._log_values([("spent_usd", usd, 0)])

    def log_spec(self, spec: Spec) -> None:
        """The spec's settings as MLflow parameters, dotted names, short values only."""
        flat: dict[str, str] = {}

        def walk(prefix: str, value: Any) -> None:
            if isinstance(value, dict):
                for key, inner in value.items():
                    walk(f"{prefix}.{key}" if prefix else str(key), inner)
            else:
                flat[prefix] = str(value)

        document = spec.document()
        for key in ("schema", "task"):
            document.pop(key)
        walk("", document)
        if spec.grid_point is not None:
            # A value that is the default is not in the document, and is what the grid is to be plotted by.
            for path, value in spec.grid_point.settings.items():
                walk(path, value)
        self.log_params(flat)
        wording = wording_of(spec)
        text = "" if wording is None else json.dumps(wording, ensure_ascii=False, separators=(",", ":"))
        # A list of prompts then needs no files; that of a longer one is read from its spec.
        if 0 < len(text) <= LONGEST_TAG:
            self.tag(TAGS["prompt_wording"], text)

    def log_fitted(self, fitted: Fitted) -> None:
        """Keeps what was measured with the run that measured it, and what fitting found as tables.

        Numbers under `best` become a curve over the trials.
        """
        import mlflow

        with tempfile.TemporaryDirectory() as scratch:
            folder = fitted.save(Path(scratch) / FITTED)
            self._client.log_artifacts(self.run_id, str(folder), FITTED)
        trained = {TAGS["train_digest"]: fitted.train_digest} if fitted.train_digest else {}
        self.log_tags({TAGS["fitted_digest"]: fitted.digest, **trained})
        curves: list[tuple[str, float, int]] = []
        for name, rows in fitted.spec.tables(fitted).items():
            if not rows:
                continue
            columns = {key: [_in_one_line(row.get(key)) for row in rows] for key in rows[0]}
            mlflow.log_table(columns, f"{name}.json", run_id=self.run_id)
            curves += [
                (f"{name}_best", row["best"], row["trial"])
                for row in sorted((row for row in rows if {"best", "trial"} <= set(row)), key=lambda row: row["trial"])
            ]
        if curves:
            self._log_values(curves)

    def log_answers(self, frame: pd.DataFrame) -> None:
        """Row by row what was answered, as a parquet file and, up to `MOST_TABLE_ROWS`, as a table of MLflow's UI."""
        import mlflow

        mlflow.log_table(frame.head(MOST_TABLE_ROWS), "predictions.json", run_id=self.run_id)
        self.log_file("predictions.parquet", lambda file: frame.to_parquet(file, index=False))

    def log_text(self, text: str, name: str) -> None:
        """A text as an artifact."""
        self._client.log_text(self.run_id, text, name)

    def log_file(self, name: str, write: Callable[[Path], object]) -> None:
        """An artifact that `write` writes to the path it is given."""
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / name
            write(file)
            self._client.log_artifact(self.run_id, str(file))

    def log_page(self, page: Page, *, figures: bool = True) -> None:
        """The page as `report.html`, and each of its figures as `charts/NAME.svg`, which MLflow shows by itself.

        Args:
            page: what is kept.
            figures: `False` for a page that will be written again, as artifacts cannot be deleted.
        """
        # Figures need numpy, which commands that only look something up do not wait for.
        from luthier.reporting.figure_files import figure_files
        from luthier.reporting.html import write_page

        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            write_page(page, folder / PAGE)
            (folder / CHARTS).mkdir()
            for name, svg in figure_files(page) if figures else ():
                (folder / CHARTS / name).write_text(svg, "utf-8")
            self._client.log_artifacts(self.run_id, str(folder))

    def tag(self, name: str, value: str) -> None:
        """Sets a tag."""
        self._client.set_tag(self.run_id, name, value)

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Sets several tags with one transaction; a database waits for its disk in each."""
        from mlflow.entities import RunTag

        self._client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in tags.items()])

    def read_tags(self) -> dict[str, str]:
        """Every tag of the run."""
        return dict(self._client.get_run(self.run_id).data.tags)

    def describe(self, markdown: str) -> None:
        """Writes what was found into the run's description, which the MLflow UI shows beside its figures."""
        from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

        self.tag(MLFLOW_RUN_NOTE, markdown)

    @property
    def _client(self) -> MlflowClient:
        import mlflow

        return mlflow.MlflowClient()

    def _log_values(self, values: Sequence[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._client.log_batch(self.run_id, metrics=[Metric(name, value, now, step) for name, value, step in values])


def _in_one_line(cell: Any) -> Any:
    """A cell as a table shows it: settings in one line of JSON."""
    return json.dumps(cell, ensure_ascii=False) if isinstance(cell, dict | list | tuple) else cell


def begin_run(
    experiment_id: str | None,
    name: str,
    kind: str,
    tags: Mapping[str, str],
    parent: str | None = None,
    started: float | None = None,
) -> MlflowRun:
    """A run that nothing ends but its maker: for work that outlives this process.

    Args:
        experiment_id: of the experiment that holds it.
        name: as MLflow shows it.
        kind: of run, such as `tune`.
        tags: what it is about.
        parent: run that it is a part of.
        started: Unix time, of what began before there was a run; now when absent.
    """
    import mlflow

    all_tags = {TAGS["kind"]: kind, "mlflow.source.name": f"luthier {kind}", "mlflow.source.type": "LOCAL", **tags}
    if parent is not None:
        all_tags["mlflow.parentRunId"] = parent
    elif (active := mlflow.active_run()) is not None:
        all_tags["mlflow.parentRunId"] = active.info.run_id
    elif given := os.environ.get("MLFLOW_RUN_ID"):
        # `mlflow run` made a run for us; the work is found from there.
        all_tags["mlflow.parentRunId"] = given
    moment = None if started is None else int(started * 1000)
    run = mlflow.MlflowClient().create_run(experiment_id, moment, run_name=name, tags=all_tags)
    return MlflowRun(run.info.run_id)


@contextlib.contextmanager
def run_of(
    experiment_id: str | None, name: str, kind: str, tags: Mapping[str, str], parent: str | None = None
) -> Iterator[MlflowRun]:
    """A run that ends FINISHED, KILLED (interrupted) or FAILED, whatever run the caller has open."""
    import mlflow

    client = mlflow.MlflowClient()
    run = begin_run(experiment_id, name, kind, tags, parent)
    status = "FAILED"
    try:
        yield run
        status = "FINISHED"
    except BaseException as error:
        if getattr(error, "exit_code", None) == 130 or isinstance(error, KeyboardInterrupt):
            status = "KILLED"
        raise
    finally:
        client.set_terminated(run.run_id, status=status)


def model_of(spec: Spec) -> ModelName | None:
    """The model that answers; `None` where there is none or a deployment's name does not tell."""
    if isinstance(spec, FineTune) and (tuned := spec.tuned) is not None:
        return parse_tuned_name(tuned.model, base=tuned.base_model, job=tuned.job, checkpoint=tuned.checkpoint_step)
    if spec.endpoint is None:
        return None
    model = parse_model_name(spec.endpoint.model)
    # Two deployments of one name need not be of one model.
    return None if spec.endpoint.provider == "azure" and model.vendor is None else model


def spec_tags(spec: Spec) -> dict[str, str]:
    """Tags that say what was measured."""
    grid = {} if spec.grid_point is None else {TAGS["grid"]: spec.grid_point.grid}
    model, prompt = model_of(spec), prompt_digest(spec)
    named = {} if model is None else {TAGS["model_key"]: model.key}
    worded = {} if prompt is None else {TAGS["prompt_digest"]: prompt}
    return (
        grid
        | named
        | worded
        | {
            TAGS["task"]: spec.task.name,
            TAGS["task_digest"]: spec.task.digest,
            TAGS["spec"]: spec.name,
            TAGS["spec_digest"]: spec.digest,
            TAGS["technique"]: spec.technique,
            TAGS["base_model"]: spec.base_model,
        }
    )


def made_from(parent: Spec, how: str) -> dict[str, str]:
    """Tags of a run that measures a prompt made from another one.

    Args:
        parent: what it was made from; a spec without a prompt gives no tags.
        how: by what means, as in `instructions rewritten from 12 wrong rows`.
    """
    digest = prompt_digest(parent)
    return {} if digest is None else {TAGS["prompt_parent"]: digest, TAGS["prompt_how"]: how[:LONGEST_TAG]}


def runs_of_fitted(
    experiments: Sequence[str], digest: str, kind: str | None = None, most: int = 200
) -> list[MlflowEntity]:
    """The runs of these experiments that hold what has this fitted digest, newest first.

    Of a kind only, such as `candidate`, where one is given: those were measured.
    """
    import mlflow

    found: dict[str, MlflowEntity] = {}
    for tag in (TAGS["fitted_digest"], "luthier.fitted_digest"):
        condition = f"tags.`{tag}` = '{digest}'" + ("" if kind is None else f" AND tags.`{TAGS['kind']}` = '{kind}'")
        for run in mlflow.MlflowClient().search_runs(
            list(experiments), condition, order_by=["attributes.start_time DESC"], max_results=most
        ):
            found.setdefault(run.info.run_id, run)
    return sorted(found.values(), key=lambda run: -run.info.start_time)[:most]


def fitted_of_run(run_id: str) -> Fitted:
    """What a run measured.

    Raises:
        ModelError: there is no such run, or it measured nothing.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        run = mlflow.get_run(run_id)
    except MlflowException as error:
        raise ModelError(f"no run {run_id} at {mlflow.get_tracking_uri()}.") from error
    if tag_of(run.data.tags, "fitted_digest") is None:
        kind = run.data.tags.get(TAGS["kind"], "none of Luthier's")
        raise ModelError(
            f"run {run_id} ({kind}) holds no fitted spec; give the run of one spec: the children of a compare run."
        )
    with tempfile.TemporaryDirectory() as scratch:
        mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=FITTED, dst_path=scratch)
        return read_fitted(Path(scratch) / FITTED)
