"""What a judge found, as plain records: how it rates each spec, which differ, and how far it agrees with people."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from luthier.evaluation.interval import Interval, plain
from luthier.evaluation.statistics import ALPHA

__all__ = ["KEPT", "HumanAgreement", "JudgedPair", "JudgedSpec", "JudgementFacts", "RatedAnswer", "RatedRow", "Verdict"]

KEPT = "judgement.json"
"""Artifact of a run that keeps these records."""

SCHEMA = 1

Verdict = Literal["yes", "no", "open"]


@dataclass(frozen=True)
class JudgedSpec:
    """How a judge rates the answers of one spec.

    Attributes:
        name: of the spec.
        model: behind it; empty where it is not known.
        score: mean rating, or share of the first label, over the rows that were rated or had no answer.
        shares: label to its share of the rated answers.
        states: rows by what became of them: `ok` (rated), `unanswered` (the spec gave no answer), and the states of
            answers that the judge did not rate: `off_label`, `refused`, `failed`.
        unrated: share of the answers that the judge did not rate.
        group: letters; specs that share one cannot be told apart.
        run_id: MLflow run beneath that of the judge.
        measured_run: MLflow run of the comparison that measured the spec; empty where there is none.
    """

    name: str
    model: str
    score: Interval
    shares: Mapping[str, Interval]
    states: Mapping[str, int]
    unrated: Interval
    group: str = ""
    run_id: str = ""
    measured_run: str = ""


@dataclass(frozen=True)
class JudgedPair:
    """Two specs, the better one first, on the rows where both have a rating.

    Attributes:
        first: name of the one.
        second: name of the other.
        rows: where both have a rating.
        difference: score of the first minus that of the second.
        p: for "there is no difference".
        corrected: the same by Holm's correction for all pairs.
    """

    first: str
    second: str
    rows: int
    difference: Interval
    p: float
    corrected: float

    @property
    def is_certain(self) -> bool:
        """Whether the two differ, after correction."""
        return self.corrected < ALPHA


@dataclass(frozen=True)
class RatedAnswer:
    """An answer of one spec to a row.

    Attributes:
        answer: its text, cut; empty where the spec gave none.
        label: that the judge gave it; empty where it gave none.
        said: the judge's own words.
    """

    answer: str
    label: str
    said: str


@dataclass(frozen=True)
class RatedRow:
    """A row with the answers of several specs.

    Attributes:
        number: in the table that was answered, from 1.
        text: what was read, cut.
        truth: the reference, cut.
        answers: one per spec, in the order of the specs; the first few of them.
    """

    number: int
    text: str
    truth: str
    answers: tuple[RatedAnswer, ...]


@dataclass(frozen=True)
class HumanAgreement:
    """How far a judge agrees with people, against how far they agree among themselves.

    Attributes:
        metric: `qwk` for ratings, else `accuracy`.
        raters: columns that hold people's ratings.
        answers: that at least one person rated.
        judge: agreement of the judge with a person, the mean over the people.
        people: agreement of two people, the mean over the pairs; `None` with one person, or too few answers of two.
        difference: `judge` minus `people`.
        leniency: mean of the judge's rating minus people's; `None` where labels have no order.
        confusion: answers per person's label (line) and judge's (column, the last for answers that it did not rate).
        can_stand_in: whether the judge can stand in for a person: yes, no, or open.
    """

    metric: str
    raters: tuple[str, ...]
    answers: int
    judge: Interval
    people: Interval | None
    difference: Interval | None
    leniency: Interval | None
    confusion: tuple[tuple[int, ...], ...]
    can_stand_in: Verdict


@dataclass(frozen=True)
class JudgementFacts:
    """What a judge found.

    Attributes:
        judge: name of its spec.
        model: behind it.
        labels: of the judge, in the order of its task.
        ordered: whether they are ratings.
        task: that was answered; empty for a table from anywhere.
        judged_run: MLflow run of the comparison; empty where there is none.
        source: what the answers are from.
        specs: best first.
        pairs: of all specs, that of the two best first.
        rows: that each spec was to answer.
        agreement: with people; `None` where there are no ratings of theirs.
        notes: sentences that a reader should know.
        spent_usd: what it cost now; `None` where a price is unknown.
        traced: answers that are also logged as an evaluation of MLflow's.
        people_rated: answers that people rated, which may be too few to measure an agreement.
        unread: what the judge said most often that is none of its labels.
        length_correlation: rank correlation of rating and length of an answer among those of one spec; `None` where it
            means nothing.
        to_look_at: rows on which the specs were rated most differently.
    """

    judge: str
    model: str
    labels: tuple[str, ...]
    ordered: bool
    task: str
    judged_run: str
    source: str
    specs: tuple[JudgedSpec, ...]
    pairs: tuple[JudgedPair, ...]
    rows: int
    agreement: HumanAgreement | None = None
    notes: tuple[str, ...] = ()
    spent_usd: float | None = None
    traced: int = 0
    people_rated: int = 0
    unread: str = ""
    length_correlation: Interval | None = None
    to_look_at: tuple[RatedRow, ...] = ()
    schema: int = field(default=SCHEMA)

    @property
    def preferred(self) -> JudgedSpec:
        """The spec that the judge rates highest."""
        return self.specs[0]

    @property
    def is_certain(self) -> bool:
        """Whether the preferred spec differs from every other one, after correction."""
        best = [pair for pair in self.pairs if pair.first == self.preferred.name]
        return bool(best) and all(pair.is_certain for pair in best)

    @property
    def measure(self) -> str:
        """What the score is, in words."""
        return "mean rating" if self.ordered else f"share of {self.labels[0]}"

    @property
    def next_command(self) -> str:
        """What packages the preferred spec as a model; empty where no run measured it or no preference is certain."""
        run = self.preferred.measured_run
        is_chosen = self.is_certain or (len(self.specs) == 1 and not math.isnan(self.preferred.score.value))
        return f"luthier log runs:/{run} --register {shlex.quote(self.task)}" if run and is_chosen else ""

    def to_document(self) -> dict[str, Any]:
        """JSON values, from which `record_of` makes the record again."""
        document: dict[str, Any] = plain(self)
        return document
