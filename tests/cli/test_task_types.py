"""Every command with every task type: what a user types after `luthier init`, on a service that errs now and then."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import yaml

import luthier as lt
from luthier.engine.loop import wait_for
from luthier.errors import SpecError
from luthier.serving.luthier_served import LuthierServed
from luthier.serving.served_model import ScoringAnswer, ScoringRequest, ServedModelFacts
from luthier.serving.settings import ServerSettings
from tests.cli.conftest import Ended, Run
from tests.conftest import standing_store
from tests.patience import PATIENCE_SECONDS
from tests.scripted_server import serving

NAMES = ("Ann", "Bob", "Cid", "Dora", "Eve", "Finn", "Gwen", "Hugo")
GOODS = ("lamp", "chair", "table", "shelf", "sofa")
ROWS = 60

CONTACTS = '''
import json
import numpy as np
from luthier.tasks.prediction import Prediction
from luthier.tasks.types import AnswerPart, Judged, Measure, Plots, TaskType

FIELDS = ("name", "goods")


class Contact(TaskType):
    """Two fields of a text, one of them a list."""

    value_name, value_column, parts_title, part_name = "contact", "text", "Field by field", "field"
    metrics = {"fields": Measure("fields", "higher", "share", "Share of the fields that are right.")}

    def read_truth(self, cell):
        found = json.loads(cell) if isinstance(cell, str) else cell
        return found if isinstance(found, dict) and set(found) == set(FIELDS) else None

    def schema(self, words):
        return {"type": "object", "properties": {name: {} for name in FIELDS}}

    def written(self, value):
        return json.dumps(value)

    def judge(self, truths, predictions):
        right = np.array([sum((p.value or {}).get(f) == t[f] for f in FIELDS) for t, p in zip(truths, predictions)])
        return Judged(distances=len(FIELDS) - right, sums={"right": right})

    def from_sums(self, sums):
        return {"fields": sums["right"] / sums["rows"] / len(FIELDS)}

    def constant(self, truths):
        return Prediction(truths[0], "ok")

    def plots(self, truths, predictions):
        def part(f):
            return sum((p.value or {}).get(f) == t[f] for t, p in zip(truths, predictions)) / len(truths)
        return Plots(parts=tuple(AnswerPart(f, {"recall": part(f)}, len(truths), len(truths)) for f in FIELDS))
'''


@dataclass(frozen=True)
class Case:
    """A task and how its rows are made: a number and random draws to the cells of a row."""

    name: str
    settings: Mapping[str, Any]
    metric: str
    row: Callable[[int, random.Random], dict[str, Any]]
    columns: tuple[str, ...] = ("text",)
    most: float = 0.999


def letter(number: int, drawn: random.Random) -> tuple[str, str, list[str]]:
    name, goods = drawn.choice(NAMES), drawn.sample(GOODS, drawn.randint(1, 2))
    return f"Letter {number}: I am {name} and want a {' and a '.join(goods)}.", name, goods


def contact(number: int, drawn: random.Random) -> dict[str, Any]:
    text, name, goods = letter(number, drawn)
    return {"text": text, "label": {"name": name, "goods": goods}}


def pair(number: int, drawn: random.Random) -> dict[str, Any]:
    text, _, goods = letter(number, drawn)
    other, _, wanted = letter(number + 1000, drawn)
    return {"text": text, "other": other, "label": 5.0 * len({*goods} & {*wanted}) / len({*goods} | {*wanted})}


def subject(number: int, drawn: random.Random) -> dict[str, Any]:
    text, name, goods = letter(number, drawn)
    return {"text": text, "label": f"{name} orders {' and '.join(goods)}"}


def goods(number: int, drawn: random.Random) -> dict[str, Any]:
    text, _, wanted = letter(number, drawn)
    return {"text": text, "label": sorted(wanted, key=GOODS.index)}


def spans(number: int, drawn: random.Random) -> dict[str, Any]:
    text, name, wanted = letter(number, drawn)
    return {
        "text": text,
        "label": [{"label": "NAME", "text": name}, *({"label": "GOODS", "text": word} for word in wanted)],
    }


def mood(number: int, drawn: random.Random) -> dict[str, Any]:
    text, name, _ = letter(number, drawn)
    return {"text": text, "label": "early" if name < "D" else "late"}


CASES = [
    Case("classification", {"labels": ["early", "late"]}, "weighted_f1", mood),
    Case("own", {"type": "contacts:Contact"}, "fields", contact),
    Case("similarity", {"type": "similarity", "other": "other", "scale": [0, 5]}, "spearman", pair, ("text", "other")),
    Case("labels", {"multilabel": True, "labels": list(GOODS)}, "micro_f1", goods),
    Case("spans", {"type": "extraction", "labels": ["NAME", "GOODS"]}, "f1", spans),
    Case("generation", {"type": "generation"}, "chrf", subject, most=99.9),
]


LABELLED = ("classification", "labels")


def answering(rows: list[dict[str, Any]]) -> Callable[[bytes], str]:
    """A model that knows the truth, errs on every fourth text and says nothing usable to some."""

    def answer(asked: bytes) -> str:
        body = json.loads(asked)
        said = body["messages"][-1]["content"]
        found = max(rows, key=lambda row: said.rfind(row["text"]))
        drawn = int(hashlib.sha256(f"{body['model']}{found['text']}".encode()).hexdigest()[:8], 16)
        value = rows[drawn % len(rows)]["label"] if drawn % 4 == 0 else found["label"]
        text = value if isinstance(value, str) else json.dumps(value)
        if "<new_instructions>" in said:
            text = f"<new_instructions>Look closely at the text, reading {drawn}.</new_instructions>"
        elif drawn % 17 == 0:
            text = ""
        elif "response_format" in body:
            [key] = body["response_format"]["json_schema"]["schema"]["properties"]
            text = json.dumps({key: value})
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 50, "completion_tokens": 9, "total_tokens": 59}
        return json.dumps({"id": "1", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage})

    return answer


@dataclass(frozen=True)
class Typed:
    """A type's folder with task, specs and tables, in which two specs were compared and one is registered."""

    case: Case
    folder: Path
    compared: str


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def prepared(
    request: pytest.FixtureRequest, empty_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Typed]:
    case: Case = request.param
    drawn = random.Random(5)
    rows = [case.row(number, drawn) | {"region": ("north", "south")[number % 2]} for number in range(2 * ROWS)]
    folder = tmp_path_factory.mktemp(case.name)
    with (
        serving(200, answering(rows)) as address,
        standing_store(folder, empty_store),
        pytest.MonkeyPatch.context() as here,
    ):
        here.syspath_prepend(str(folder))
        Path("contacts.py").write_text(CONTACTS, encoding="utf-8")
        for name, part in {"train": rows[:ROWS], "test": rows[ROWS:]}.items():
            Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part), encoding="utf-8")
        pd.DataFrame([{k: v for k, v in row.items() if k != "label"} for row in rows[ROWS:]]).to_csv(
            "new.csv", index=False
        )
        write("task.yaml", {"name": "asked", **case.settings})
        endpoint = {"provider": "compatible", "base_url": address, "model": "m"}
        endpoint["price"] = {"input_usd_per_million": 1.0, "output_usd_per_million": 2.0}  # type: ignore[assignment]
        write("writer.yaml", {**endpoint, "model": "w"})
        prompt = {"system": "Answer.", "template": "\n".join(f"{{{{ {column} }}}}" for column in case.columns)}
        common = {"task": "task.yaml", "technique": "prompt", "answer": {"method": "json"}}
        write("zero.yaml", {"name": "zero", "prompt": prompt, "endpoint": endpoint, **common})
        few = {"prompt": {**prompt, "examples": {"count": 2}}, "endpoint": {**endpoint, "model": "m2"}}
        write("few.yaml", {"name": "few", **few, **common, "gates": [f"{case.metric} >= 0.1"]})
        specs = [lt.read_spec("zero.yaml"), lt.read_spec("few.yaml")]
        board = lt.compare(specs, pd.read_json("test.jsonl", lines=True), train=pd.read_json("train.jsonl", lines=True))
        board["few"].log(register="asked", alias="champion")
        yield Typed(case, folder, board.run_id)


