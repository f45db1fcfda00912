"""The one place that calls a model: requests in, answers out."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import logging
import os
import time
import weakref
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from statistics import harmonic_mean
from typing import Any, TypeVar, Unpack

from luthier.documents import described
from luthier.engine.ask_options import FINAL, AskOptions, AskShorthands, GuardedProgress, ask_options
from luthier.engine.dispatcher import Dispatcher
from luthier.engine.endpoint_queue import StopReason
from luthier.engine.estimates import NO_FOLLOW_UPS, Estimate, FollowUps, Pricing, expected_seconds, summed
from luthier.engine.exchanges import ExchangeObserver
from luthier.engine.journal_only import journal_answers
from luthier.engine.loop import background_loop, in_background, is_background, wait_for
from luthier.engine.report import Report
from luthier.engine.retries import EngineSettings
from luthier.engine.rounds import Group, Recalled, answers_of_all, by_endpoint, held, recalled, step
from luthier.errors import EndpointError, Interrupted, UserError
from luthier.journal.journal import Journal, JournalEntry
from luthier.providers import PROVIDERS
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Answer, Conversation, Operation, ProgressEvent, Request
from luthier.providers.keys import answer_keys, key_prefix
from luthier.providers.prices import PriceBook

__all__ = ["Engine"]

log = logging.getLogger("luthier.engine")

Result = TypeVar("Result")

LONGEST_CLOSE_SECONDS = 150.0

SILENT_CLOSE_SECONDS = 5.0
"""A longer wait is explained."""


class Engine:
    """Asks models: within their limits, each distinct request once, every answer kept before it is handed out.

    All engines of a process live on one background loop, so `run` also works in a notebook, `arun` on
    any loop, and both from many threads at once with shared limits. After a fork both start anew.

    Examples:
        >>> from luthier.endpoints import Journal, Request, openai
        >>> engine = Engine(Journal.in_memory())
        >>> request = Request("chat", {"messages": [{"role": "user", "content": "1 to 5: fine soup"}], "max_tokens": 4})
        >>> engine.estimate([request, request], openai("gpt-4o-mini")).left
        1
        >>> engine.close()

    Args:
        journal: where answers are kept; closed with the engine.
        limits_share: the part of every endpoint's limits this engine may use, more than 0 and at most 1, as where
            several processes serve a model on one account.
        clock: seconds that only grow; the limiters'.
        max_attempts: times a request is sent before it fails for now; waits the service asks for do not count.
        backoff_seconds: wait before the second attempt, doubled for each further one.
        longest_backoff_seconds: the longest such wait.
        identity_seconds: for how long the model an Azure deployment reported is taken as current.
        seed: of the jitter of the waits.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        limits_share: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        max_attempts: int = 6,
        backoff_seconds: float = 0.5,
        longest_backoff_seconds: float = 30.0,
        identity_seconds: float = 300.0,
        seed: int = 7,
    ) -> None:
        if not isinstance(journal, Journal):
            raise UserError(
                f"an engine keeps its answers in a Journal, as in Journal(PATH); given: {described(journal)}."
            )
        if not 0 < limits_share <= 1:
            raise UserError(
                f"limits_share is a part of the limits, more than 0 and at most 1; given: {limits_share!r}."
            )
        self.journal = journal
        self.report = Report()
        """Everything this engine did so far."""
        self.prices = PriceBook()
        self.observer: ExchangeObserver | None = None
        """Is told of every HTTP call; set before the first one."""
        self._settings = EngineSettings(
            clock, max_attempts, backoff_seconds, longest_backoff_seconds, identity_seconds, seed, limits_share
        )
        self.pricing = Pricing(self.prices)
        """What requests to each endpoint take and cost."""
        self._stop_reason: StopReason | None = None
        self._cut_short = False
        self._dispatcher: Dispatcher | None = None
        self._pid = os.getpid()
        _engines.add(self)

    async def arun(
        self,
        requests: Sequence[Request],
        endpoint: Endpoint | None,
        options: AskOptions | None = None,
        **shorthands: Unpack[AskShorthands],
    ) -> list[Answer]:
        """One answer per request, in order. A request that fails is an answer with `failure`; it never raises.

        Args:
            requests: what to ask; equal ones are sent once.
            endpoint: the one to ask, where a request does not name its own; several are asked at once.
            options: what may be spent, what is asked again, and who is told.
            shorthands: `budget`, `fresh`, `retry_failed`, `progress`, `report` and `asked` as keywords; each replaces
                that field of the options.

        Raises:
            EndpointError: no request could work: key, address, model or a parameter is wrong.
            QuotaError: the account has nothing left.
            BudgetReached: the budget is spent; answers so far are kept.
            Interrupted: a signal came; answers so far are kept.
            UserError: the journal failed, or a budget was given and the price is unknown.
        """
        return await _on_engine_loop(self._run(requests, endpoint, ask_options(options, shorthands)))

    def run(
        self,
        requests: Sequence[Request],
        endpoint: Endpoint | None,
        options: AskOptions | None = None,
        **shorthands: Unpack[AskShorthands],
    ) -> list[Answer]:
        """`arun`, waited for; also from inside a running loop, as in a notebook."""
        return wait_for(self._run(requests, endpoint, ask_options(options, shorthands)))

    async def adrive(
        self,
        conversation: Conversation[Result],
        endpoint: Endpoint | None,
        options: AskOptions | None = None,
        *,
        in_thread: bool = True,
        **shorthands: Unpack[AskShorthands],
    ) -> Result:
        """Answers a technique's requests until it has its result. Many may be driven at once.

        A `ProgressEvent` goes to the progress display; between two such rounds a signal ends the work. The errors are
        those of `arun`.

        Args:
            conversation: the technique's.
            endpoint: as for `arun`.
            options: as for `arun`.
            in_thread: whether the technique computes in a thread between its requests. For a few rows it takes less
                time than the way to a thread and back.
            shorthands: as for `arun`.
        """
        options = ask_options(options, shorthands)
        progress = GuardedProgress(options.progress)
        answers: Sequence[Answer] | None = None
        try:
            while True:
                if in_thread:
                    # Between its requests a technique may compute for seconds; the loop is not made to wait.
                    requests, ended = await asyncio.to_thread(step, conversation, answers)
                else:
                    requests, ended = step(conversation, answers)
                if ended is not None:
                    return ended[0]
                answers = []
                if requests:
                    answers = await _on_engine_loop(self._run(requests, endpoint, options))
                else:
                    self._take_event(requests, progress)
        finally:
            # Cancelled while the technique computes on its thread, it cannot be closed; it ends with that thread.
            with contextlib.suppress(ValueError):
                conversation.close()

    def drive(
        self,
        conversation: Conversation[Result],
        endpoint: Endpoint | None,
        options: AskOptions | None = None,
        **shorthands: Unpack[AskShorthands],
    ) -> Result:
        """`adrive`, waited for; the technique computes on the calling thread."""
        options = ask_options(options, shorthands)
        progress = GuardedProgress(options.progress)

        def answer(requests: Sequence[Request]) -> Sequence[Answer]:
            if requests:
                return wait_for(self._run(requests, endpoint, options))
            self._take_event(requests, progress)
            return []

        return held(conversation, answer)

    def recall(
        self,
        conversation: Conversation[Result],
        endpoint: Endpoint | None,
        options: AskOptions | None = None,
        **shorthands: Unpack[AskShorthands],
    ) -> Recalled[Result]:
        """How far the journal alone takes a technique, and the requests it lacks; sends nothing.

        What `missing` holds can be asked by other means, such as a batch: once the journal has those answers, the next
        recall comes further. It is empty when the journal has all that the conversation asks.

        Args:
            conversation: what `drive` would be given.
            endpoint: the one it would ask.
            options: what `fresh` and `retry_failed` would ask again counts as missing; the others have no effect.
            shorthands: as for `arun`.
        """
        options = ask_options(options, shorthands)
        missing: dict[tuple[str, bytes], Request] = {}

        def answer(requests: Sequence[Request]) -> Sequence[Answer]:
            answers = [Answer(failure="stopped")] * len(requests)
            for group in by_endpoint(requests, endpoint):
                known = wait_for(self._known(group, options))
                keys = answer_keys(key_prefix(group.endpoint, ""), group.requests)
                for place, request, key, found in zip(group.positions, group.requests, keys, known, strict=True):
                    if found is not None:
                        answers[place] = found
                    elif key is not None:
                        missing.setdefault((group.endpoint.address, key), request)
            return answers

        return recalled(conversation, answer, missing.values())

    def entries(self, requests: Sequence[Request], endpoint: Endpoint | None) -> list[JournalEntry | None]:
        """The journal's entries of these requests, as they came from the service; sends nothing.

        Args:
            requests: what was asked.
            endpoint: the one that was asked, where a request does not name its own.
        """
        found: list[JournalEntry | None] = [None] * len(requests)
        for group in by_endpoint(requests, endpoint):
            identity = self._dispatcher_here().identities.guessed(group.endpoint)
            if identity is None:
                continue
            keys = answer_keys(key_prefix(group.endpoint, identity), group.requests)
            known = self.journal.lookup([key for key in keys if key is not None])
            for place, key in zip(group.positions, keys, strict=True):
                found[place] = None if key is None else known.get(key)
        return found

    def identity(
        self, endpoint: Endpoint, operation: Operation, options: AskOptions | None = None, *, anew: bool = False
    ) -> str:
        """The name under which the journal keeps an endpoint's answers; a deployment that never said it is asked.

        Args:
            endpoint: the one whose answers are meant.
            operation: of the request that finds out.
            options: the budget that pays for that request.
            anew: whether its answers have shown that it is another model than it said lately.

        Raises:
            EndpointError: it cannot be asked, or does not say.
        """
        return wait_for(self._identity(endpoint, operation, options or AskOptions(), anew))

    async def expected_wait_seconds(self, endpoint: Endpoint) -> float:
        """How long a request would wait for its turn, as far as the limits and those before it tell."""
        return self._dispatcher_here().queue_of(endpoint).expected_wait_seconds()

    def estimate(
        self,
        requests: Sequence[Request],
        endpoint: Endpoint | None,
        *,
        fresh: bool = False,
        retry_failed: bool = False,
        counted: set[bytes] | None = None,
        follow: FollowUps = NO_FOLLOW_UPS,
    ) -> Estimate:
        """What asking these would take; sends nothing.

        What an Azure deployment said last counts as its model, and an embedded server is not started to see; where
        neither is known, no answer counts as being in the journal. Where several endpoints are asked it is the sum,
        and unknown if one of them is.

        Args:
            requests: what would be asked.
            endpoint: the one to ask, where a request does not name its own.
            fresh: whether the journal's answers will not be used.
            retry_failed: whether what failed for good will be asked again.
            counted: one set for the estimates of one command: what is in it costs nothing more, and what would be
                sent is added.
            follow: calls that an answer may lead to.
        """
        seen = set() if counted is None else counted
        final = () if retry_failed else FINAL

        async def of_group(group: Group) -> Estimate:
            identity = self._dispatcher_here().identities.guessed(group.endpoint)
            keys = answer_keys(key_prefix(group.endpoint, identity or ""), group.requests)
            # A request that cannot be written as JSON fails when it is asked; it costs nothing.
            distinct = {key: request for key, request in zip(keys, group.requests, strict=True) if key is not None}
            shared = seen & distinct.keys()
            known: set[bytes] = set()
            if identity is not None and not fresh:
                known = await asyncio.to_thread(self.journal.settled, list(distinct.keys() - shared), final)
            left = distinct.keys() - shared - known
            seen.update(left)
            asked = [request for key, request in distinct.items() if key in left]
            found = await asyncio.to_thread(self.pricing.estimate, asked, group.endpoint, self.journal.snapshot, follow)
            return replace(
                found,
                requests=len(group.requests),
                distinct=len(distinct),
                in_journal=len(known),
                shared=len(shared),
                sure=fresh or identity is not None or not left,
            )

        return summed([wait_for(of_group(group)) for group in by_endpoint(requests, endpoint)])

    def expected_seconds(self, endpoint: Endpoint | None, requests: int, tokens: int) -> float | None:
        """How long asking would take, by the endpoint's limits and by how long its model took for its latest answers.

        `None` where no limit is set and the journal has none of its answers. Several endpoints work side by side.

        Args:
            endpoint: the one to ask; without one it takes no time.
            requests: how many are sent.
            tokens: of all of them.
        """
        if endpoint is None or not requests:
            return 0.0
        latency = self.journal.latency_seconds(endpoint.model)
        alone = [expected_seconds(one.limits, requests, tokens, latency) for one in endpoint.pool]
        known = [seconds for seconds in alone if seconds is not None]
        return harmonic_mean(known) / len(known) if len(known) == len(alone) else None

    def stop(self, *, interrupted: bool = False) -> None:
        """Sends nothing new. What is in flight is finished and kept; the rest comes back as `stopped`.

        Holds until `resume`. May be called from any thread and from a signal's handler.

        Args:
            interrupted: whether calls end with `Interrupted` instead of returning what they have.
        """
        self._tell("interrupted" if interrupted else "stopped")

    def resume(self) -> None:
        """Ends a `stop`."""
        self._cut_short = False
        self._tell(None)

    def raise_if_interrupted(self) -> None:
        """Ends work that asks no model; long computations call it between their parts.

        Raises:
            Interrupted: `stop(interrupted=True)` was called and `resume` was not.
        """
        if self._stop_reason == "interrupted":
            self._cut_short = True
            raise Interrupted("stopped by a signal. What was answered is kept: run the same again to go on from there.")

    @property
    def was_cut_short(self) -> bool:
        """Whether `stop(interrupted=True)` ended any work early, rather than coming after it."""
        return self._cut_short

    def close(self) -> None:
        """Stops, waits for what is in flight, and closes the journal. The engine can be used again."""
        dispatcher, self._dispatcher = self._dispatcher, None
        if dispatcher is not None and self._pid == os.getpid():
            closing = in_background(dispatcher.close())
            done, _ = concurrent.futures.wait([closing], SILENT_CLOSE_SECONDS)
            if not done:
                log.warning("waiting up to %g s for calls in flight, whose answers are paid for", LONGEST_CLOSE_SECONDS)
            with contextlib.suppress(concurrent.futures.TimeoutError):
                closing.result(LONGEST_CLOSE_SECONDS)
        self.journal.close()

    async def _run(self, requests: Sequence[Request], endpoint: Endpoint | None, options: AskOptions) -> list[Answer]:
        dispatcher = self._dispatcher_here()
        try:
            groups = by_endpoint(requests, endpoint)
            if options.journal_only:
                self.raise_if_interrupted()
                return await answers_of_all(groups, lambda group: self._recorded(group, options))
            return await answers_of_all(groups, lambda group: dispatcher.ask(group.requests, group.endpoint, options))
        except Interrupted:
            self._cut_short = True
            raise

    def _recorded(self, group: Group, options: AskOptions) -> Coroutine[Any, Any, list[Answer]]:
        dispatcher = self._dispatcher_here()
        identity = dispatcher.identities.guessed(group.endpoint)
        return journal_answers(dispatcher.shared, identity, group, options, (self.report, options.report))

    def _take_event(self, requests: Sequence[Request], progress: GuardedProgress) -> None:
        if isinstance(requests, ProgressEvent):
            event = requests
            progress.tell(lambda shown: shown.working(event.what, event.done, event.total, event.said))
        self.raise_if_interrupted()

    async def _identity(self, endpoint: Endpoint, operation: Operation, options: AskOptions, anew: bool) -> str:
        dispatcher, provider = self._dispatcher_here(), PROVIDERS[endpoint.provider]
        await provider.prepare(endpoint)
        if anew:
            dispatcher.identities.forget(endpoint)
        known = dispatcher.identities.guessed(endpoint)
        if known is None:
            reported, answer = await dispatcher.identities.reported(endpoint, operation)
            if answer is not None:
                self.report.now.add(answer)
                if options.budget is not None:
                    options.budget.spend(answer.cost_usd or 0.0)
            known = provider.identity(endpoint, reported)
        if known is None:
            raise EndpointError(f"{endpoint.label} does not say which model it is; name one with `identity:`.")
        return known

    async def _known(self, group: Group, options: AskOptions) -> list[Answer | None]:
        dispatcher = self._dispatcher_here()
        return await dispatcher.shared.known(group, dispatcher.identities.guessed(group.endpoint), options)

    def _dispatcher_here(self) -> Dispatcher:
        if self._dispatcher is None or self._pid != os.getpid():
            # Connections, limits and what is in flight belong to the process that made them; the parent's dispatcher
            # is kept, as closing it would close what the parent uses.
            self._left_to_the_parent = self._dispatcher
            self._pid = os.getpid()
            self._dispatcher = Dispatcher(self.journal, self._settings, self.report, self.pricing)
            self._dispatcher.stopped = self._stop_reason
            self._dispatcher.observer = self.observer
        return self._dispatcher

    def _tell(self, reason: StopReason | None) -> None:
        self._stop_reason = reason
        dispatcher = self._dispatcher
        if dispatcher is None or self._pid != os.getpid():
            return
        loop = background_loop()
        if reason is None:
            loop.call_soon_threadsafe(setattr, dispatcher, "stopped", None)
        else:
            loop.call_soon_threadsafe(dispatcher.stop_all, reason)


async def _on_engine_loop(work: Coroutine[Any, Any, Result]) -> Result:
    return await (work if is_background() else asyncio.wrap_future(in_background(work)))


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for engine in list(_engines):
        engine.close()
