"""What the journal has no answer to yet, of all that a comparison asks; the Batch API is asked for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from luthier.engine.options import RunOptions
from luthier.engine.rounds import with_endpoints
from luthier.errors import UnusableAnswers
from luthier.experiments.fits import known_fit
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Request
from luthier.spec import Fitted, Spec
from luthier.tasks.task import Rows
from luthier.tracking.tracker import Tracker

__all__ = ["lacking_requests"]


def lacking_requests(
    specs: Sequence[Spec],
    tables: Sequence[Rows],
    training: Mapping[str, Rows | None],
    options: RunOptions,
    tracker: Tracker,
) -> Iterator[tuple[Request, Endpoint]]:
    """The requests without an answer, as far as the journal takes each spec; sends nothing.

    A spec that is fitted by asking yields the requests of its fit first; once those are answered, those of the rows.

    Args:
        specs: the recipes.
        tables: the rows that each of them answers.
        training: the rows each is fitted on, by its name; `None` for one that needs none.
        options: holds the engine.
        tracker: where to look for what was fitted earlier.
    """
    engine = options.asking_engine()
    for spec in specs:
        if not spec.endpoints:
            continue
        train = training[spec.name]
        fitted: Fitted | None = known_fit(spec, train, tracker)
        if fitted is None:
            try:
                fitting = engine.recall(spec.fit(train), spec.endpoint, options)
            except UnusableAnswers:
                continue  # the comparison says why
            yield from with_endpoints(fitting.missing, spec.endpoint)
            if not fitting.complete:
                continue
            fitted = fitting.result
        assert fitted is not None
        for rows in tables:
            yield from with_endpoints(
                engine.recall(fitted.predict(rows), spec.endpoint, options).missing, spec.endpoint
            )