def write(name: str, document: Mapping[str, Any]) -> None:
    Path(name).write_text(yaml.safe_dump(dict(document), sort_keys=False), encoding="utf-8")


@pytest.fixture
def typed(prepared: Typed, monkeypatch: pytest.MonkeyPatch) -> Typed:
    monkeypatch.chdir(prepared.folder)
    monkeypatch.syspath_prepend(str(prepared.folder))
    monkeypatch.setenv("LUTHIER_HOME", str(prepared.folder / "home"))
    mlflow.set_tracking_uri(f"sqlite:///{prepared.folder}/mlflow.db")
    return prepared


@pytest.fixture
def ran(run: Run, typed: Typed) -> Callable[..., str]:
    """Types a command that succeeds and speaks of labels only where there are any."""

    def type_it(*words: object, code: int = 0) -> str:
        ended: Ended = run(*words)
        assert ended.code == code, ended.err
        said = " ".join((ended.out + ended.err).split())
        assert "Traceback" not in said
        if typed.case.name not in LABELLED:
            # The column is called so, and so is the state of an answer that cannot be read.
            words_left = re.sub(r"off.label|label(led)? (rows|is)|'label'|\"label\"", "", said)
            assert not re.search(r"\blabels?\b(?! column)", re.sub(r"\[\{.*?(\}\]|…)", "", words_left)), words_left
        return said

    return type_it


