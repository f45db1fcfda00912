"""What a prompt will ask, before it is asked: word for word where that is known, else between bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from luthier.engine.estimates import FollowUps
from luthier.engine.groups import Recalled
from luthier.providers.exchange import Conversation, Request
from luthier.providers.redaction import sendable
from luthier.spec import Fitted, JournalReplay, PlannedRequests
from luthier.tasks.task import Rows
from luthier.techniques.prompt.adapter import FewShotExample, PromptAdapter, example_tokens
from luthier.techniques.prompt.example_search import has_ended, search_requests
from luthier.techniques.prompt.fitting import choose, nearest_of, training
from luthier.techniques.prompt.nearest import embedding_requests

if TYPE_CHECKING:
    from luthier.techniques.prompt.prompt import Prompt

__all__ = ["planned_requests"]


def planned_requests(
    spec: Prompt, rows: Rows, train: Rows | None, fitted: Fitted | None, recall: JournalReplay
) -> tuple[list[PlannedRequests], list[PlannedRequests]]:
    """What fitting and what answering these rows will ask; see `Spec.foreseen`."""
    follow = spec.following
    fitting: list[PlannedRequests] = []
    if fitted is None and spec.needs_training:
        given = training(spec, train)
        begun = recall(spec.fit(given))
        fitted = begun.result
        if fitted is None and spec.prompt.examples.select in ("nearest", "searched"):
            return _unfitted(spec, rows, given, begun, recall)
        fitting = _asked(begun, follow)
        if fitted is None:
            # The model's leaning is not known yet, and changes nothing of what is asked.
            fitted = Fitted(spec=spec, state={"examples": spec.kept(given, choose(spec, given).examples)})
    fitted = fitted or Fitted(spec=spec)
    found = recall(spec.predict(rows, fitted))
    answering = _asked(found, follow)
    nearest = nearest_of(spec, fitted)
    if nearest is not None:
        # A row without a vector is not asked in `found`; its examples lie between the shortest and the longest.
        waiting = _texts([request for requests in found.missing for request in requests])
        later = rows.take([i for i, is_new in enumerate(_are_new(rows, waiting)) if is_new])
        adapter = spec.adapter(fitted.state)
        shortest, longest = _extremes(adapter, fitted.state["pool"], spec.prompt.examples.most)
        answering.append(_worded_later(adapter, later, shortest, longest, follow))
    return fitting, answering


def _asked(recalled: Recalled[Any], follow: FollowUps) -> list[PlannedRequests]:
    """What a conversation asked, round by round; the further a walk has come, the less may follow."""
    found: list[PlannedRequests] = []
    rounds = 0
    for requests in recalled.rounds:
        if requests[0].operation == "embedding":
            found.append(PlannedRequests(requests))
            continue
        found.append(PlannedRequests(requests, replace(follow, calls=max(0, follow.calls - rounds))))
        rounds += 1
    return found


def _unfitted(
    spec: Prompt, rows: Rows, given: Rows, begun: Recalled[Fitted], recall: JournalReplay
) -> tuple[list[PlannedRequests], list[PlannedRequests]]:
    """Where the journal does not know yet which examples are shown."""
    chosen = choose(spec, given)
    held = given.take(chosen.calibration)
    follow = spec.following
    if chosen.search is not None:
        asked = [request for requests in begun.rounds for request in requests]
        known = {id(request) for request in asked}
        longest = search_requests(spec, given, chosen.search, asked)
        fitting = [
            PlannedRequests(asked, follow),
            PlannedRequests([request for request in longest if id(request) not in known], follow, sure=False),
        ]
        askings = [spec.adapter({"examples": spec.kept(given, s.positions)}) for s in chosen.search.samples]
        shown = sorted((adapter.examples for adapter in askings), key=example_tokens)
        extremes = shown[0], shown[-1]
        if not has_ended(spec, given, chosen.search, held, asked):
            fitting.append(_worded_later(spec.adapter({}), held, *extremes, follow, sure=False))
        return fitting, [_worded_later(spec.adapter({}), rows, *extremes, follow, sure=False)]
    endpoint = spec.prompt.examples.endpoint
    assert endpoint is not None
    adapter = spec.adapter({})
    extremes = _extremes(adapter, spec.kept(given, chosen.pool), spec.prompt.examples.most)

    def embedded_then_asked(some: Rows) -> list[PlannedRequests]:
        vectors = embedding_requests(some, endpoint)
        waiting = _texts(recall(_once(vectors)).missing[0]) if vectors else set()
        new = _are_new(some, waiting)
        # What was embedded before may have been asked before, too.
        before = some.take([i for i, is_new in enumerate(new) if not is_new])
        after = some.take([i for i, is_new in enumerate(new) if is_new])
        return [
            PlannedRequests(vectors),
            _worded_later(adapter, before, *extremes, follow, sure=False),
            _worded_later(adapter, after, *extremes, follow),
        ]

    pool = PlannedRequests(embedding_requests(given.take(chosen.pool), endpoint))
    return [pool, *embedded_then_asked(held)], embedded_then_asked(rows)


def _worded_later(
    adapter: PromptAdapter,
    rows: Rows,
    shortest: Sequence[FewShotExample],
    longest: Sequence[FewShotExample],
    follow: FollowUps,
    *,
    sure: bool = True,
) -> PlannedRequests:
    return PlannedRequests(adapter.requests(rows, longest), follow, adapter.requests(rows, shortest), sure)


def _extremes(
    adapter: PromptAdapter, pool: Sequence[dict[str, Any]], count: int
) -> tuple[tuple[FewShotExample, ...], tuple[FewShotExample, ...]]:
    """The shortest and the longest examples of a pool; one more of these, as a row is not shown its own text."""
    shown = sorted((adapter.shown(one["inputs"], one["label"]) for one in pool), key=lambda one: example_tokens([one]))
    return tuple(shown[:count]), tuple(shown[-count - 1 :])


def _texts(requests: Sequence[Request]) -> set[str]:
    return {request.body["input"] for request in requests if request.operation == "embedding"}


def _are_new(rows: Rows, waiting: set[str]) -> list[bool]:
    return [text is not None and sendable(str(text)) in waiting for text in rows.texts]


def _once(requests: Sequence[Request]) -> Conversation[None]:
    yield requests
