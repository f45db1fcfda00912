"""Rows tried one by one: shown word for word, a price first, both wordings answer, specs are saved as shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint, Engine, RunOptions
from luthier.experiments.try_out import TryOut
from luthier.experiments.try_setup import UNCALIBRATED, TrySetup
from luthier.plans import Plan
from luthier_local import LocalServer, ModelCard
from tests.conftest import KEY, reviews
from tests.scripted_server import Refused, serving

SUPERB = "The soup was great wonderful amazing"
HOSTILE = "\x1b[31mred\u202e<script>alert()</script>"


def prompt(task: lt.Task, endpoint: Endpoint, **given: Any) -> lt.Prompt:
    return lt.Prompt(task, "Stars for: {{ text }}", endpoint=endpoint, **{"answer": "score", "name": "stars", **given})


def trying(spec: lt.Spec, engine: Engine, rows: Any = None, **given: Any) -> TryOut:
    options = RunOptions.within(given.pop("budget_usd", None), engine=engine, fresh=given.pop("fresh", False))
    return TryOut([spec], rows, options=options, **given)


def said(text: str, prompt_tokens: int = 10) -> str:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": 1, "total_tokens": prompt_tokens + 1}
    return json.dumps({"choices": [choice], "usage": usage})


def at(url: str, model: str = "m", **given: Any) -> Endpoint:
    price = {"input_usd_per_million": 1.0, "output_usd_per_million": 2.0}
    return Endpoint(provider="compatible", base_url=url, model=model, price=price, **given)


def test_prompt_answer_label_probabilities_tokens_price_and_latency_are_there(
    task: lt.Task, endpoint: Endpoint, engine: Engine
) -> None:
    [tried] = trying(prompt(task, endpoint, system="Rate it."), engine).ask(SUPERB)
    assert tried.sent[0] == ("system", "Rate it.")
    assert tried.sent[1][1].startswith(f"Stars for: {SUPERB}")
    assert (tried.label, tried.state, tried.from_journal) == ("5", "ok", False)
    assert list(tried.probabilities) == ["1", "2", "3", "4", "5"]
    assert sum(tried.probabilities.values()) == pytest.approx(1)
    assert tried.cost_usd is not None and tried.cost_usd > 0
    call = tried.prediction.call
    assert call.input_tokens > 0 and call.latency_seconds is not None
    assert tried.said == call.raw


def test_a_row_of_the_table_comes_with_its_number_and_its_label(
    task: lt.Task, endpoint: Endpoint, engine: Engine, table: pd.DataFrame
) -> None:
    row = trying(prompt(task, endpoint), engine, table).ask(3)
    assert (row.number, row.truth, row.text) == (3, str(table["stars"][2]), table["text"][2])
    assert f"row 3: {table['text'][2]}" in str(row)


def test_the_second_time_the_answer_is_from_the_journal_and_costs_nothing(
    task: lt.Task, endpoint: Endpoint, engine: Engine
) -> None:
    first = trying(prompt(task, endpoint), engine)
    first.ask(SUPERB)
    again = trying(prompt(task, endpoint), engine)
    [tried] = again.ask(SUPERB)
    assert tried.from_journal and again.spent_usd == 0 and "from the journal" in str(again.last)
    fresh = trying(prompt(task, endpoint), engine, fresh=True)
    [tried] = fresh.ask(SUPERB)
    assert not tried.from_journal and fresh.spent_usd == first.spent_usd


def test_nothing_is_sent_before_the_price_was_shown_and_it_is_shown_once(task: lt.Task, engine: Engine) -> None:
    asked: list[bytes] = []
    shown: list[tuple[int, str]] = []

    def answer(body: bytes) -> str:
        asked.append(body)
        return said("5")

    with serving(200, answer) as url:
        spec = prompt(task, at(url), answer="text")
        tried = trying(spec, engine, agree=lambda plan: shown.append((len(asked), str(plan))))
        for text in ("one", "two", "six"):
            tried.ask(text)
        tried.ask("a far longer text " * 200)
    assert [sent for sent, _ in shown] == [0, 3]
    assert "1 row, 1 call" in shown[0][1] and "$" in shown[0][1]


def test_who_does_not_agree_sends_nothing(task: lt.Task, endpoint: Endpoint, engine: Engine) -> None:
    def refuse(plan: Plan) -> None:
        raise lt.UserError("no")

    tried = trying(prompt(task, endpoint), engine, agree=refuse)
    with pytest.raises(lt.UserError):
        tried.ask(SUPERB)
    assert tried.report.sent == 0 and tried.history == []


def test_an_unknown_price_is_shown_once_and_never_counted_as_zero(
    task: lt.Task, endpoint: Endpoint, engine: Engine
) -> None:
    shown: list[Plan] = []
    unpriced = endpoint.model_copy(update={"price": None})
    tried = trying(prompt(task, unpriced), engine, agree=shown.append)
    for text in ("one", "two"):
        assert "unknown" in str(tried.ask(text))
    assert len(shown) == 1 and tried.spent_usd is None
    assert tried.last is not None and "2 calls of unknown price" in tried.last.spending


def test_a_budget_holds_over_everything_that_is_tried(task: lt.Task, endpoint: Endpoint, engine: Engine) -> None:
    tried = trying(prompt(task, endpoint), engine, budget_usd=0.0003)
    with pytest.raises(lt.BudgetReached):
        for number in range(50):
            tried.ask(f"soup number {number}")
    assert tried.history and tried.spent_usd is not None and tried.spent_usd <= 0.0003
    assert "of $0.0003" in tried.history[-1].spending


def test_an_edit_asks_the_same_row_with_both_wordings(task: lt.Task, endpoint: Endpoint, engine: Engine) -> None:
    tried = trying(prompt(task, endpoint), engine)
    tried.ask(SUPERB)
    row = tried.edit(template="Rating of: {{ text }}", system="Be brief.")
    assert row is not None
    assert [one.title for one in row] == ["before", "after"]
    assert row["before"].from_journal and not row["after"].from_journal
    assert row["after"].sent[0] == ("system", "Be brief.")
    assert "- Stars for: {{ text }}\n+ Rating of: {{ text }}" in str(row)
    assert "+ Be brief." in str(row)
    tried.keep()
    assert [one.sent[0][1] for one in tried.ask()] == ["Be brief."]


def test_an_edit_can_be_taken_back(task: lt.Task, endpoint: Endpoint, engine: Engine) -> None:
    tried = trying(prompt(task, endpoint), engine)
    tried.edit(template="Rating of: {{ text }}")
    tried.undo()
    assert tried.specs[0].digest == prompt(task, endpoint).digest and tried.diff == ""
    with pytest.raises(lt.UserError, match="no edit"):
        tried.undo()


@pytest.mark.parametrize(
    ("template", "what"), [("Stars: {{ text", "template"), ("{{ chef }} {{ text }}", "chef"), ("no column", "column")]
)
def test_a_wrong_template_is_refused_and_the_wording_stays(
    task: lt.Task, endpoint: Endpoint, engine: Engine, template: str, what: str
) -> None:
    tried = trying(prompt(task, endpoint), engine)
    tried.ask(SUPERB)
    with pytest.raises(lt.UserError, match=what):
        tried.edit(template=template)
    assert tried.before == () and len(tried.ask()) == 1


def test_a_spec_without_a_prompt_answers_but_is_not_edited(task: lt.Task, engine: Engine, train: pd.DataFrame) -> None:
    tried = trying(lt.Baseline(task, name="plain"), engine, train=train)
    row = tried.ask(SUPERB)
    assert row[0].label == "5" and "calls no model" in str(row) and tried.spent_usd == 0
    with pytest.raises(lt.SpecError, match="no prompt to edit"):
        tried.edit(template="{{ text }}")


def test_an_embedding_and_a_decision_show_what_they_sent(
    task: lt.Task, endpoint: Endpoint, engine: Engine, train: pd.DataFrame, tracker: object
) -> None:
    with LocalServer(models=[ModelCard("vectors", chat=False, embeddings=True)], api_key=KEY) as server:
        spec = lt.Embedding(task, endpoint=at(server.base_url, "vectors", api_key_env="STARS_KEY"), name="e")
        [embedded] = trying(spec, engine, train=train).ask(SUPERB)
    assert embedded.sent == (("input", SUPERB),) and embedded.said.startswith("a vector of")
    [decided] = trying(lt.Decision(task, endpoint=endpoint, name="d"), engine).ask(SUPERB)
    assert decided.label == "5" and decided.said.count("\n") == 4


@pytest.mark.usefixtures("tracker")
def test_few_shot_needs_training_rows_and_is_fitted_once(
    task: lt.Task, endpoint: Endpoint, engine: Engine, train: pd.DataFrame
) -> None:
    spec = prompt(task, endpoint, examples=4, answer={"method": "score", "calibration_rows": 20})
    with pytest.raises(lt.SpecError, match="--train"):
        trying(spec, engine)
    tried = trying(spec, engine, train=train)
    row = tried.ask(SUPERB)
    assert any("4 training rows" in note for note in row[0].notes) and any(
        "Calibrated" in note for note in row[0].notes
    )
    sent = tried.report.sent
    assert sent == 21
    tried.ask("Another soup")
    assert tried.report.sent == sent + 1


def test_a_spec_that_only_calibrates_is_asked_without_training_rows_and_says_so(
    task: lt.Task, endpoint: Endpoint, engine: Engine
) -> None:
    spec = prompt(task, endpoint, answer={"method": "score", "calibration_rows": 20})
    [tried] = trying(spec, engine).ask(SUPERB)
    assert tried.state == "ok" and tried.notes == (UNCALIBRATED,)


def test_models_answer_side_by_side_and_one_that_refuses_stops_no_other(task: lt.Task, engine: Engine) -> None:
    def answer(body: bytes) -> str:
        model = json.loads(body)["model"]
        if model == "gone":
            raise Refused(404, json.dumps({"error": {"message": "no model gone", "code": "model_not_found"}}))
        return said("5" if model == "kind" else "1")

    with serving(200, answer) as url:
        specs = [prompt(task, at(url, name), answer="text", name=name) for name in ("kind", "harsh", "gone")]
        setup = TrySetup(specs)
        kind, harsh, gone = setup.run(setup.row(SUPERB), RunOptions(engine=engine))
        assert (kind.label, harsh.label, gone.state) == ("5", "1", "failed")
        assert "gone" in str(gone.prediction.error)
        alone = TrySetup(specs[2:])
        with pytest.raises(lt.EndpointError, match="gone"):
            alone.run(alone.row(SUPERB), RunOptions(engine=engine))


@pytest.mark.usefixtures("tracker")
def test_the_saved_spec_is_what_was_shown(task: lt.Task, endpoint: Endpoint, engine: Engine, tmp_path: Path) -> None:
    template = "Rating of:  {{ text }} \n\tand 'this': \"{{ labels | join(', ') }}\" # no comment\n\n"
    tried = trying(prompt(task, endpoint), engine)
    tried.edit(template=template, system="yes: no\n  - indented")
    file = tried.save(tmp_path / "better.yaml")
    read = lt.read_spec(file)
    assert read.digest == tried.specs[0].digest and read.endpoint == endpoint and read.name == "better"
    assert "made from stars (prompt " in file.read_text()
    assert lt.compare([prompt(task, endpoint), read], reviews(5), engine=engine)["better"].spec.digest == read.digest


def test_a_file_of_the_same_spec_stays_and_another_is_never_replaced(
    task: lt.Task, endpoint: Endpoint, engine: Engine, tmp_path: Path
) -> None:
    tried = trying(prompt(task, endpoint), engine)
    file = tried.save(tmp_path / "kept.yaml")
    file.write_text(f"# mine\n{file.read_text()}")
    assert tried.save(file).read_text().startswith("# mine")
    tried.edit(template="Rating of: {{ text }}")
    with pytest.raises(lt.UserError, match="something else"):
        tried.save(file)
    assert file.read_text().startswith("# mine")
    for wrong in (tmp_path / "nowhere" / "x.yaml", tmp_path / "x.txt", tmp_path):
        with pytest.raises(lt.UserError):
            tried.save(wrong)


def test_rows_that_are_not_there_are_refused(
    task: lt.Task, endpoint: Endpoint, engine: Engine, table: pd.DataFrame
) -> None:
    tried = trying(prompt(task, endpoint), engine, table)
    for wrong in (0, 61, -1, True, 2.5, ["a"]):
        with pytest.raises(lt.DataError, match="row"):
            tried.ask(wrong)  # type: ignore[arg-type]
    with pytest.raises(lt.DataError, match="which table"):
        trying(prompt(task, endpoint), engine).ask(1)
    with pytest.raises(lt.DataError, match="no row to ask"):
        trying(prompt(task, endpoint), engine).ask()


def test_a_row_without_text_is_not_sent(task: lt.Task, endpoint: Endpoint, engine: Engine) -> None:
    tried = trying(prompt(task, endpoint), engine)
    row = tried.ask("  ")
    assert row[0].state == "empty" and "no text" in str(row) and tried.report.sent == 0


def test_the_answers_of_strangers_control_neither_terminal_nor_page(task: lt.Task, engine: Engine) -> None:
    with serving(200, lambda body: said(HOSTILE)) as url:
        row = trying(prompt(task, at(url), answer="text"), engine).ask(HOSTILE)
    shown, page = str(row), row._repr_html_()
    for text in (shown, page):
        assert "\x1b" not in text and "\u202e" not in text and "\\x1b[31mred" in text
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert row[0].said == HOSTILE and row[0].state == "off_label" and row[0].prediction.error is not None
    assert json.loads(json.dumps(row.document()))["answers"][0]["said"] == HOSTILE


def test_long_texts_are_shown_without_their_middle_unless_whole(task: lt.Task, engine: Engine) -> None:
    text = "\n".join(f"line {number}" for number in range(500))
    with serving(200, lambda body: said("5")) as url:
        row = trying(prompt(task, at(url), answer="text"), engine).ask(text)
    assert "lines are not shown" in str(row) and len(str(row).splitlines()) < 60
    assert "line 250" in row.whole() and "line 250" in row._repr_html_()


def test_the_frame_has_everything_that_was_tried(
    task: lt.Task, endpoint: Endpoint, engine: Engine, table: pd.DataFrame
) -> None:
    tried = trying(prompt(task, endpoint), engine, table)
    tried.ask(1)
    tried.edit(template="Rating of: {{ text }}")
    frame = tried.frame
    assert frame["ask"].tolist() == [1, 2, 2] and frame["wording"].tolist() == ["", "before", "after"]
    assert frame["prompt"].tolist()[2] == "Rating of: {{ text }}"
    assert {"p_5", "cost_usd", "latency_seconds", "from_journal", "truth"} <= set(frame.columns)
