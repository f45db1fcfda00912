"""Every prompt that was measured: what it says, what it reached on which rows, what it was made from, what it cost."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from typer.testing import CliRunner

import luthier as lt
from luthier.cli.main import app
from luthier.errors import DataError, SpecError, UserError
from luthier.history.prompt_figures import prompts_chart
from luthier.history.prompt_history import prompts_of_runs
from luthier.history.prompt_parents import parents_of
from luthier.history.prompt_report import prompts_page
from luthier.history.prompt_runs import prompt_runs
from luthier.history.runs import LoggedRun, experiment_of_task, runs_of_experiment
from luthier.reporting.charts.chart import Curve
from luthier.reporting.html import page_text
from luthier.reporting.markdown import page_markdown
from luthier.techniques.wordings import prompt_digest, wording_of
from luthier.tracking.runs import TAGS, made_from, spec_tags
from luthier.tracking.tracker import MlflowTracker
from tests.conftest import standing_store
from tests.scripted_server import serving

MOOD = lt.Task("mood", labels=["good", "bad"])
PRICE = {"input_usd_per_million": 0.15, "output_usd_per_million": 0.6}


def answered(asked: bytes) -> str:
    """Right more often the longer the prompt is, and by the larger model; always the same to the same request."""
    body = json.loads(asked)
    whole, text = json.dumps(body["messages"]), body["messages"][-1]["content"]
    truth, other = ("good", "bad") if "lovely" in text else ("bad", "good")
    draw = int(hashlib.sha256(whole.encode()).hexdigest(), 16) % 1000
    right = draw < 550 + 3 * min(len(whole) // 4, 100) + 80 * (body["model"] == "big")
    message = {"role": "assistant", "content": truth if right else other}
    tokens = {"prompt_tokens": len(whole) // 4, "completion_tokens": 1, "total_tokens": len(whole) // 4 + 1}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    kind = {"id": "1", "object": "chat.completion", "created": 1, "model": body["model"]}
    return json.dumps(kind | {"choices": [choice], "usage": tokens})


def stays(count: int, seed: int) -> pd.DataFrame:
    labels = ["good" if (place * 7 + seed) % 3 else "bad" for place in range(count)]
    texts = [f"a {'lovely' if label == 'good' else 'dreadful'} stay {seed}/{n}" for n, label in enumerate(labels)]
    return pd.DataFrame({"text": texts, "label": labels})


@dataclass(frozen=True)
class Tried:
    """What was measured, in this order, and the store that keeps it."""

    file: Path
    plain: lt.Prompt
    brief: lt.Prompt
    few: lt.Prompt
    guest: lt.Prompt


def named(name: str, template: str = "{{ text }}", system: str | None = None) -> lt.Prompt:
    return lt.Prompt(MOOD, template, system=system, endpoint=lt.openai("some-model"), name=name)


@pytest.fixture(scope="module")
def tried_store(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Tried:
    with (
        standing_store(tmp_path_factory.mktemp("prompts"), empty_store) as file,
        serving(200, answered) as url,
    ):
        small, big = (lt.compatible(model, url, price=PRICE) for model in ("small", "big"))
        plain = lt.Prompt(MOOD, "Review: {{ text }}\nMood:", endpoint=small, name="mood")
        brief = plain.with_settings({"prompt.system": "You label reviews of hotels.\n<b>Be brief</b>: one word."})
        few = lt.Prompt(
            MOOD, brief.prompt.template, system=brief.prompt.system, examples=2, endpoint=small, name="with-examples"
        )
        guest = brief.with_settings({"prompt.system": "You label what a guest wrote.\n<b>Be brief</b>: one word."})
        train, rows, others = stays(40, 5), stays(80, 1), stays(60, 2)
        lt.compare([lt.Baseline(MOOD, name="baseline"), plain], rows, train=train)
        lt.compare([plain, lt.Prompt(MOOD, **_asked(brief), endpoint=small, name="renamed")], rows)
        lt.compare([brief, few], rows, train=train)
        lt.compare([few.with_endpoint(big)], rows, train=train)
        board = lt.compare([guest], others)
        board["mood"].log(register="mood", alias="champion")
        return Tried(file, plain, brief, few, guest)


def _asked(spec: lt.Prompt) -> dict[str, Any]:
    return {"prompt": {"template": spec.prompt.template, "system": spec.prompt.system}}


@pytest.fixture
def tried(tried_store: Tried, store: str, tmp_path: Path) -> Tried:
    """The store in the working folder of the test."""
    shutil.copy(tried_store.file, tmp_path / "mlflow.db")
    return tried_store


def test_a_wording_is_one_prompt_whatever_it_is_called_and_whoever_answers(tried: Tried) -> None:
    found = lt.prompts()
    assert [one.digest for one in found] == [
        prompt_digest(spec) for spec in (tried.guest, tried.few, tried.brief, tried.plain)
    ]
    assert [one.number for one in found] == [4, 3, 2, 1]
    guest, few, brief, plain = found
    assert set(brief.names) == {"mood", "renamed"}
    assert (few.models, plain.models) == (("big", "small"), ("small",))
    assert plain.wording == wording_of(tried.plain)
    assert len(plain.figures) == 2 and len(guest.runs) >= 1
    assert guest.model_versions == ("mood/1",) and guest.prompt_versions == ("mood.mood/1",)


def test_what_a_prompt_was_made_from_follows_from_names_and_else_from_words(tried: Tried) -> None:
    guest, few, brief, plain = lt.prompts()
    assert (guest.parent_number, few.parent_number, brief.parent_number, plain.parent) == (2, 2, 1, None)
    parents = [one.parent for one in (guest, few, brief)]
    assert [one.by for one in parents if one is not None] == ["name", "similar", "name"]
    assert all(one.is_likely for one in parents if one is not None)
    assert few.parent is not None and few.parent.change == "examples added: count 2, select balanced, seed 7"
    assert guest.parent is not None and (guest.parent.added, guest.parent.removed) == (1, 1)
    assert guest.diff.splitlines()[:2] == ["--- #2", "+++ #4"]
    assert "-You label reviews of hotels." in guest.diff and "+You label what a guest wrote." in guest.diff
    assert plain.diff == ""


def test_figures_on_other_rows_are_in_a_table_of_their_own(tried: Tried) -> None:
    history = lt.prompts().history
    first, second = history.tables
    assert [(rows.rows, len(rows.figures)) for rows in (first, second)] == [(80, 4), (60, 1)]
    values = [figure.metrics[history.metric].value for _, figure in first.figures]
    assert values == sorted(values, reverse=True)
    text = repr(lt.prompts())
    assert "80 rows of the test table" in text and "60 rows of the test table" in text
    assert "2 different sets of rows" in text


def test_what_was_paid_is_counted_once_and_the_journal_costs_nothing_again(tried: Tried) -> None:
    guest, few, brief, plain = lt.prompts()
    again, first = plain.figures
    assert again.spent_usd == 0
    assert first.spent_usd is not None and first.spent_usd > 0
    assert plain.spent_usd == pytest.approx(first.spent_usd)
    assert again.price_usd == pytest.approx(first.spent_usd)
    whole = lt.prompts().history.spent_usd
    assert whole == pytest.approx(sum(one.spent_usd or 0 for one in (guest, few, brief, plain)))
    assert lt.prompts().history.unknown_spent == 0


def test_a_run_that_does_not_say_what_it_cost_is_unknown_and_not_free(tried: Tried) -> None:
    runs = [replace(run, metrics={k: v for k, v in run.metrics.items() if k != "spent_usd"}) for run in runs_here()]
    history = prompts_of_runs("mood", runs)
    assert history.unknown_spent == sum(len(one.figures) for one in history.wordings)
    assert all(one.spent_usd is None for one in history.wordings)
    assert "is unknown" in " ".join(prompts_page(history).said)


def runs_here() -> tuple[LoggedRun, ...]:
    return runs_of_experiment(experiment_of_task()[0])


def test_runs_from_before_wordings_were_tagged_are_read_from_their_specs(tried: Tried) -> None:
    new = (TAGS["prompt_digest"], TAGS["prompt_wording"])
    older = [replace(run, tags={k: v for k, v in run.tags.items() if k not in new}) for run in runs_here()]
    known, now = prompts_of_runs("mood", older), prompts_of_runs("mood", runs_here())
    assert [one.digest for one in known.wordings] == [one.digest for one in now.wordings]
    assert known.unread == 0


def test_a_wording_that_was_cut_is_read_from_its_spec(tried: Tried) -> None:
    cut = {TAGS["prompt_wording"]: '{"template": "Rev'}
    runs = [
        replace(run, tags={**run.tags, **cut}) if TAGS["prompt_wording"] in run.tags else run for run in runs_here()
    ]
    assert [one.text for one in prompts_of_runs("mood", runs).wordings] == [
        one.text for one in prompts_of_runs("mood", runs_here()).wordings
    ]


def test_runs_whose_prompt_cannot_be_read_are_counted(tried: Tried) -> None:
    gone = [
        replace(run, run_id="0" * 32, tags={k: v for k, v in run.tags.items() if k != TAGS["prompt_wording"]})
        if run.test_digest and run.metrics.get("rows_evaluated") == 60 and run.kind == "candidate"
        else run
        for run in runs_here()
        if run.kind != "log"
    ]
    history = prompts_of_runs("mood", gone)
    assert (len(history.wordings), history.unread) == (3, 1)
    assert any("1 run of prompts left out" in line for line in prompts_page(history).said)


@pytest.fixture
def searched(store: str) -> list[lt.Prompt]:
    """Runs of a search that logs the best prompt first: what each was made from is recorded."""
    start = named("start", "Review: {{ text }}")
    texts = ("Be brief.", "Be kind and brief.", "Something else altogether, said in other words.")
    one, two, three = (named(f"start-{place}", system=text) for place, text in enumerate(texts))
    chain = [
        (three, one, "rewritten"),
        (two, one, "rewritten"),
        (one, start, "rewritten from 3 rows"),
        (start, None, ""),
    ]
    for place, (spec, parent, how) in enumerate(chain):
        tags = spec_tags(spec) | {TAGS["test_digest"]: "abc"} | ({} if parent is None else made_from(parent, how))
        with MlflowTracker().run(MOOD, spec.name, "candidate", tags) as run:
            run.log_spec(spec)
            mlflow.MlflowClient().log_metric(run.run_id, "accuracy", 0.9 - place / 10)
            mlflow.MlflowClient().log_metric(run.run_id, "rows_evaluated", 50)
    return [start, one, two, three]


def test_a_recorded_parent_counts_and_comes_first_whatever_was_logged_first(searched: list[lt.Prompt]) -> None:
    found = lt.prompts(metric="accuracy")
    assert [one.names[0] for one in reversed(found)] == ["start", "start-0", "start-2", "start-1"]
    parents = {one.names[0]: one.parent_number for one in found}
    assert parents == {"start": None, "start-0": 1, "start-2": 2, "start-1": 2}
    assert all(one.parent is None or not one.parent.is_likely for one in found)
    of_first = found[2].parent
    assert of_first is not None and of_first.how == "rewritten from 3 rows"


def test_two_prompts_that_were_made_from_each_other_are_no_circle(searched: list[lt.Prompt]) -> None:
    start, one = searched[:2]
    with MlflowTracker().run(MOOD, "back", "candidate", spec_tags(start) | made_from(one, "taken back")) as run:
        run.log_spec(start)
    asked, _ = prompt_runs(runs_here())
    order, parents = parents_of(asked)
    assert parents[str(prompt_digest(one))].digest == prompt_digest(start)
    assert prompt_digest(start) not in parents and len(order) == 4


def test_a_parent_that_was_never_measured_is_said_to_be_so(searched: list[lt.Prompt]) -> None:
    unseen = named("unseen", "Unseen {{ text }}")
    child = named("child", "Quite different: {{ text }}")
    tags = spec_tags(child) | {TAGS["test_digest"]: "abc"} | made_from(unseen, "by hand")
    with MlflowTracker().run(MOOD, child.name, "candidate", tags) as run:
        run.log_spec(child)
        for name, value in (("accuracy", 0.5), ("rows_evaluated", 50)):
            mlflow.MlflowClient().log_metric(run.run_id, name, value)
    newest = lt.prompts(metric="accuracy")[0]
    assert newest.parent is not None and newest.parent_number is None and newest.diff == ""
    assert "never measured" in page_text(lt.prompts().page)


def test_a_task_is_named_as_such_where_no_spec_has_its_name(tried: Tried) -> None:
    assert len(lt.prompts("mood")) == 4
    weather = lt.Task("weather", labels=["good", "bad"])
    lt.compare([lt.Baseline(weather)], stays(20, 1), train=stays(20, 2), allow_leaks=True)
    with pytest.raises(DataError, match="mood, weather"):
        lt.prompts("nope")
    assert len(lt.prompts("mood")) == 4
    assert [one.number for one in lt.prompts("with-examples", task="mood")] == [3, 2, 1]


def test_a_spec_shows_its_prompts_with_what_they_came_from_and_what_came_of_them(tried: Tried) -> None:
    assert [one.number for one in lt.prompts("with-examples")] == [3, 2, 1]
    assert [one.number for one in lt.prompts(tried.few)] == [3, 2, 1]
    assert [one.number for one in lt.prompts("#1")] == [4, 3, 2, 1]
    assert [one.number for one in lt.prompts(str(prompt_digest(tried.few))[:12])] == [3, 2, 1]
    assert len(lt.prompts(MOOD)) == 4
    assert "3 of 4 prompts" in repr(lt.prompts("with-examples"))


def test_a_file_that_was_edited_since_shows_what_changed(tried: Tried, tmp_path: Path) -> None:
    edited = tried.guest.with_settings({"prompt.system": "You label what a guest wrote.\nOne word."})
    (tmp_path / "mood.yaml").write_text(json.dumps(edited.document()))
    text = repr(lt.prompts(tmp_path / "mood.yaml"))
    assert "mood as it is now was not measured" in text
    assert "+One word." in text and "-<b>Be brief</b>: one word." in text


@pytest.mark.parametrize(
    ("asked", "fault", "said"),
    [
        ({"of": "nope"}, UserError, "with-examples, mood, renamed|mood.*with-examples"),
        ({"metric": "qwk"}, UserError, "weighted_f1"),
        ({"task": "nope"}, DataError, "mood"),
        ({"of": lt.Baseline(MOOD, name="baseline")}, UserError, "baseline"),
        ({"of": "nope.yaml"}, SpecError, r"nope\.yaml"),
        ({"of": MOOD, "task": "other"}, UserError, "mood"),
        ({"limit": 0}, UserError, "limit"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_what_can(
    tried: Tried, asked: dict[str, Any], fault: type[Exception], said: str
) -> None:
    with pytest.raises(fault, match=said):
        lt.prompts(**asked)


def test_a_store_without_a_measured_prompt_says_what_measures_one(store: str) -> None:
    lt.compare([lt.Baseline(MOOD)], stays(20, 1), train=stays(20, 2))
    with pytest.raises(UserError, match="luthier compare"):
        lt.prompts()


def test_the_frame_has_a_row_per_prompt_rows_and_model(tried: Tried) -> None:
    frame = lt.prompts().frame
    assert list(frame["prompt"]) == [4, 3, 3, 2, 1]
    assert set(frame["model"]) == {"small", "big"}
    assert frame["rows_digest"].nunique() == 2
    assert frame["made_from"].isna().sum() == 1
    assert (frame["weighted_f1_low"] <= frame["weighted_f1"]).all()


def test_the_figure_joins_what_was_made_from_each_other_with_the_same_model(tried: Tried) -> None:
    history = lt.prompts().history
    chart = prompts_chart(history, history.tables[0])
    assert chart is not None
    assert chart.x.categories == ("#1", "#2", "#3")
    [joined] = [mark for mark in chart.marks if isinstance(mark, Curve) and mark.style == "dashed"]
    assert len([place for place in joined.x if not math.isnan(place)]) == 4
    assert prompts_chart(history, history.tables[1]) is None


def test_no_text_of_a_prompt_is_read_as_markup(tried: Tried) -> None:
    page = lt.prompts().page
    assert "<b>Be brief" not in page_text(page) and "&lt;b&gt;Be brief" in page_text(page)
    assert "<b>Be brief" not in str(lt.prompts()._repr_html_())
    assert "```diff" in page_markdown(page)


def test_the_command_prints_tables_changes_json_and_a_page(tried: Tried, tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["prompts", "--task", "mood", "--diff", "--html", "p.html"])
    assert run.exit_code == 0, run.output
    assert "+You label what a guest wrote." in run.output and "#2, likely" in run.output
    page = (tmp_path / "p.html").read_text("utf-8")
    assert "Texts" in page and "paid so far" in page
    listed = CliRunner().invoke(app, ["prompts", "--json", "--limit", "1"])
    document = json.loads(listed.stdout)
    assert [one["number"] for one in document["prompts"]] == [4, 3, 2, 1]
    assert document["prompts"][0]["diff"].startswith("--- #2")
