"""Before anything is paid: lines, rows, labels and price are looked at, and what betrays a job stops it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

import luthier as lt
from luthier.errors import DataError, SpecError
from luthier.techniques.prompt.adapter import adapter_for
from luthier.tuning.preflight import Preflight
from luthier.tuning.row_checks import near_duplicates
from luthier.tuning.timing import Timing
from luthier.tuning.training_files import file_findings, training_file
from luthier.tuning.tuners.tuner import Rules, longest_line
from luthier.tuning.tuning_plan import plan_tuning
from luthier_local import LocalServer
from tests.conftest import reviews
from tests.tuning.conftest import make_spec


@pytest.fixture
def held_out() -> pd.DataFrame:
    return reviews(20, seed=9)


@pytest.fixture
def look(spec: lt.FineTune) -> Callable[..., Preflight]:
    """The pre-flight of some tables; asks nobody."""

    def looked(*tables: pd.DataFrame | None, **settings: bool) -> Preflight:
        return plan_tuning(spec, *tables, ask=False, **settings).check  # type: ignore[arg-type]

    return looked


Look = Callable[..., Preflight]


def kinds(check: Preflight) -> set[str]:
    return {finding.kind for finding in check.findings}


def of_kind(check: Preflight, kind: str) -> str:
    return next(str(finding) for finding in check.findings if finding.kind == kind)


def test_clean_tables_do_not_stop_a_job(look: Look, train: pd.DataFrame, held_out: pd.DataFrame) -> None:
    check = look(train, held_out, reviews(20, seed=10))
    assert not check.stops
    check.need_clean()


def test_lines_are_the_turns_the_model_will_be_asked_with(look: Look, spec: lt.FineTune, train: pd.DataFrame) -> None:
    first = json.loads(look(train).train.content.splitlines()[0])
    rows = spec.task.rows(train.head(1))
    assert first == spec.training_examples(rows)[0]
    assert first["messages"][:-1] == adapter_for(spec, {}).request(rows.inputs[0]).body["messages"]


def test_leaked_rows_stop_the_job_with_their_numbers(look: Look, train: pd.DataFrame, held_out: pd.DataFrame) -> None:
    leaky = pd.concat([train, held_out.head(3).assign(text=lambda t: t.text.str.upper() + "  ")])
    check = look(leaky, held_out)
    with pytest.raises(DataError) as refused:
        check.need_clean()
    said = str(refused.value)
    assert "3 train rows" in said and "3 of its 20 rows" in said
    assert "Add --drop-leaked" in said
    assert "train row 81 (" in said
    assert "validation row 1 (" in said


def test_leaks_into_the_test_table_are_told_apart(look: Look, train: pd.DataFrame, held_out: pd.DataFrame) -> None:
    unseen = pd.concat([reviews(20, seed=10), train.head(2), held_out.head(1)])
    assert {"leak_train_test", "leak_validation_test"} <= kinds(look(train, held_out, unseen))


def test_dropping_leaks_keeps_the_rows_that_measure(look: Look, train: pd.DataFrame, held_out: pd.DataFrame) -> None:
    check = look(pd.concat([train, held_out.head(3)]), held_out, drop_leaked=True)
    assert not check.stops
    assert check.validation is not None
    assert (check.train.rows, check.validation.rows) == (80, 20)
    assert "3 train rows are left out" in of_kind(check, "dropped")


@pytest.mark.usefixtures("store")
def test_a_leaky_order_uploads_nothing(
    spec: lt.FineTune, train: pd.DataFrame, jobs_at: Callable[[], list[str]], timing: Timing
) -> None:
    with pytest.raises(DataError, match="nothing was uploaded"):
        lt.tune(spec, train, train.head(5), timing=timing)
    assert jobs_at() == []


@pytest.mark.usefixtures("store")
def test_what_was_looked_at_is_kept_with_the_run(
    spec: lt.FineTune, train: pd.DataFrame, held_out: pd.DataFrame, timing: Timing
) -> None:
    import mlflow

    job = lt.tune(spec, train, held_out, detach=True, timing=timing)
    kept = mlflow.artifacts.load_dict(f"runs:/{job.run_id}/tune/preflight.json")
    assert kept["train"]["tokens_a_line"]["max"] > 0
    assert sum(kept["labels"]["validation"].values()) == 20
    assert "tuned-stars: tunable-base" in mlflow.artifacts.load_text(f"runs:/{job.run_id}/tune/preflight.html")


def test_a_label_without_training_rows_stops_the_job(look: Look, train: pd.DataFrame) -> None:
    check = look(train[train.stars != 3])
    assert check.stops
    assert "no training row has label 3" in of_kind(check, "label_missing")
    assert "`labels:` in the task" in of_kind(check, "label_missing")


def test_a_text_with_two_labels_is_shown(look: Look, train: pd.DataFrame) -> None:
    torn = pd.concat([train, train.head(1).assign(stars=lambda t: t.stars % 5 + 1)])
    check = look(torn)
    assert "(2 rows)" in of_kind(check, "contradictions")
    (finding,) = [finding for finding in check.findings if finding.kind == "contradictions"]
    assert [place.row for place in finding.rows] == [1, 81]


def test_repeated_rows_are_counted(look: Look, train: pd.DataFrame) -> None:
    assert "2 training rows repeat another" in of_kind(look(pd.concat([train, train.head(2)])), "duplicates")


def test_other_columns_of_the_prompt_tell_equal_texts_apart(
    task: lt.Task, server: LocalServer, train: pd.DataFrame
) -> None:
    about = lt.FineTune(task, "{{ place }}: {{ text }}", endpoint=make_spec(task, server).endpoint)
    twice = pd.concat([train.assign(place="north"), train.assign(place="south", stars=lambda t: t.stars % 5 + 1)])
    assert "contradictions" not in kinds(plan_tuning(about, twice, ask=False).check)


def test_nearly_the_same_texts_are_noted_and_do_not_stop(
    look: Look, train: pd.DataFrame, held_out: pd.DataFrame
) -> None:
    long = "The soup was cold when it came and nobody at the counter cared to warm it up again for us"
    first = pd.concat([train, train.head(1).assign(text=long)])
    check = look(first, pd.concat([held_out, held_out.head(1).assign(text=long.replace("soup", "stew"))]))
    assert "1 validation rows are nearly the same as a train row" in of_kind(check, "near_leak_train_validation")
    assert not check.stops


def test_a_validation_table_too_small_to_choose_by_is_noted(
    look: Look, train: pd.DataFrame, held_out: pd.DataFrame
) -> None:
    assert "about 0.22 on either side" in of_kind(look(train, held_out), "validation_small")
    assert "Add --validation TABLE" in of_kind(look(train), "no_validation")


def test_nine_rows_are_too_few(look: Look, train: pd.DataFrame) -> None:
    assert "9 training rows" in of_kind(look(train.head(9)), "too_few_rows")


def test_a_line_over_the_limit_of_the_service_stops_the_job(spec: lt.FineTune, train: pd.DataFrame) -> None:
    rows = spec.task.rows(pd.concat([train, train.head(1).assign(text="word " * 500)]))
    lines = training_file(spec, rows)
    (over,) = file_findings("train", lines, Rules(most_tokens_a_line=300), rows)
    assert over.stops
    assert "in row 81" in over.message
    (close,) = file_findings("train", lines, Rules(most_tokens_a_line=lines.line_tokens[-1]), rows)
    assert not close.stops


def test_a_file_over_the_limit_of_the_service_stops_the_job(spec: lt.FineTune, train: pd.DataFrame) -> None:
    rows = spec.task.rows(train)
    (large,) = file_findings("train", training_file(spec, rows), Rules(most_bytes=1000), rows)
    assert large.stops
    assert large.kind == "too_large"


def test_lines_of_known_families_have_known_limits() -> None:
    assert longest_line("gpt-4o-mini-2024-07-18") == 65_536
    assert longest_line("gpt-4.1-nano-2025-04-14") == 32_768


def test_a_price_nobody_knows_is_not_nothing(task: lt.Task, server: LocalServer, train: pd.DataFrame) -> None:
    endpoint = make_spec(task, server).endpoint
    assert endpoint is not None
    unpriced = make_spec(task, server, endpoint=endpoint.model_copy(update={"price": None}))
    check = plan_tuning(unpriced, train, ask=False).check
    assert check.cost_usd is None
    assert "price unknown" in check.size()
    assert "training_usd_per_million" in of_kind(check, "price_unknown")


def test_trained_tokens_count_each_epoch(look: Look, train: pd.DataFrame) -> None:
    check = look(train)
    assert check.trained_tokens == 2 * check.train.tokens
    assert check.cost_usd == pytest.approx(check.trained_tokens * 10 / 1_000_000)


def test_a_training_type_is_refused_where_there_is_none(
    task: lt.Task, server: LocalServer, train: pd.DataFrame
) -> None:
    with pytest.raises(SpecError, match="tuning.training_type: Developer"):
        plan_tuning(make_spec(task, server, tuning={"training_type": "Developer"}), train, ask=False)


def test_it_reads_in_a_terminal_of_eighty_columns_and_in_a_notebook(
    look: Look, train: pd.DataFrame, held_out: pd.DataFrame
) -> None:
    leaky = pd.concat([train, held_out.head(1).assign(text="<b>bold</b> words")])
    check = look(leaky, held_out.assign(text=["<b>bold</b> words", *held_out.text[1:]]))
    console = Console(width=80, record=True, file=io.StringIO())
    check.show(console)
    shown = console.export_text()
    assert "STOP" in shown
    assert "median" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "&lt;b&gt;bold" in check._repr_html_()
    assert "<b>bold" not in check._repr_html_()


@pytest.mark.slow
def test_the_yelp_tables_are_clean_and_planted_leaks_are_found(yelp: Path, task: lt.Task, server: LocalServer) -> None:
    frames = [pd.read_csv(yelp / f"{name}.csv") for name in ("train", "validation", "test")]
    check = plan_tuning(make_spec(task, server), *frames, ask=False).check
    assert not check.stops
    assert not {kind for kind in kinds(check) if "leak" in kind}
    leaky = [pd.concat([frames[0], frames[1]]), *frames[1:]]
    said = of_kind(plan_tuning(make_spec(task, server), *leaky, ask=False).check, "leak_train_validation")
    assert "532 of its 532 rows" in said


@pytest.mark.slow
def test_one_word_in_twelve_does_not_hide_a_leak(yelp: Path, task: lt.Task) -> None:
    train = pd.read_csv(yelp / "train.csv")
    changed = train.sample(500, random_state=7)
    changed["text"] = [" ".join(w if i % 20 else "other" for i, w in enumerate(t.split())) for t in changed.text]
    long = changed[[len(text.split()) >= 12 for text in changed.text]]
    found = near_duplicates(task.rows(train), task.rows(long))
    assert len(found) > 0.9 * len(long)
