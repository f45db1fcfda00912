"""The seam for task types: the price of docs/tasks.md goes through everything a closed set of labels goes through."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import mlflow
import numpy as np
import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint
from luthier.errors import DataError, ModelError, SpecError
from luthier.evaluation.metrics import evaluate
from luthier.reporting.board_sentences import sentences
from luthier.tasks.prediction import Prediction
from luthier.tasks.types import AnswerRead, Judged, Measure, TaskType, TypeSettings
from tests.conftest import REPOSITORY
from tests.docs.pages import blocks
from tests.packaging.commands import BIN, environment
from tests.reporting.conftest import Opened, chromium  # noqa: F401  (a fixture)
from tests.scripted_server import chat_reply, serving

PAGE = REPOSITORY / "docs" / "tasks.md"
TRUE = np.random.default_rng(4).integers(20, 400, 40).astype(float)


def answering(asked: bytes) -> str:
    """A model that repeats the price it reads: ten euros off where told `cheap`, none where told `mute`."""
    body = json.loads(asked)
    said = body["messages"][-1]["content"]
    price = float(re.findall(r"costs (\d+)", said)[-1]) + (10 if "cheap" in said else 0)
    text = "I cannot say" if "mute" in said else f"It costs {price:g} euros."
    if "response_format" in body:
        assert body["response_format"]["json_schema"]["schema"]["properties"] == {"price": {"type": "number"}}
        text = json.dumps({"price": price})
    return chat_reply(text)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving(200, answering) as address:
        yield Endpoint(provider="compatible", base_url=address, model="m")


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> lt.Task:
    """The type of the page, in a file of the user's own."""
    [code] = blocks(PAGE, "python prices.py")
    (tmp_path / "prices.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("prices", None)
    return lt.Task("price", type="prices:Price", text="advert", label="price")


def adverts(first: int, last: int) -> pd.DataFrame:
    prices = TRUE[first:last]
    return pd.DataFrame(
        {"advert": [f"A chair {i}, costs {price:g}" for i, price in enumerate(prices, first)], "price": prices}
    )


def specs(task: lt.Task, endpoint: Endpoint) -> list[lt.Prompt]:
    asked = {"exact": "{{ advert }}", "cheap": "cheap: {{ advert }}", "mute": "mute: {{ advert }}"}
    return [lt.Prompt(task, text, endpoint=endpoint, name=name) for name, text in asked.items()]


def test_a_type_takes_fewer_than_a_hundred_lines() -> None:
    assert len(blocks(PAGE, "python prices.py")[0].splitlines()) < 100


@pytest.mark.usefixtures("store")
def test_specs_are_compared_by_its_metric_with_intervals_and_paired_tests(task: lt.Task, endpoint: Endpoint) -> None:
    test = adverts(0, 30)
    board = lt.compare(specs(task, endpoint), test, train=adverts(30, 40))
    leaderboard = board.leaderboard
    assert leaderboard.ranked_by == "mae"
    assert [entry.name for entry in leaderboard.entries] == ["exact", "cheap", "mute"]
    assert [entry.metrics["mae"].value for entry in leaderboard.entries] == pytest.approx([0, 10, TRUE[:30].mean()])
    assert leaderboard.entries[1].metrics["rmse"].value == pytest.approx(10)
    mute = leaderboard.entry("mute")
    assert mute.metrics["off_label_rate"].value == 1.0
    low, high = mute.metrics["mae"].low, mute.metrics["mae"].high
    assert low is not None and high is not None and low < TRUE[:30].mean() < high
    assert leaderboard.majority.name == f"always {np.median(TRUE[30:]):g}"
    assert "median price of the training rows" in leaderboard.majority.candidate.notes[0]
    pair = leaderboard.pairs[0]
    assert (pair.first, pair.second, pair.difference.value) == ("exact", "cheap", -10)
    assert pair.corrected < 0.001
    assert pair.error_corrected is not None
    assert pair.error_corrected < 0.001
    assert (
        type(leaderboard).from_document(json.loads(json.dumps(leaderboard.to_document()))).frame().equals(board.frame)
    )
    answers = board.answers("cheap")
    assert answers["truth"].tolist() == TRUE[:30].tolist()
    assert (answers["price"] - answers["truth"]).tolist() == [10] * 30
    assert len(board.errors("cheap")) == 30
    assert len(board.errors("exact")) == 0
    assert "MAE" in repr(board)
    said = " ".join(sentences(leaderboard))
    assert "mute has no price for 100% of the rows" in said
    assert "which gives every row the median price" in said
    assert "no label" not in said


@pytest.mark.usefixtures("store")
def test_a_packaged_one_scores_files_and_frames(task: lt.Task, endpoint: Endpoint) -> None:
    few = lt.Prompt(task, "{{ advert }}", examples=3, answer="json", endpoint=endpoint, name="few")
    model = lt.log(few, train=adverts(30, 40), register="price", alias="champion")
    adverts(0, 30).to_csv("in.csv", index=False)
    model.score_file("in.csv", "out.csv")
    found = pd.read_csv("out.csv")
    assert list(found.columns) == ["advert", "price_input", "price", "state", "error"]
    assert found["price"].tolist() == TRUE[:30].tolist()
    scored = model.score(adverts(0, 30))
    assert scored["price"].tolist() == TRUE[:30].tolist()
    assert lt.load("models:/price@champion").score(["costs 7"])["price"].tolist() == [7.0]


@pytest.mark.slow
def test_mlflow_predicts_with_it_where_only_the_model_is(
    task: lt.Task, endpoint: Endpoint, store: str, tmp_path: Path
) -> None:
    lt.log(specs(task, endpoint)[1], register="price", alias="champion")
    (tmp_path / "prices.py").unlink()
    adverts(0, 5).to_csv("in.csv", index=False)
    done = subprocess.run(
        [BIN / "mlflow", "models", "predict", "-m", "models:/price@champion", "-i", "in.csv", "-t", "csv",
         "-o", "out.json", "--env-manager", "local"],
        env=environment(store), capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads(Path("out.json").read_text(encoding="utf-8"))["predictions"]
    assert [row["price"] for row in rows] == (TRUE[:5] + 10).tolist()


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_the_page_draws_truth_against_answer_and_no_labels(
    task: lt.Task,
    endpoint: Endpoint,
    chromium: Callable[[Path], Opened],  # noqa: F811
) -> None:
    board = lt.compare(specs(task, endpoint)[:2], adverts(0, 30))
    opened = chromium(Path(mlflow.artifacts.download_artifacts(run_id=board.run_id, artifact_path="report.html")))
    assert opened.document.count('class="lu-chart') >= 2
    assert not opened.console
    assert "Truth and answer" in opened.document
    for unfit in ("Label by label", "Confusion", "Calibration", "without a label"):
        assert unfit not in opened.document


def test_what_chooses_among_labels_says_what_works(task: lt.Task, endpoint: Endpoint) -> None:
    with pytest.raises(SpecError, match="baseline does not answer task 'price'.*technique: prompt with answer"):
        lt.Baseline(task)
    with pytest.raises(SpecError, match="set answer: text or json"):
        lt.Prompt(task, "{{ advert }}", answer="score", endpoint=endpoint)
    with pytest.raises(SpecError, match="estimator is a classifier"):
        specs(task, endpoint)[0].estimator().fit(["a"], [1.0])
    with pytest.raises(DataError, match="row 1: 'dear'"):
        task.rows(pd.DataFrame({"advert": ["a"], "price": ["dear"]}), labelled=True)


@pytest.mark.usefixtures("store")
def test_an_assessment_has_metrics_cohorts_and_groups_and_says_what_needs_labels(
    task: lt.Task, endpoint: Endpoint
) -> None:
    spec = specs(task, endpoint)[1].model_copy(update={"gates": ("mae <= 12", "disparity_mean_distance_town <= 5")})
    model = lt.log(spec)
    table = pd.concat([adverts(0, 40)] * 2, ignore_index=True)
    table["advert"] += [f" no. {i}" if i >= 40 else "" for i in range(80)]
    table["town"] = ["north", "south"] * 40
    with pytest.raises(ModelError, match="--explain compares the label.*no single label"):
        lt.rai(model, table, explain=5)
    with pytest.raises(ModelError, match="--perturb compares the label.*no single label"):
        lt.rai(model, table, perturb=5)
    report = lt.rai(model, table, sensitive=["town"])
    card = report.scorecard
    assert card.metrics["mae"].value == pytest.approx(10)
    assert card.rows_evaluated == 80
    assert report.passed
    assert [one.metric for one in card.sensitive[0].disparities] == ["mean_distance"]
    said = " ".join(repr(report).split())
    assert "MAE 10.0" in said
    assert "The median price for every row would reach" in said
    assert "the model is nearer to the truth" in said
    for unfit in ("most frequent label", "probabilities", "--perturb", "wrong"):
        assert unfit not in said
    page = report.page.read_text(encoding="utf-8")
    assert "Truth and answer" in page
    assert "price answered" in page
    with pytest.raises(ModelError, match="dashboards show models that choose among labels"):
        report.dashboard()


@pytest.mark.usefixtures("store")
def test_an_assessment_without_truths_says_what_was_answered(task: lt.Task, endpoint: Endpoint) -> None:
    report = lt.rai(lt.log(specs(task, endpoint)[2]), adverts(0, 5)[["advert"]])
    assert "5 of 5 rows have no answer" in repr(report)
    assert report.scorecard.frame().metric.tolist()[0] == "off_label_rate"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"type": "price"},
            "'price' is unknown; there are: classification, rating, extraction, similarity, generation",
        ),
        ({"type": "no_such_module:Price"}, "PYTHONPATH"),
        ({"type": "json:JSONDecoder"}, "not a luthier.tasks.types.TaskType"),
        ({"type": "prices:Price", "labels": [1, 2]}, "leave them out"),
    ],
)
def test_a_type_that_cannot_be_found_is_said(task: lt.Task, given: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        lt.Task("price", text="advert", label="price", **given)


def test_a_type_given_in_python_is_named_by_where_it_stands(task: lt.Task) -> None:
    kind = importlib.import_module("prices").Price
    assert issubclass(kind, TaskType)
    again = lt.Task("price", type=kind, text="advert", label="price")
    assert again.type == "prices:Price"
    assert again.digest == task.digest
    assert lt.Task(**again.document()) == task


class RentSettings(TypeSettings):
    """Settings of `Rent`."""

    currency: str = "EUR"
    other: str = "notes"


class Rent(TaskType):
    """A price whose currency the task states, of two columns of texts."""

    Settings = RentSettings
    metrics: ClassVar[dict[str, Measure]] = {
        "mae": Measure("MAE", "lower", "number", "Mean distance from the true rent.")
    }

    def read_truth(self, cell: object) -> float | None:
        return float(cell) if isinstance(cell, int | float) else None

    def judge(self, truths: Sequence[Any], predictions: Sequence[Prediction]) -> Judged:
        off = np.abs(np.array([p.value or 0.0 for p in predictions]) - np.array(truths, dtype=float))
        return Judged(distances=off, sums={"absolute": off})

    def from_sums(self, sums: Mapping[str, Any]) -> dict[str, Any]:
        return {"mae": sums["absolute"] / sums["rows"]}

    def constant(self, truths: Sequence[Any]) -> Prediction:
        return Prediction(float(np.median(truths)), "ok")

    @property
    def further_columns(self) -> tuple[str, ...]:
        assert isinstance(self.settings, RentSettings)
        return (self.settings.other,)

    def in_row(self, value: Any, row: Mapping[str, Any], text: str) -> AnswerRead:
        return AnswerRead(value) if f"{value:g}" in row[text] else AnswerRead(None, "the text does not state it")


def test_a_type_that_is_answered_in_json_reads_it_from_free_words_too() -> None:
    kind = lt.Task("rent", type=Rent, label="rent").kind
    assert kind.read('Here it is: {"value": 7}').value == 7
    assert kind.read("nobody").why is not None


def test_settings_of_a_type_stand_beside_the_others() -> None:
    task = lt.Task("rent", type=Rent, currency="CHF", label="rent")
    assert task.settings.given == {"currency": "CHF"}
    assert task.document()["currency"] == "CHF"
    assert lt.Task(**task.document()) == task
    assert lt.Task(**task.model_dump(exclude_defaults=True)) == task
    plain = lt.Task("rent", type=Rent, label="rent")
    assert plain.digest != task.digest
    assert hash(plain.settings) == hash(lt.Task("other", type=Rent).settings)
    with pytest.raises(SpecError, match="curency: unknown key; allowed here: currency, label, labels, name, other"):
        lt.Task("rent", type=Rent, curency="CHF")
    with pytest.raises(SpecError, match="other: should be a valid string"):
        lt.Task("rent", type=Rent, other=5)
    with pytest.raises(SpecError, match="column 'text' is named twice"):
        lt.Task("rent", type=Rent, other="text")


def test_a_single_row_has_figures() -> None:
    found = evaluate(lt.Task("rent", type=Rent, label="rent"), [7.0], [Prediction(9.0, "ok")])
    assert found["mae"].value == 2.0


def test_a_row_needs_all_its_texts_and_a_truth_that_fits_it() -> None:
    task = lt.Task("rent", type=Rent, label="rent")
    rows = task.rows(pd.DataFrame({"text": ["costs 7", "costs 8"], "notes": ["a", None], "rent": [7, 8]}))
    assert rows.texts == ("costs 7\n\na", None)
    assert rows.labels == (7, 8)
    with pytest.raises(DataError, match="no text column 'notes'.*Name the right one as `other:` in the task"):
        task.rows(pd.DataFrame({"text": ["costs 7"], "rent": [7]}))
    with pytest.raises(DataError, match=r"row 1: 9, the text does not state it"):
        task.rows(pd.DataFrame({"text": ["costs 7"], "notes": ["a"], "rent": [9]}), labelled=True)