def test_a_comparison_is_asked_again_from_the_journal_and_raced(ran: Callable[..., str], typed: Typed) -> None:
    said = ran("compare", "zero.yaml", "few.yaml", "--test", "test.jsonl", "--train", "train.jsonl", "--race", "--yes")
    assert "few: 60 rows, nothing to ask (60 are in the journal)" in said
    assert "nothing to ask" in ran("compare", "zero.yaml", "--test", "test.jsonl", "--dry-run")
    assert "on 10 rows" in ran("compare", "zero.yaml", "--test", "test.jsonl", "--limit", 10, "--yes")


def test_a_comparison_for_machines_has_the_types_metrics(run: Run, typed: Typed) -> None:
    ended = run("compare", "zero.yaml", "--test", "test.jsonl", "--yes", "--json")
    assert typed.case.metric in json.loads(ended.out)["entries"][0]["metrics"]


def test_a_score_writes_a_row_for_each_and_says_what_was_found(ran: Callable[..., str], typed: Typed) -> None:
    said = ran("score", "models:/asked@champion", "new.csv", "out.jsonl", "--yes")
    assert f"{ROWS} rows written" in said
    written = pd.read_json("out.jsonl", lines=True)
    assert written["state"].value_counts()["ok"] >= ROWS // 2
    ran("score", "models:/asked@champion", "new.csv", "out.parquet", "--yes")
    pages = ran(
        "report",
        mlflow.search_runs(search_all_experiments=True, filter_string="tags.`luthier.kind` = 'score'").run_id[0],
    )
    assert "luthier-report.html" in pages


def test_a_scorecard_has_the_types_metrics_groups_and_gates(ran: Callable[..., str], typed: Typed) -> None:
    words = (
        "rai",
        "models:/asked@champion",
        "--test",
        "test.jsonl",
        "--sensitive",
        "region",
        "--no-dashboard",
        "--yes",
    )
    said = ran(*words, "--gate")
    assert "By region" in said
    assert "Meets its requirement." in said
    failed = ran(*words, "--require", f"{typed.case.metric} >= {typed.case.most}", code=5)
    assert "does not meet" in failed


