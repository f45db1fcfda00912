"""The verb that tries a prompt on single rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.api.arguments import need_texts
from luthier.documents import described
from luthier.engine.engine import Engine
from luthier.engine.options import RunOptions
from luthier.errors import SpecError
from luthier.experiments.try_out import TryOut
from luthier.model_choice.models_to_try import specs_for_models
from luthier.plans import Plan
from luthier.spec import Spec
from luthier.tables import frame_of

if TYPE_CHECKING:
    from luthier.api.verbs import Table

__all__ = ["try_out", "trying"]


def try_out(
    spec: Spec,
    rows: Table | None = None,
    *,
    models: Sequence[str] = (),
    train: Table | None = None,
    budget_usd: float | None = None,
    engine: Engine | None = None,
    fresh: bool = False,
) -> TryOut:
    """Tries a prompt on single rows: what is sent word for word, the answer, its label, price and latency.

    Nothing is sent before `.ask` is called or the button of the form is pressed.

    Args:
        spec: the recipe; one without a prompt can be asked, but not edited.
        rows: a table to take rows from, in any form that `compare` takes.
        models: names of models to ask side by side, in any provider's spelling; the spec's own when absent.
        train: labelled rows, for a spec that shows examples. One that only calibrates on them is asked without.
        budget_usd: most that may be spent on everything that is tried.
        engine: asks the models; the process's own when absent.
        fresh: ask again what the journal has answers to.

    Returns:
        What is tried, with `.ask`, `.edit`, `.save` and `.frame`; a form in a notebook where ipywidgets is installed.

    Raises:
        SpecError: the spec needs training rows and there are none.
        UserError: a model is not known, or no service here answers it.
        DataError: a table lacks a column.
    """
    return trying(
        spec, rows, models=models, train=train, options=RunOptions.within(budget_usd, engine=engine, fresh=fresh)
    )


def trying(
    spec: Spec,
    rows: Any = None,
    *,
    models: Sequence[str] = (),
    endpoints: Sequence[str | Path] = (),
    train: Any = None,
    options: RunOptions,
    agree: Callable[[Plan], None] | None = None,
    origin: str = "",
) -> TryOut:
    """As `try_out`, for a command that asks before it spends.

    Args:
        spec: the recipe.
        rows: a table to take rows from.
        models: names of models to ask.
        endpoints: endpoint files at which they are looked for; those of `models/endpoints/` when there are none.
        train: labelled rows.
        options: on what terms models are asked.
        agree: is shown the price, and raises where a person does not agree.
        origin: the file of the spec.
    """
    if not isinstance(spec, Spec):
        raise SpecError(f"spec is a spec, as read_spec('models/few.yaml') gives one; given: {described(spec)}.")
    options.asking_engine()
    named = need_texts("models", models)
    specs_for = partial(specs_for_models, spec, files=endpoints)
    return TryOut(
        specs_for(named) if named else [spec],
        None if rows is None else frame_of(rows, "the table", text=spec.task.text),
        train=None if train is None else frame_of(train, "the training table"),
        options=options,
        agree=agree,
        specs_for=specs_for,
        origin=origin,
    )
