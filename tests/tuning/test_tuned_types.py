"""Fine-tuning for any task type: the training lines hold its answers, and the pre-flight speaks of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint
from luthier.errors import DataError
from luthier.tuning.preflight import Preflight
from luthier.tuning.timing import Timing
from luthier.tuning.tuning_plan import plan_tuning
from luthier_local import LocalServer
from tests.cli.test_task_types import CONTACTS
from tests.conftest import REPOSITORY
from tests.docs.pages import blocks
from tests.tuning.conftest import make_spec

NAMES = ("Ann", "Bob", "Cleo")


@pytest.fixture(autouse=True)
def types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The types of docs/tasks.md and of tests/tasks, each in a file of the user's own."""
    (tmp_path / "prices.py").write_text(blocks(REPOSITORY / "docs" / "tasks.md", "python prices.py")[0])
    (tmp_path / "contacts.py").write_text(CONTACTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("prices", "contacts"):
        sys.modules.pop(name, None)


def letters(first: int, last: int) -> pd.DataFrame:
    """Letters of three people, each of which says who wrote it."""
    wrote = [NAMES[number % 3] for number in range(first, last)]
    return pd.DataFrame(
        {
            "text": [f"I am {name}, letter {number}" for number, name in enumerate(wrote, first)],
            "contact": [json.dumps({"name": name, "goods": ["a", name.lower()]}) for name in wrote],
        }
    )


def contacts(server: LocalServer, **changes: object) -> lt.FineTune:
    task = lt.Task("contact", type="contacts:Contact", label="contact")
    return make_spec(task, server, **({"answer": "json", "tuning": {"epochs": 12, "batch_size": 4}} | changes))


def prices(answer: str) -> lt.FineTune:
    task = lt.Task("price", type="prices:Price", label="price")
    return lt.FineTune(
        task, "{{ text }}", answer=answer, endpoint=Endpoint(provider="local", model="wordllama-tunable")
    )


def adverts(count: int) -> pd.DataFrame:
    return pd.DataFrame(
        {"text": [f"A chair, {n} euros" for n in range(count)], "price": [float(n) for n in range(count)]}
    )


def look(spec: lt.FineTune, *tables: pd.DataFrame) -> Preflight:
    return plan_tuning(spec, *tables, ask=False).check


def said(check: Preflight, kind: str) -> str:
    return next(str(finding) for finding in check.findings if finding.kind == kind)


@pytest.mark.parametrize(("answer", "content"), [("json", '{"price": 7.0}'), ("text", "7.0")])
def test_a_training_line_ends_with_the_answer_that_would_be_read_as_its_truth(answer: str, content: str) -> None:
    spec = prices(answer)
    rows = spec.task.rows(adverts(8))
    (turn,) = [spec.training_examples(rows)[7]["messages"][-1]]
    assert turn == {"role": "assistant", "content": content}
    reader = spec.task.kind
    assert (reader.read_json(content) if answer == "json" else reader.read(content)).value == 7.0


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("answer", ["json", "text"])
def test_a_type_with_json_values_is_tuned_and_measured_by_its_own_metric(
    server: LocalServer, answer: str, timing: Timing
) -> None:
    spec = contacts(server, answer=answer)
    job = lt.tune(spec, letters(0, 60), letters(60, 75), timing=timing)
    board = lt.compare([job.spec], letters(75, 90))
    (entry,) = board.leaderboard.entries
    assert board.leaderboard.ranked_by == "fields"
    assert entry.metrics["fields"].value == 1.0
    answers = board.answers("tuned-stars-tuned")
    assert answers["contact"].tolist() == letters(75, 90)["contact"].tolist()


def test_rows_that_contradict_each_other_are_shown_with_their_values(server: LocalServer) -> None:
    torn = pd.concat([letters(0, 12), letters(0, 1).assign(contact=json.dumps({"name": "Dora", "goods": []}))])
    check = look(contacts(server), torn)
    assert "whose contact differs (2 rows)" in said(check, "contradictions")
    (finding,) = [one for one in check.findings if one.kind == "contradictions"]
    assert [place.label for place in finding.rows] == [
        '{"goods": ["a", "ann"], "name": "Ann"}',
        '{"goods": [], "name": "Dora"}',
    ]
    assert "same contact" in said(look(contacts(server), pd.concat([letters(0, 12), letters(0, 1)])), "duplicates")
    json.dumps(check.document())


def test_where_nothing_is_to_be_counted_no_label_is_spoken_of() -> None:
    check = look(prices("json"), adverts(20), adverts(30).tail(10))
    assert check.labels == {"train": {}, "validation": {}}
    assert "label" not in check.page().lead + str(check)
    assert "a share of right answers" in said(check, "validation_small")


def test_a_base_that_chooses_among_answers_says_what_it_cannot_answer() -> None:
    check = look(prices("json"), adverts(20), adverts(30).tail(15).assign(text=lambda t: "Used: " + t.text))
    words = said(check, "answers_repeated")
    assert "Of 20 different ones 20 stand in one row only" in words
    assert "of 15 validation rows it can answer 5 rightly at best" in words
    assert "writes none of its own" in words
    assert not check.stops


def test_more_answers_than_a_base_can_choose_among_stop_the_job_before_anything_is_sent() -> None:
    check = look(prices("json"), adverts(513))
    assert "513 different ones, and it takes 512" in said(check, "too_many_answers")
    with pytest.raises(DataError, match="nothing was uploaded"):
        check.need_clean()


def test_a_model_that_writes_has_no_such_bound(server: LocalServer) -> None:
    kinds = {finding.kind for finding in look(contacts(server), letters(0, 20)).findings}
    assert not kinds & {"answers_repeated", "too_many_answers"}


def test_lines_of_labels_are_what_they_were(task: lt.Task, server: LocalServer) -> None:
    """Their bytes name files that services have and jobs that were paid for."""
    rows = task.rows(pd.DataFrame({"text": ["Lovely soup"], "stars": [5]}))
    asked = {"role": "user", "content": "Stars for: Lovely soup"}
    for answer, content in {"score": "5", "text": "5", "json": '{"label": "5"}'}.items():
        spec = make_spec(task, server, answer=answer)
        assert spec.training_examples(rows) == [{"messages": [asked, {"role": "assistant", "content": content}]}]
