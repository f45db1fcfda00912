"""Which model stands behind the name of an endpoint, as far as it has said: answers are kept under that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from luthier.engine.endpoint_queue import Call
from luthier.engine.retries import EngineSettings
from luthier.engine.shared_journal import SharedJournal
from luthier.errors import EndpointError, LuthierError
from luthier.providers import PROVIDERS
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Answer, Operation, Request

__all__ = ["Identities"]

PROBES: dict[Operation, Request] = {
    "chat": Request("chat", {"messages": [{"role": "user", "content": "Say 1."}], "max_tokens": 16}),
    "completion": Request("completion", {"prompt": "1", "max_tokens": 1}),
    "embedding": Request("embedding", {"input": "1"}),
    "decision": Request("decision", {"input": "1", "questions": [{"type": "predicate", "instructions": "A digit?"}]}),
}
"""The cheapest question of each operation; its answer says which model it came from."""

Place = tuple[str, str]


class Identities:
    """Asks Azure deployments which model they are, remembers it for some minutes, and notices when a model changes.

    Args:
        probe: sends a request that is not kept, and returns the call when it is over.
    """

    def __init__(
        self, shared: SharedJournal, settings: EngineSettings, probe: Callable[[Request, Endpoint], Awaitable[Call]]
    ) -> None:
        self._shared, self._settings, self._probe = shared, settings, probe
        self._reported: dict[Place, tuple[str, float]] = {}
        self._asking: dict[Place, asyncio.Lock] = {}
        self._snapshots: dict[Place, str | None] = {}

    async def reported(self, endpoint: Endpoint, operation: Operation) -> tuple[str | None, Answer | None]:
        """What the endpoint says it is, and the answer that said so, if it was fetched for this.

        The model is `None` where the endpoint's own name is enough or the engine was stopped.

        Raises:
            EndpointError: it does not say.
        """
        if PROVIDERS[endpoint.provider].identity(endpoint, None) is not None:
            return None, None
        place = _place(endpoint)
        async with self._asking.setdefault(place, asyncio.Lock()):
            known, until = self._reported.get(place, ("", 0.0))
            if known and self._settings.clock() < until:
                return known, None
            call = await self._probe(PROBES[operation], endpoint)
            answer, last = call.answers[0], known or self._shared.journal.snapshot(*place)
            if call.stop_reason == "outage" and last:
                # Unreachable now, it cannot say: what the journal has is under what it said last.
                return last, None
            if call.error is not None:
                raise call.error
            if answer is None or answer.failure == "stopped":
                return None, None
            if answer.model is None:
                why = f" ({answer.error})" if answer.error else ""
                raise EndpointError(
                    f"{endpoint.label} was asked which model it is and did not say{why}. Run again, or name the "
                    "model behind the deployment with `identity:` in the endpoint."
                )
            self._reported[place] = answer.model, self._settings.clock() + self._settings.identity_seconds
            return answer.model, answer

    def guessed(self, endpoint: Endpoint) -> str | None:
        """The name its answers are probably kept under, without asking it; `None` if it never said."""
        provider = PROVIDERS[endpoint.provider]
        try:
            sure = provider.identity(endpoint, None)
        except LuthierError:
            return None
        if sure is not None:
            return sure
        known, _ = self._reported.get(_place(endpoint), ("", 0.0))
        return provider.identity(endpoint, known or self._shared.journal.snapshot(*_place(endpoint)))

    def forget(self, endpoint: Endpoint) -> None:
        """An answer came from another model: the endpoint is asked again by the next call."""
        self._reported.pop(_place(endpoint), None)

    async def remember_last(self, call: Call) -> None:
        """Looks up, once, which model the journal's answers came from, so that a change is noticed."""
        for place in map(_place, call.endpoint.pool):
            if place not in self._snapshots:
                self._snapshots[place] = await self._shared.read(self._shared.journal.snapshot, *place)
        self._compare(call)

    def notice(self, call: Call, endpoint: Endpoint, model: str) -> None:
        """Remembers the model of an endpoint's answer, and tells a person if it is not the one it was before."""
        place = _place(endpoint)
        before = self._snapshots.get(place)
        if before == model:
            return
        self._snapshots[place] = model
        self._shared.write_soon(self._shared.journal.saw_snapshot, *place, model)
        if before is not None:
            call.note(
                f"{endpoint.label} says it is {model}; answers in the journal came from {before}. "
                "Answers of both may be mixed: ask all again with --fresh."
            )
        self._compare(call)

    def _compare(self, call: Call) -> None:
        """Tells a person where the endpoints of one model say that they are different ones."""
        if not call.queue.is_pool:
            return
        pool = zip(call.queue.names, map(_place, call.endpoint.pool), strict=True)
        said = {name: model for name, place in pool if (model := self._snapshots.get(place)) is not None}
        if len(set(said.values())) > 1:
            listed = ", ".join(f"{name} says it is {model}" for name, model in said.items())
            call.note(f"{listed}. Endpoints under `endpoints:` share one journal and must serve one model.")


def _place(endpoint: Endpoint) -> Place:
    return endpoint.address, endpoint.model
