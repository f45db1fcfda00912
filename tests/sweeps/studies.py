"""Studies made by hand, as a stored study gives them."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import optuna
import pytest

from luthier.sweeps.study_state import StudyState
from luthier.sweeps.trial import StudyFacts, SweepObjective, SweepTrial
from tests.conftest import SHARED

F1 = SweepObjective("weighted_f1", "maximize")
COST = SweepObjective("cost_usd", "minimize")

SPACE: dict[str, Any] = {
    "tuning.epochs": {"int": [1, 20]},
    "tuning.batch_size": {"choice": [4, 8, 16]},
    "tuning.learning_rate_multiplier": {"log_uniform": [0.05, 2]},
    "prompt.template": {"choice": ["Stars for: {{ text }}", "Rate this: {{ text }}"]},
}


def facts(
    name: str = "stars-sweep",
    *,
    objectives: Sequence[SweepObjective] = (F1,),
    trials: int = 40,
    budget_usd: float | None = 25.0,
    space: dict[str, Any] = SPACE,
) -> StudyFacts:
    """What a study is about."""
    return StudyFacts(
        name=name,
        digest="0" * 64,
        objectives=tuple(objectives),
        document={"name": name, "space": space},
        tables={"train": {"path": "train.csv", "digest": "1", "rows": 800}, "validation": {"path": None, "rows": 300}},
        run_id="4f1c9a72e0",
        created=1.79e9,
        trials=trials,
        budget_usd=budget_usd,
    )


def complete(number: int, f1: float, **changes: Any) -> SweepTrial:
    """A trial whose job succeeded and whose model was measured."""
    settings = {
        "tuning.epochs": 1 + number % 20,
        "tuning.batch_size": (4, 8, 16)[number % 3],
        "tuning.learning_rate_multiplier": 0.05 * 1.3 ** (number % 14),
        "prompt.template": ("Stars for: {{ text }}", "Rate this: {{ text }}")[number % 2],
    }
    figures = {"weighted_f1": f1, "weighted_f1_low": f1 - 0.04, "weighted_f1_high": f1 + 0.04, "accuracy": f1 + 0.02}
    figures |= {"qwk": f1 + 0.1, "mse": 1.6 - f1, "cost_per_1000_rows_usd": 0.05, "latency_p50_seconds": 0.3}
    trial = SweepTrial(
        number,
        settings,
        "complete",
        values=(f1,),
        measured=figures,
        reported={"valid_loss": 1.2 - f1, "classification/weighted_f1_score": f1 + 0.03},
        curve={step: -1.5 + f1 * step / 100 for step in range(5, 105, 5)},
        job=f"ftjob-{number:04}",
        job_status="succeeded",
        run_id=f"run{number}",
        planned_tokens=80_000,
        trained_tokens=80_000,
        planned_usd=0.8,
        training_usd=0.8,
        cost_usd=0.82,
        started=1.79e9 + 60 * number,
        ended=1.79e9 + 60 * number + 300,
        owner="host/123",
    )
    return replace(trial, **changes)


def stopped(number: int, **changes: Any) -> SweepTrial:
    """A trial that early stopping ended after a quarter of its tokens."""
    gone: dict[str, Any] = {
        "values": (),
        "measured": {},
        "status": "pruned",
        "job_status": "cancelled",
        "trained_tokens": 20_000,
    }
    gone |= {"training_usd": 0.2, "cost_usd": 0.2, "curve": {5: -1.5, 10: -1.49, 15: -1.49, 20: -1.49, 25: -1.48}}
    gone |= {
        "reason": "median: after 25 % of the training its best validation loss was 1.48; the best of 8 trials had 1.02"
    }
    return complete(number, 0.3, **gone | changes)


def failed(number: int, **changes: Any) -> SweepTrial:
    """A trial that the service refused."""
    gone: dict[str, Any] = {"values": (), "measured": {}, "reported": {}, "curve": {}, "status": "failed", "job": None}
    gone |= {"job_status": None, "trained_tokens": None, "training_usd": None, "cost_usd": 0.0}
    gone |= {"reason": "the service refused batch_size 16: at most 8 for this model"}
    return complete(number, 0.3, **gone | changes)


def running(number: int, **changes: Any) -> SweepTrial:
    """A trial whose job trains."""
    gone: dict[str, Any] = {
        "values": (),
        "measured": {},
        "status": "running",
        "job_status": "running",
        "trained_tokens": None,
    }
    gone |= {"training_usd": None, "cost_usd": None, "reserved_usd": 0.9, "ended": None}
    return complete(number, 0.3, **gone | changes)


def many(count: int, seed: int = 7) -> list[SweepTrial]:
    """So many trials of all kinds."""
    drawn = random.Random(seed)
    found = []
    for number in range(count):
        f1, cost = round(drawn.betavariate(6, 6), 4), drawn.uniform(0.05, 2)
        ended = drawn.choice([None, None, None, stopped, stopped, failed])
        found.append(complete(number, f1, cost_usd=cost) if not number or ended is None else ended(number))
    return found


def real_trials() -> list[SweepTrial]:
    """The 175 trials of a real sweep; the test is skipped where they are absent."""
    file = SHARED / "findings" / "fine_tune_trials.csv"
    if not file.is_file():
        pytest.skip("the real trials are not here")
    with file.open(newline="") as stream:
        return [_real(number, line) for number, line in enumerate(csv.DictReader(stream))]


def _real(number: int, line: dict[str, str]) -> SweepTrial:
    f1 = float(line["classification/weighted_f1_score"])
    return SweepTrial(
        number,
        {
            "endpoint.model": line["model"],
            "tuning.epochs": int(line["n_epochs"]),
            "tuning.batch_size": int(line["batch_size"]),
            "tuning.learning_rate_multiplier": float(line["learning_rate_multiplier"]),
        },
        "complete",
        values=(f1,),
        measured={"weighted_f1": f1, "accuracy": float(line["classification/accuracy"])},
        reported={"training_loss": float(line["training_loss"])},
        job=line["fine_tune_id"],
        job_status="succeeded",
        trained_tokens=round(float(line["elapsed_tokens"])),
        started=1.6e9 + 600 * number,
        ended=1.6e9 + 600 * number + 500,
    )


def state(trials: Sequence[SweepTrial], **changes: Any) -> StudyState:
    """A study with these trials."""
    return StudyState(facts(), tuple(trials), **{"spent_usd": 7.5} | changes)


@dataclass
class StudyMadeByHand:
    """Answers as a stored study does."""

    given: Sequence[SweepTrial]
    facts: StudyFacts = field(default_factory=facts)
    spent: float = 7.5
    reserved: float = 0.9

    @property
    def study(self) -> optuna.Study:
        """An Optuna study."""
        return optuna.create_study(study_name=self.facts.name)

    def trials(self) -> Sequence[SweepTrial]:
        """Every trial."""
        return self.given

    def spent_usd(self) -> float:
        """What it cost."""
        return self.spent

    def reserved_usd(self) -> float:
        """What is set aside."""
        return self.reserved
