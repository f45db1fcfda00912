"""Specs that race, against a server that counts what it is asked."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator

import mlflow
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import luthier as lt
from luthier.endpoints import Engine, Journal
from luthier.errors import BudgetReached, UserError
from luthier.evaluation.leaderboard import Leaderboard
from luthier.experiments.race import row_order
from luthier.plans import Bounds
from luthier.reporting.board_report import board_page
from luthier.reporting.html import page_text
from luthier.reporting.markdown import described, page_markdown
from tests.scripted_server import serving

ACCURACIES = {"a": 0.92, "b": 0.90, "c": 0.72, "d": 0.55, "e": 0.40, "f": 0.25}
MOOD = lt.Task("mood", label="mood", labels=["good", "bad"])
STARS = lt.Task("stars", type="rating", label="stars", labels=[1, 2, 3, 4, 5])
ROWS = 160


def table(task: lt.Task = MOOD, rows: int = ROWS, name: str = "test") -> pd.DataFrame:
    truths = [task.labels[row * row % len(task.labels)] for row in range(rows)]
    return pd.DataFrame({"text": [f"{name} {row}" for row in range(rows)], task.label: truths})


class Service:
    """Says what its script says, and counts how often it was asked what."""

    def __init__(self) -> None:
        self.asked: Counter[tuple[str, str]] = Counter()
        self.says: dict[tuple[str, str], str] = {}
        self.url = ""

    def learn(self, task: lt.Task, frame: pd.DataFrame, seed: int = 1) -> None:
        """Each spec is right on its share of the rows; hard rows are hard for all."""
        generator = np.random.default_rng(seed)
        hard = generator.normal(0, 1.5, len(frame))
        beside = {label: task.labels[place - 1 if place else 1] for place, label in enumerate(task.labels)}
        for name, accuracy in ACCURACIES.items():
            skill = float(stats.norm.ppf(accuracy)) * np.sqrt(1 + 1.5**2)
            right = skill + hard + generator.normal(0, 1, len(frame)) > 0
            for text, truth, ok in zip(frame["text"], frame[task.label], right, strict=True):
                self.says[name, text] = truth if ok else beside[truth]

    def answer(self, body: bytes) -> str:
        said = re.fullmatch(r"(\w) asks about (\w+ \d+)", json.loads(body)["messages"][-1]["content"])
        assert said is not None
        self.asked[said[1], said[2]] += 1
        message = {"role": "assistant", "content": self.says[said[1], said[2]]}
        usage = {"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        return json.dumps({"id": "x", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage})


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    with serving(200, made.answer) as made.url:
        yield made


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("RACE_KEY", "sk-race")
    engine = Engine(Journal.in_memory())
    yield engine
    engine.close()


def specs(service: Service, task: lt.Task = MOOD, names: str = "abcdef") -> list[lt.Spec]:
    endpoint = lt.Endpoint(
        provider="openai",
        model="m",
        base_url=service.url,
        api_key_env="RACE_KEY",
        price={"input_usd_per_million": 10, "output_usd_per_million": 10},
    )
    return [lt.Prompt(task, f"{name} asks about {{{{ text }}}}", endpoint=endpoint, name=name) for name in names]


def winners(board: Leaderboard) -> set[str]:
    return {board.best.name, *board.tied_with(board.best.name)}


@pytest.mark.usefixtures("tracker")
@pytest.mark.parametrize(("task", "rank_by"), [(MOOD, None), (STARS, "qwk"), (STARS, "mae")])
def test_a_race_finds_the_winner_set_of_the_full_comparison_for_fewer_calls(
    service: Service, engine: Engine, task: lt.Task, rank_by: str | None
) -> None:
    service.learn(task, table(task))
    raced = lt.compare(specs(service, task), table(task), rank_by=rank_by, race=True, engine=engine)
    calls = service.asked.total()
    full = lt.compare(specs(service, task), table(task), rank_by=rank_by, engine=engine)
    assert winners(raced.leaderboard) == winners(full.leaderboard) == {"a", "b"}
    assert calls < 0.65 * len(ACCURACIES) * ROWS
    assert max(service.asked.values()) == 1
    race = raced.leaderboard.race
    assert race is not None
    assert (race.answers, race.full_answers) == (calls, len(ACCURACIES) * ROWS)
    # What stayed is measured as it is without a race.
    assert raced.leaderboard.best.metrics == full.leaderboard.best.metrics


@pytest.mark.usefixtures("tracker")
def test_a_race_shows_who_was_stopped_where_and_what_that_means(service: Service, engine: Engine) -> None:
    service.learn(MOOD, table())
    board = lt.compare(specs(service), table(), race=True, engine=engine)
    race = board.leaderboard.race
    assert race is not None
    assert [one.name for one in race.stopped][-2:] == ["e", "f"]
    rows = {one.name: one.rows for one in race.stopped}
    assert all(service.asked[name, str(text)] for name in rows for text in board[name].rows.texts)
    assert {name: sum(one == name for one, _ in service.asked) for name in rows} == rows
    page = board_page(board.leaderboard)
    for shown in (repr(board), page_text(page), page_markdown(page), described(board.leaderboard)):
        assert "stopped early" in shown
    assert "Stopped early" in repr(board)
    assert "would end significantly behind" in page_text(page)
    assert list(board.stopped["rows"]) == [one.rows for one in race.stopped]
    assert (board.stopped["difference_high"] < 0).all()
    document = json.loads(json.dumps(board.to_document()))
    assert Leaderboard.from_document(document).race == race
    assert len(board.answers("f")) == rows["f"]


@pytest.mark.usefixtures("tracker")
def test_a_race_without_losers_asks_all_and_says_so(service: Service, engine: Engine) -> None:
    service.learn(MOOD, table())
    board = lt.compare(specs(service, names="ab"), table(), race=True, engine=engine)
    assert service.asked.total() == 2 * ROWS
    assert "stopped no spec" in repr(board)
    assert board.stopped.empty


@pytest.mark.usefixtures("tracker")
def test_a_race_that_its_budget_stopped_goes_on_without_paying_twice(service: Service, engine: Engine) -> None:
    service.learn(MOOD, table())
    with pytest.raises(BudgetReached):
        lt.compare(specs(service), table(), race=True, engine=engine, budget_usd=0.2)
    assert 0 < service.asked.total() <= 200
    board = lt.compare(specs(service), table(), race=True, engine=engine)
    assert max(service.asked.values()) == 1
    assert board.leaderboard.race is not None
    assert service.asked.total() == board.leaderboard.race.answers
    lt.compare(specs(service), table(), race=True, engine=engine)
    assert max(service.asked.values()) == 1


@pytest.mark.usefixtures("tracker")
def test_a_spec_that_calls_no_model_answers_all_rows(service: Service, engine: Engine) -> None:
    service.learn(MOOD, table())
    baseline = lt.Baseline(MOOD, name="words")
    train = table(name="train", rows=40)
    board = lt.compare([*specs(service), baseline], table(), train=train, race=True, engine=engine)
    assert "words" in {entry.name for entry in board.leaderboard.entries}
    assert board["words"].rows.digest == board["a"].rows.digest


@pytest.mark.usefixtures("tracker")
def test_several_tables_are_raced_by_the_mean_over_them(service: Service, engine: Engine) -> None:
    tables = {"may": table(name="may", rows=120), "june": table(name="june", rows=80)}
    for seed, frame in enumerate(tables.values()):
        service.learn(MOOD, frame, seed)
    boards = lt.compare_tables(specs(service), tables, race=True, engine=engine)
    calls = service.asked.total()
    full = lt.compare_tables(specs(service), tables, engine=engine)
    assert boards.across.best.name == full.across.best.name
    assert set(boards.across.tied_with(boards.across.best.name)) == set(full.across.tied_with(full.across.best.name))
    assert calls < 0.75 * len(ACCURACIES) * 200
    assert max(service.asked.values()) == 1
    stopped = {name: set(board.stopped["name"]) for name, board in boards.boards.items()}
    assert stopped["may"] == stopped["june"] != set()
    assert "by the mean over 2 tables" in " ".join(repr(boards).split())


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("limit", [ROWS, ROWS * 3 // 4])
def test_a_stopped_spec_has_a_run_of_the_rows_it_saw(service: Service, engine: Engine, limit: int) -> None:
    service.learn(MOOD, table())
    board = lt.compare(specs(service, names="af"), table(), race=True, limit=limit, engine=engine)
    run = mlflow.get_run(board["f"].run_id)
    rows = int(board.stopped["rows"][0])
    assert run.data.tags["luthier.stopped_after_rows"] == str(rows)
    assert run.data.tags["mlflow.parentRunId"] == board.run_id
    assert run.data.metrics["accuracy"] == pytest.approx(board.stopped["accuracy"][0])
    parent = mlflow.get_run(board.run_id).data
    assert (parent.params["race"], parent.params["stopped"]) == ("True", "1")
    assert int(parent.params["answers_saved"]) == 2 * limit - service.asked.total()


def test_a_plan_says_what_a_race_asks_at_least_and_at_most(service: Service, engine: Engine) -> None:
    plan = lt.plan(specs(service), table(), race=True, engine=engine)
    assert plan.calls == Bounds(6 * 20, 6 * ROWS)
    assert "at least 20 rows" in str(plan)
    assert plan.cost_usd_low is not None
    assert plan.cost_usd_high is not None
    assert plan.cost_usd_low < plan.cost_usd_high / 4
    assert service.asked.total() == 0


def test_what_cannot_be_raced_is_refused(service: Service, engine: Engine) -> None:
    def refused(names: str = "abc", rows: int = 100, mode: str = "live", rank_by: str | None = None) -> str:
        with pytest.raises(UserError) as error:
            lt.compare(
                specs(service, names=names),
                table(rows=rows),
                race=True,
                mode=mode,  # type: ignore[arg-type]
                rank_by=rank_by,
                engine=engine,
            )
        return str(error.value)

    assert "nothing to race" in refused(names="a")
    assert "with 39 rows" in refused(rows=39)
    assert "--mode batch" in refused(mode="batch")
    assert "balanced_accuracy" in refused(rank_by="balanced_accuracy")
    assert service.asked.total() == 0


def test_the_order_of_the_rows_depends_on_the_rows_alone_and_keeps_the_shares_of_labels() -> None:
    truths = ["good"] * 90 + ["bad"] * 10
    rows = MOOD.rows(pd.DataFrame({"text": [f"row {row}" for row in range(100)], "mood": truths}), labelled=True)
    order = row_order([rows], MOOD)
    assert order == row_order([rows], MOOD)
    assert sorted(order) == [(0, place) for place in range(100)]
    for end in range(20, 101, 20):
        assert sum(rows.labels[place] == "bad" for _, place in order[:end]) == pytest.approx(end / 10, abs=1)
