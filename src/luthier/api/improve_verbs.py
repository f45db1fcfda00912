"""The verb that looks for a better prompt."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.api.arguments import need_whole
from luthier.documents import described
from luthier.engine.engine import Engine
from luthier.engine.options import RunOptions
from luthier.errors import UserError
from luthier.improving.improve_setup import MOST_ROWS, ROUNDS, ImproveSetup
from luthier.improving.improvement import Improvement, check_target
from luthier.improving.records import Proposer
from luthier.model_catalogue import catalogue_models
from luthier.model_choice.askable import askable_places
from luthier.model_choice.candidates import ranked_models
from luthier.providers.endpoint import Endpoint
from luthier.spec import Spec
from luthier.tables import frame_of
from luthier.techniques import read_endpoint

if TYPE_CHECKING:
    from luthier.engine.ask_options import Progress

__all__ = ["improve", "writer_endpoint"]


def improve(
    spec: Spec,
    train: Any,
    validation: Any,
    *,
    budget_usd: float | None = None,
    writer: Endpoint | str | Path | None = None,
    by: Sequence[str | Proposer] = (),
    rounds: int = ROUNDS,
    rows: int = MOST_ROWS,
    rank_by: str | None = None,
    seed: int = 7,
    save: str | Path | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Improvement:
    """Looks for a better prompt within a budget, and measures it on rows that the choice never saw.

    In each round proposers suggest prompts, which race against the best so far on training rows. The winner, its close
    rivals and the first prompt are then measured on the validation rows, whose price is set aside from the start.
    The same call after an interruption goes on where it ended.

    Args:
        spec: the prompt to begin with.
        train: labelled rows that prompts are chosen on: a DataFrame, a path, or what else `compare` takes.
        validation: other labelled rows, for the last measurement.
        budget_usd: most that all of it may cost, answers that the journal has included; needed unless models are free.
        writer: the model that writes instructions: an endpoint, an endpoint file, or a name as the catalogue spells
            it; the spec's own where it chats.
        by: `rewrite`, `examples`, or proposers of one's own; those that can be used when absent.
        rounds: rounds without a better prompt after which the search ends.
        rows: at most so many training rows are asked.
        rank_by: metric that prompts are chosen by; the task type's own when absent.
        seed: of everything that is drawn.
        save: where the winner is written as a spec, if there is a gain.
        engine: asks the models; the process's own when absent.
        progress: is told of every answer; a bar on stderr when absent.

    Returns:
        An improvement; `.best` is the prompt to use, `.gain` what it gains on fresh rows, `.frame` every prompt tried.

    Raises:
        SpecError: the spec is no prompt.
        DataError: rows are too few, all alike, or in both tables.
        EndpointError: a model cannot be asked, or the writer does not chat.
        BudgetReached: the budget does not pay for one round and the last measurement; nothing was sent.
        UserError: no budget was given, or there is no such proposer.
        Partial: some rows have no answer yet; the same call asks for them.
    """
    if not isinstance(spec, Spec):
        raise UserError(f"improve takes a spec, as read_spec('models/few.yaml') gives one; given: {described(spec)}.")
    target = None if save is None else check_target(save)
    setup = ImproveSetup(
        spec,
        frame_of(train, "the training table"),
        frame_of(validation, "the validation table"),
        writer=writer_endpoint(writer),
        by=by,
        rounds=need_whole("rounds", rounds),
        rows=need_whole("rows", rows),
        rank_by=rank_by,
        seed=need_whole("seed", seed, 0),
    )
    found = setup.run(RunOptions.within(budget_usd, engine=engine, progress=progress))
    return found if target is None else found.write(target)


def writer_endpoint(given: Endpoint | str | Path | None) -> Endpoint | None:
    """The model that writes instructions: an endpoint, that of an endpoint file, or one of the catalogue by its name.

    A name is looked for among the models that can be asked now: those of `models/endpoints/` whose key is set.

    Raises:
        UserError: no model of the name can be asked here.
        SpecError: a file is no endpoint file.
    """
    if given is None or isinstance(given, Endpoint):
        return given
    if not isinstance(given, str | Path):
        raise UserError(
            f"writer is an endpoint, an endpoint file or a model's name, as in 'gpt-4.1'; given: {described(given)}."
        )
    if isinstance(given, Path) or Path(given).suffix in (".yaml", ".yml") or Path(given).is_file():
        return Endpoint.model_validate(read_endpoint(given)["endpoint"])
    there = askable_places()
    found, left = ranked_models(
        catalogue_models(),
        there.places,
        task="classification",
        technique="prompt",
        most=1,
        today=date.today(),
        names=[given],
        listed=there.listed,
    )
    if not found:
        why = f": {left[0].why}" if left else ""
        raise UserError(f"no model {given!r} can be asked here{why}. Give an endpoint file with --writer FILE.")
    return Endpoint.model_validate(found[0].blocks["endpoint"])
