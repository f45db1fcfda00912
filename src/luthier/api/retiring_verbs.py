"""The verb about models that retire: what of one's own stops working, and what could replace it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from luthier.accounts.kept_lists import KeptList, kept_lists
from luthier.api.arguments import need_text, need_whole
from luthier.api.verbs import limited, training_table
from luthier.engine.ask_options import Progress
from luthier.engine.engine import Engine
from luthier.engine.options import RunOptions
from luthier.errors import GateFailed
from luthier.model_catalogue import Catalogue, catalogue_models
from luthier.model_choice.model_uses import model_uses
from luthier.model_choice.replacement_candidates import MOST_CANDIDATES
from luthier.model_choice.replacement_report import ProposedReplacements
from luthier.model_choice.replacements import ReplacementSetup
from luthier.model_choice.retiring import WITHIN_DAYS, RetirementWatch, watch_retirements
from luthier.model_choice.retiring_report import retiring_sections, retiring_sentences
from luthier.reporting.html import fragment
from luthier.reporting.terminal import show, text_of
from luthier.tables import frame_of

if TYPE_CHECKING:
    import pandas as pd

    from luthier.api.verbs import Table

__all__ = ["RetiringModels", "retiring"]


class RetiringModels:
    """What retires: shows itself in a notebook, prints itself in a terminal.

    Attributes:
        watch: the records.
    """

    def __init__(self, watch: RetirementWatch, known: Catalogue, kept: Sequence[KeptList] = ()) -> None:
        self.watch, self._known, self._kept = watch, known, kept

    @property
    def frame(self) -> pd.DataFrame:
        """A row per retirement whose date is known, the most urgent first."""
        return self.watch.frame

    def document(self) -> dict[str, Any]:
        """The watch as JSON values, with its sentences."""
        return {"said": list(retiring_sentences(self.watch)), **self.watch.document()}

    def check(self) -> None:
        """Fails where something in use stops answering within the days, or does so already.

        Raises:
            GateFailed: it does; the message is the first sentence.
        """
        if self.watch.urgent:
            raise GateFailed(retiring_sentences(self.watch)[0])

    def setup(
        self,
        tests: Mapping[str, pd.DataFrame],
        train: pd.DataFrame | None = None,
        *,
        models: Sequence[str] = (),
        most: int = MOST_CANDIDATES,
    ) -> ReplacementSetup:
        """The comparison behind `replace`, read and checked: its price is known before anything is sent."""
        return ReplacementSetup(self.watch, self._known, self._kept, tests, train, models=models, most=most)

    def replace(
        self,
        test: Table,
        *,
        train: Table | None = None,
        models: Sequence[str] = (),
        most: int = MOST_CANDIDATES,
        limit: int | None = None,
        budget_usd: float | None = None,
        engine: Engine | None = None,
        progress: Progress | None = None,
        test_name: str = "the test table",
    ) -> ProposedReplacements:
        """Compares each retiring version in use with the same recipe on other models, and proposes one of them.

        Proposed is the cheapest of the models that are not clearly worse than the old one; of those that cost the
        same, the one that stays longest. Nothing is registered, promoted or deployed.

        Args:
            test: labelled rows, as `compare` takes them.
            train: labelled rows for recipes whose fit holds for the old model only.
            models: further models to try, as an endpoint names them; at Azure, deployments.
            most: how many models of the catalogue are tried.
            limit: use at most this many test rows, drawn with a fixed seed.
            budget_usd: most that may be spent over all comparisons.
            engine: the process's own when absent.
            progress: a `Progress` that is told of every answer.
            test_name: what the table is called in MLflow.

        Returns:
            A `Replacement` per version; `frame` has a row per model that was measured, `write()` writes the specs.

        Raises:
            UserError: nothing retires within the days, or what does answers several tasks.
            DataError: the table lacks a column, or a label is wrong.
            BudgetReached: the budget is spent; the same call goes on from there.
        """
        table = limited(frame_of(test, test_name), limit)
        setup = self.setup({test_name: table}, training_table(train), models=models, most=most)
        return ProposedReplacements(setup.run(RunOptions.within(budget_usd, engine=engine, progress=progress)))

    def show(self) -> None:
        """Prints it on standard output."""
        show(*retiring_sections(self.watch))

    def _repr_html_(self) -> str:
        return fragment(*retiring_sections(self.watch))

    def __repr__(self) -> str:
        return text_of(*retiring_sections(self.watch))


def retiring(
    within_days: int = WITHIN_DAYS, *, model: str | None = None, task: str | None = None, today: date | None = None
) -> RetiringModels:
    """What is registered in MLflow or deployed on this machine and asks a model that retires; asks no service.

    Dates are those of the catalogue, and those that accounts told when `luthier catalogue list --refresh` asked them.
    A fine-tuned model retires with the model that it was made from.

    Args:
        within_days: how far ahead is looked; what has retired already is always told.
        model: of this registered model only: `NAME`, `NAME@ALIAS` or `NAME/VERSION`.
        task: of this task only.
        today: the day that counts as today; the real one when absent.

    Returns:
        What retires, the most urgent first. `frame` has a row per date, `check()` fails where something in use stops
        within the days.

    Raises:
        UserError: the store cannot be reached, or the number of days is below 0.
        ModelError: there is no such registered model.
    """
    need_whole("within_days", within_days, 0)
    for what, given in (("model", model), ("task", task)):
        if given is not None:
            need_text(what, given)
    known, kept = catalogue_models(), kept_lists()
    watch = watch_retirements(
        model_uses(task, model), known, today=today or date.today(), within_days=within_days, kept=kept
    )
    return RetiringModels(watch, known, kept)
