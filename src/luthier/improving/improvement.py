"""A search for a better prompt as a notebook and a command hold it: the best prompt, what it gains, its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.errors import UserError
from luthier.evaluation.interval import Interval
from luthier.evaluation.leaderboard import Leaderboard
from luthier.improving.improvement_facts import ImprovementFacts
from luthier.improving.improvement_report import improvement_sections
from luthier.outputs import check_file
from luthier.reporting.html import fragment
from luthier.reporting.numbers import number
from luthier.reporting.table import Section
from luthier.reporting.terminal import show, text_of
from luthier.techniques import Prompt
from luthier.techniques.spec_writing import plain_name, spec_text
from luthier.tuning.tuned_specs import write_unreplaced

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Improvement", "check_target", "improved_file"]

HEAD = "Written by luthier improve"


@dataclass(frozen=True, repr=False, eq=False)
class Improvement:
    """What a search for a better prompt found.

    Attributes:
        facts: what was measured, as plain records.
        specs: every prompt tried, by name.
        board: the finalists on fresh rows as a leaderboard.
        run_id: MLflow run of the search; each prompt has a run beneath it.
        prompt_uri: the best prompt in MLflow's prompt registry; `None` where there is none of it.
        file: the spec that was written.
    """

    facts: ImprovementFacts
    specs: Mapping[str, Prompt]
    board: Leaderboard
    run_id: str
    prompt_uri: str | None = None
    file: Path | None = None

    @property
    def best(self) -> Prompt:
        """The prompt to use: the winner where it is better on fresh rows, else the one that the search began with."""
        return self.specs[self.facts.best]

    @property
    def winner(self) -> Prompt:
        """The prompt that is best on the training rows, whatever it is on fresh ones."""
        return self.specs[self.facts.winner]

    @property
    def has_gain(self) -> bool:
        """Whether the winner is better than the first prompt on fresh rows, after correction."""
        return self.facts.has_gain

    @property
    def gain(self) -> Interval | None:
        """The winner's score minus that of the first prompt on fresh rows; `None` where nothing better was found."""
        return self.facts.gain

    @property
    def diff(self) -> str:
        """A unified diff from the wording of the first prompt to that of the winner; empty where it won itself."""
        return "\n".join(self.facts.diff().lines)

    @property
    def spent_usd(self) -> float | None:
        """US dollars spent in this run; `None` where a price is unknown."""
        return self.facts.spent_usd

    @property
    def frame(self) -> pd.DataFrame:
        """A row per prompt: name, parent, how, rows, figures on training and fresh rows, shrinkage, gain, p, cost."""
        import pandas as pd

        rows = []
        for one in self.facts.prompts:
            fresh = one.fresh
            row: dict[str, Any] = {"name": one.name, "parent": one.parent, "how": one.how, "round": one.round}
            row |= {"rows": one.rows, **_bounds("train", one.score)}
            row |= _bounds("validation", None if fresh is None else fresh.score)
            row |= {"shrinkage": self.facts.shrinkage(one)}
            row |= _bounds("gain", None if fresh is None else fresh.gain)
            row |= {"p": None if fresh is None else fresh.corrected, "cost_usd": one.cost_usd}
            rows.append(row | {"wording": one.wording, "run_id": one.run_id})
        numbers = [f"{name}{end}" for name in ("train", "validation", "gain") for end in ("", "_low", "_high")]
        return pd.DataFrame(rows).astype(dict.fromkeys([*numbers, "shrinkage", "p", "cost_usd"], "float64"))

    @property
    def sections(self) -> tuple[Section, ...]:
        """The report."""
        return improvement_sections(self.facts, self._next())

    def write(self, file: str | Path) -> Improvement:
        """Writes the winner as a spec, where there is a gain; a file that holds something else is never replaced.

        Args:
            file: where; NAME-2 and so on where another file is there.

        Raises:
            UserError: it cannot be written.
        """
        if not self.has_gain:
            return self
        assert self.gain is not None
        measure, gain = self.facts.measure, number(self.gain.value, "gap")
        head = f"{HEAD} from {self.facts.start}: {measure.title} {gain} on {self.facts.fresh_rows:,} fresh rows."

        def text(path: Path) -> str:
            return spec_text(self.winner, path, head, plain_name(path.stem) or self.winner.name)

        try:
            written = write_unreplaced(Path(file), text)
        except OSError as error:
            raise UserError(
                f"{file} cannot be written ({error.strerror}); the spec is in MLflow run {self.run_id}."
            ) from error
        return replace(self, file=written)

    def document(self) -> dict[str, Any]:
        """What was found as JSON values."""
        return {
            **self.facts.to_document(),
            "run_id": self.run_id,
            "prompt_uri": self.prompt_uri,
            "file": None if self.file is None else str(self.file),
            "spec": self.best.document(),
            "leaderboard": self.board.to_document(),
        }

    def show(self) -> None:
        """Prints it on standard output."""
        show(*self.sections)

    def _next(self) -> tuple[str, ...]:
        if not self.has_gain:
            return (f"The prompt to use is still {self.facts.start}.",)
        said = [] if self.file is None else [f"Written: {self.file}"]
        if self.prompt_uri is not None:
            said.append(f"In MLflow's prompt registry, with what it was made from: {self.prompt_uri}")
        return tuple(said)

    def _repr_html_(self) -> str:
        return fragment(*self.sections)

    def __repr__(self) -> str:
        return text_of(*self.sections)


def improved_file(spec_file: str | Path) -> Path:
    """NAME-improved.yaml beside the file of the first prompt.

    Examples:
        >>> improved_file("models/stars.yaml").name, improved_file("models/stars-improved.yaml").name
        ('stars-improved.yaml', 'stars-improved.yaml')
    """
    file = Path(str(spec_file).partition("#")[0])
    return file.with_name(f"{file.stem.removesuffix('-improved')}-improved.yaml")


def check_target(file: str | Path) -> Path:
    """Refuses, before anything is paid, a file that was named and could not be written in the end.

    Raises:
        UserError: there is another file of this name, or no folder for it.
    """
    target = Path(file)
    if not target.parent.is_dir():
        raise UserError(f"no folder {target.parent} for {target.name}; make it, or give another --save.")
    check_file(target)
    if target.exists() and not target.read_text("utf-8", "replace").startswith(f"# {HEAD}"):
        raise UserError(f"{target} is there already and was not written by luthier improve; give another --save.")
    return target


def _bounds(name: str, found: Interval | None) -> dict[str, float | None]:
    if found is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
