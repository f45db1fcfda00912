"""What a judge gives back: it shows itself, and holds the ratings row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.judging.answers_to_judge import AnswersToJudge
from luthier.judging.human_ratings import HumanRatings
from luthier.judging.judgement_facts import HumanAgreement, JudgementFacts
from luthier.judging.judgement_report import judgement_page, judgement_sections
from luthier.reporting.html import fragment, page_text, write_page
from luthier.reporting.terminal import show, text_of
from luthier.tables import free_names, series_of, storable_cells, write_frame
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Task

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Judgement", "ratings_table"]


@dataclass(frozen=True, eq=False, repr=False)
class Judgement:
    """Ratings of answers by a judge: which spec it prefers, how certain that is, how far people agree with it.

    Attributes:
        facts: the plain records.
        ratings: row by row what was judged and what the judge said.
        run_id: MLflow run that keeps it.
        partial: whether ratings are missing for reasons that may pass; the same call asks for them.
    """

    facts: JudgementFacts
    ratings: pd.DataFrame = field(repr=False)
    run_id: str = ""
    partial: bool = False

    @property
    def preferred(self) -> str:
        """Name of the spec that the judge rates highest."""
        return self.facts.preferred.name

    @property
    def is_certain(self) -> bool:
        """Whether it differs from every other spec, after correction."""
        return self.facts.is_certain

    @property
    def agreement(self) -> HumanAgreement | None:
        """How far the judge agrees with people; `None` where there are no ratings of theirs."""
        return self.facts.agreement

    @property
    def spent_usd(self) -> float | None:
        """US dollars spent now; `None` where a price is unknown."""
        return self.facts.spent_usd

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row per spec, best first: its score with bounds, the share of each label, rows by state."""
        import pandas as pd

        rows = []
        for one in self.facts.specs:
            row: dict[str, Any] = {"spec": one.name, "model": one.model, "group": one.group}
            row |= {"score": one.score.value, "score_low": one.score.low, "score_high": one.score.high}
            row |= {f"share_{label}": share.value for label, share in one.shares.items()}
            row |= {"unrated": one.unrated.value, "unanswered": one.states.get("unanswered", 0)}
            rows.append(row | {"rated": one.states.get("ok", 0), "run_id": one.run_id})
        return pd.DataFrame(rows)

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """A row per two specs: the difference with bounds, on how many rows, p, and p corrected for all pairs."""
        import pandas as pd

        return pd.DataFrame(
            {
                "first": pair.first,
                "second": pair.second,
                "rows": pair.rows,
                "difference": pair.difference.value,
                "difference_low": pair.difference.low,
                "difference_high": pair.difference.high,
                "p": pair.p,
                "corrected": pair.corrected,
            }
            for pair in self.facts.pairs
        )

    def to_document(self) -> dict[str, Any]:
        """The records and the run as plain JSON values."""
        return self.facts.to_document() | {"run_id": self.run_id}

    def write_page(self, path: str | Path) -> Path:
        """Writes the page as one HTML file that needs no network; an earlier page is replaced.

        Raises:
            DataError: the file cannot be written, or a file that is no page is there.
        """
        return write_page(page_text(judgement_page(self.facts)), path)

    def write_ratings(self, path: str | Path) -> None:
        """Writes `ratings` as a table: csv, jsonl or parquet.

        Raises:
            DataError: it cannot be written there.
        """
        write_frame(self.ratings, path)

    def show(self) -> None:
        """Prints it on standard output."""
        show(*judgement_sections(self.facts))

    def _repr_html_(self) -> str:
        return fragment(*judgement_sections(self.facts))

    def __repr__(self) -> str:
        return text_of(*judgement_sections(self.facts))


def ratings_table(
    task: Task, answers: AnswersToJudge, ratings: Sequence[Prediction], people: HumanRatings
) -> pd.DataFrame:
    """Row by row what was judged, the judge's label, state and words, people's ratings, and what it cost.

    Args:
        task: of the judge.
        answers: that were judged.
        ratings: one per answer.
        people: by rater the label of each answer.
    """
    import pandas as pd

    columns: dict[str, Any] = {name: [one.get(name) for one in answers.records] for name in ("spec", "row", "text")}
    columns |= {
        "truth": [one["truth"] for one in answers.records],
        "answer": [one["answer"] for one in answers.records],
    }
    judged = task.kind.frame(ratings)
    columns |= {task.label if name == task.kind.value_name else str(name): judged[name] for name in judged.columns}
    columns |= {
        "raw": [p.call.raw for p in ratings],
        "cost_usd": pd.Series([p.call.cost_usd for p in ratings], dtype="float64"),
    }
    for rater, labels in people.items():
        columns[rater if rater not in columns else f"{rater} (person)"] = list(labels)
    others = [name for name in answers.records[0] if name not in columns]
    for name, free in free_names(others, tuple(columns)).items():
        columns[free] = [one.get(name) for one in answers.records]
    made = {}
    for name, cells in columns.items():
        series = cells if isinstance(cells, pd.Series) else series_of(storable_cells(cells))
        made[name] = series.reset_index(drop=True)
    return pd.DataFrame(made)