def test_what_a_scorecard_cannot_have_is_said_before_anything_is_asked(run: Run, typed: Typed) -> None:
    if typed.case.name == "classification":
        pytest.skip("it has labels")
    options: list[list[str]] = [["--explain", "2"], ["--perturb", "2"], ["--serve"]]
    for option in options:
        ended = run("rai", "models:/asked@champion", "--test", "test.jsonl", "--fresh", "--yes", *option)
        assert ended.code == 2
        assert option[0] in ended.err
        assert "label" in ended.err


def test_a_trial_shows_truth_and_answer(ran: Callable[..., str], run: Run, typed: Typed) -> None:
    said = ran("try", "zero.yaml", "--rows", "test.jsonl", "--row", 2, "--yes")
    assert "(label is " in said
    document = json.loads(run("try", "zero.yaml", "--rows", "test.jsonl", "--row", 2, "--yes", "--json").out)
    assert document["answers"][0]["state"] in ("ok", "off_label")
    one_text = typed.case.columns == ("text",)
    alone = ran("try", "zero.yaml", "--text", "Letter 1: nothing", "--yes", code=0 if one_text else 2)
    assert one_text or "several texts" in alone


def test_a_preview_and_the_prompts_are_shown(ran: Callable[..., str], typed: Typed) -> None:
    assert "Letter" in ran("preview", "zero.yaml", "--test", "test.jsonl")
    assert "prompts measured" in ran("prompts")


def test_a_version_is_promoted_by_the_types_metric(ran: Callable[..., str], typed: Typed) -> None:
    assert "met:" in ran("promote", "asked", "--alias", "live", "--require", f"{typed.case.metric} >= 0.1")


def test_a_prompt_is_improved(ran: Callable[..., str], typed: Typed) -> None:
    words = ("--train", "train.jsonl", "--validation", "test.jsonl", "--writer", "writer.yaml")
    said = ran("improve", "zero.yaml", *words, "--budget", 1, "--rounds", 1, "--rows", 24, "--yes")
    assert "prompts tried" in said


def test_the_pages_speak_of_no_labels(ran: Callable[..., str], typed: Typed) -> None:
    ran("report", "--to", "all.html")
    ran("report", typed.compared, "--to", "board.html")
    page = Path("board.html").read_text(encoding="utf-8")
    if typed.case.name not in LABELLED:
        for unfit in ("Label by label", "without a label", "most frequent label", "no label", "Confusion"):
            assert unfit not in page


def test_a_served_model_answers_as_a_score_does(typed: Typed) -> None:
    model = lt.load("models:/asked@champion")
    rows = pd.read_csv("new.csv").head(5)
    facts = ServedModelFacts(uri="here", name="asked", labels=model.spec.task.labels)
    serving_it = LuthierServed(model.fitted, facts, ServerSettings(port=0, without_key=True))

    async def ask() -> ScoringAnswer:
        await serving_it.start()
        try:
            request = ScoringRequest("dataframe_records", rows.to_dict("records"))
            return await serving_it.answer(request, PATIENCE_SECONDS)
        finally:
            await serving_it.close()

    answer = wait_for(ask())
    assert sum(answer.states.values()) == 5
    scored = model.score(rows)
    value = model.spec.task.kind.value_name
    json.dumps(answer.predictions, allow_nan=False)
    expected = [None if pd.isna(cell) else cell for cell in scored[value].tolist()]
    assert [row[value] for row in answer.predictions] == expected


def test_an_estimator_is_for_labels(typed: Typed) -> None:
    estimator = lt.read_spec("zero.yaml").estimator()
    if typed.case.name == "classification":
        assert estimator.fit(["a"], ["early"])
    else:
        with pytest.raises(SpecError, match="estimator is a classifier"):
            estimator.fit(["a"], ["b"])
