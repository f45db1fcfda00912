"""Requirements on figures that only a Responsible AI assessment measures."""

from __future__ import annotations

from collections.abc import Mapping

import mlflow
import pytest

import luthier as lt
from luthier.errors import GateFailed, ModelError, UserError
from luthier.evaluation.resampling import Interval
from luthier.tracking.runs import TAGS, run_of, spec_tags
from luthier.tracking.stores import connect
from tests.conftest import reviews


def assessed(model: lt.Model, metrics: Mapping[str, Interval], *, test: str = "t", rows: int = 300) -> None:
    """A run as `luthier rai` logs it."""
    tags = spec_tags(model.spec) | {TAGS["fitted_digest"]: model.fitted.digest, TAGS["test_digest"]: test}
    with run_of(connect(model.spec.task), "rai", "rai", tags) as run:
        run.log_metrics(metrics, rows)


def test_a_figure_beyond_metrics_is_taken_from_the_assessment(model: lt.Model) -> None:
    figures = {"flip_rate_typos": Interval(0.04, 0.01, 0.1), "flip_rate_typos_rows": Interval(100.0)}
    assessed(model, figures)
    # On more rows, of which fewer were perturbed.
    assessed(model, {"flip_rate_typos": Interval(0.0), "flip_rate_typos_rows": Interval(5.0)}, rows=900)
    moved = lt.promote("stars", alias="prod", require=["flip_rate_typos <= 0.05"])
    assert [str(gate) for gate in moved.gates] == ["flip_rate_typos <= 0.05: 0.0400 against 0.0500 on 100 rows"]
    with pytest.raises(GateFailed, match="flip_rate_typos_high <= 0.05: 0.1000 against 0.0500 on 100 rows"):
        lt.promote("stars", alias="next", require=["flip_rate_typos_high <= 0.05"])
    assert "next" not in mlflow.MlflowClient().get_registered_model("stars").aliases


def test_a_figure_that_was_never_measured_names_the_command_that_measures_it(model: lt.Model) -> None:
    assessed(model, {"accuracy": Interval(0.8, 0.7, 0.9)})
    with pytest.raises(ModelError, match=r"'flip_rate_case'; it has: accuracy.*luthier rai models:/stars/1"):
        lt.promote("stars", alias="prod", require=["flip_rate_case <= 0.05"])


def test_an_assessment_that_lacks_rows_counts_for_nothing(model: lt.Model) -> None:
    assessed(model, {"accuracy": Interval(0.8, 0.7, 0.9)})
    run = mlflow.search_runs(search_all_experiments=True, filter_string="tags.`luthier.kind` = 'rai'")
    mlflow.MlflowClient().set_tag(run.run_id[0], TAGS["partial"], "true")
    with pytest.raises(ModelError, match="never measured"):
        lt.promote("stars", alias="prod", require=["accuracy >= 0.5"])


def test_a_version_is_held_against_the_champion_on_the_rows_both_were_assessed_on(model: lt.Model) -> None:
    champion, newer = Interval(0.05, 0.02, 0.1), Interval(0.08, 0.04, 0.14)
    assessed(model, {"flip_rate_typos": champion})
    other = lt.log(lt.Baseline(model.spec.task, name="other"), train=reviews(80), register="stars")
    assessed(other, {"flip_rate_typos": newer}, test="other rows")
    with pytest.raises(ModelError, match="different rows"):
        lt.promote("stars", alias="champion", require=["flip_rate_typos <= champion"])
    assessed(other, {"flip_rate_typos": newer})
    with pytest.raises(GateFailed, match=r"0\.0800 against 0\.0500"):
        lt.promote("stars", alias="champion", require=["flip_rate_typos <= champion"])


def test_a_requirement_that_is_none_is_refused_before_the_store_is_asked() -> None:
    with pytest.raises(UserError, match="METRIC >= NUMBER"):
        lt.promote("nowhere", alias="champion", require=["better than before"])
