"""Asks an endpoint one cheap question and reports what works, what does not, and what to change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from luthier.engine.loop import wait_for
from luthier.engine.report import Report
from luthier.errors import LuthierError
from luthier.providers import PROVIDERS
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Answer, Operation, Request
from luthier.providers.prices import PriceBook, dollars, price_cure
from luthier.providers.redaction import redact
from luthier.providers.transport import Reply, Transport, TransportFault
from luthier.replies.cures import REASONING_CURE, stopping_error
from luthier.replies.failures import Verdict, judge, judge_fault, judge_unread
from luthier.replies.headers import window
from luthier.replies.likeliest import LikeliestLimit
from luthier.replies.reading import Unreadable, read_answer

__all__ = ["Finding", "check_endpoint"]

# As many as a spec asks for, so that an endpoint that gives fewer is noticed here.
TOP_LOGPROBS = 20
TOP_HOSTED_COMPLETION = 5
REFUSED = {
    "access": "access",
    "quota": "quota",
    "unknown_model": "model",
    "chat_only": "style",
    "completion_only": "style",
    "no_embeddings": "embedding",
    "no_decisions": "decision",
    "embedding_settings": "parameters",
    "system_role": "system turn",
    "response_format": "JSON schema",
    "max_tokens": "parameters",
    "parameter": "parameters",
}
"""The check that fails with each cause."""
EARLIER = {"system": "You answer in one word.", "user": "The soup was good.", "assistant": "good"}
"""Turns before the question, by role."""
QUESTION = {"type": "choice", "instructions": "Was it good or bad?", "choices": [{"value": "good"}, {"value": "bad"}]}
REASONING_PARAMETERS = {"temperature", "top_p", "max_tokens", "presence_penalty", "frequency_penalty"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of an endpoint.

    Attributes:
        ok: whether it works; `None` where that is unknown or does not matter.
        what: what was checked.
        detail: what was found.
        cure: what to change; empty when nothing.
    """

    ok: bool | None
    what: str
    detail: str
    cure: str = ""


def check_endpoint(
    endpoint: Endpoint,
    wants_logprobs: bool,
    operation: Operation = "chat",
    decoding: Mapping[str, Any] | None = None,
    roles: Sequence[str] = (),
    report: Report | None = None,
) -> list[Finding]:
    """Key, address, model, parameters, log-probabilities, price and limits of an endpoint, by one call.

    Nothing is kept in the journal. A refused parameter costs a second call without it.

    Args:
        endpoint: the one to ask.
        wants_logprobs: whether the spec reads log-probabilities.
        operation: which call of the protocol the spec makes.
        decoding: fields the spec puts into the body, such as temperature, max_tokens and response_format.
        roles: roles of the turns before the question, such as `system`, which some models do not take.
        report: counts the call that was answered and its price.
    """
    given = {name: value for name, value in (decoding or {}).items() if value is not None}
    return wait_for(_Inspection(endpoint, wants_logprobs, operation, given, roles, report).findings())


@dataclass
class _Inspection:
    endpoint: Endpoint
    wants_logprobs: bool
    operation: Operation
    decoding: Mapping[str, Any]
    roles: Sequence[str]
    report: Report | None
    transport: Transport = field(default_factory=Transport)
    found: list[Finding] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.provider = PROVIDERS[self.endpoint.provider]
        hosted = self.endpoint.provider in ("openai", "azure")
        self._top = TOP_HOSTED_COMPLETION if hosted and self.operation == "completion" else TOP_LOGPROBS
        self._most = self._top

    async def findings(self) -> list[Finding]:
        try:
            await self._inspect()
        finally:
            await self.transport.close()
        return self.found

    async def _inspect(self) -> None:
        variable = self.endpoint.key_variable
        try:
            await self.provider.prepare(self.endpoint)
        except LuthierError as error:
            # Only the embedded server is prepared: it must start, and serve the model.
            self._add(False, "model", str(error))
            return
        try:
            await self.provider.headers(self.endpoint)
        except LuthierError as error:
            self._add(False, "key", str(error), f"export {variable}=..." if variable else "")
            return
        self._add(True, "key", f"in {variable}" if variable else "none needed")
        reply = await self._ask(self.decoding, self.wants_logprobs)
        limit = LikeliestLimit()
        while self.wants_logprobs and limit.learned(reply, Request(self.operation, {"top_logprobs": self._most})):
            self._most = limit.most or 1
            reply = await self._ask(self.decoding, True)
        verdict = self._verdict(reply)
        if verdict is not None and verdict.cause in ("parameter", "logprobs"):
            reply = await self._without(verdict)
            verdict = self._verdict(reply)
        await self._judge(reply, verdict)

    async def _ask(self, decoding: Mapping[str, Any], logprobs: bool) -> Reply | TransportFault:
        body: dict[str, Any]
        match self.operation:
            case "chat":
                body = {"max_tokens": 16, **decoding}
                earlier = [{"role": role, "content": EARLIER[role]} for role in self.roles]
                body["messages"] = [*earlier, {"role": "user", "content": "Answer with one word: good or bad?"}]
                if logprobs:
                    body |= {"logprobs": True, "top_logprobs": self._most}
            case "completion":
                body = {"max_tokens": 16, **decoding, "prompt": "Good or bad? Answer:"}
                if logprobs:
                    body["logprobs"] = self._most
            case "embedding":
                body = {**decoding, "input": ["Good or bad?"], "encoding_format": "base64"}
            case "decision":
                body = {**decoding, "input": "The soup was good.", "questions": [QUESTION]}
        return await self.provider.send(Request(self.operation, body), self.endpoint, self.transport)

    async def _without(self, verdict: Verdict) -> Reply | TransportFault:
        if verdict.cause == "logprobs":
            cure = "answer: {method: text}"
            self._add(False if self.wants_logprobs else None, "log-probabilities", verdict.message, cure)
            reply = await self._ask(self.decoding, False)
            again = self._verdict(reply)
            if again is None or again.cause != "parameter":
                return reply
            verdict = again
        self._add(False, "parameters", verdict.message, REASONING_CURE)
        kept = {name: value for name, value in self.decoding.items() if name not in REASONING_PARAMETERS}
        return await self._ask(kept, False)

    def _verdict(self, reply: Reply | TransportFault) -> Verdict | None:
        secrets = self.provider.secrets(self.endpoint)
        if isinstance(reply, TransportFault):
            return judge_fault(reply, secrets, reached=False)
        verdict = None
        if not 200 <= reply.status < 300:
            verdict = judge(reply, secrets, self.operation)
        else:
            try:
                read_answer(reply.body, self.operation)
            except Unreadable as error:
                verdict = judge_unread(reply, error, secrets, self.operation, answered=False)
        if verdict is not None and verdict.cause is None and verdict.suspected is not None:
            # The question is of ours: what is refused here is not its text.
            verdict = replace(verdict, cause=verdict.suspected)
        return verdict

    async def _judge(self, reply: Reply | TransportFault, verdict: Verdict | None) -> None:
        endpoint = self.endpoint
        if isinstance(reply, TransportFault):
            assert verdict is not None
            self._add(False, "reachable", verdict.message, str(stopping_error(verdict, endpoint)))
            return
        self._add(True, "reachable", f"{endpoint.address} answered in {reply.latency_seconds:.2f} s")
        if verdict is not None:
            await self._refused(verdict)
            return
        answer = read_answer(reply.body, self.operation)
        named = answer.model if answer.model and answer.model != endpoint.model else ""
        self._add(True, "model", f"{endpoint.model} is known" + (f"; it says it is {named}" if named else ""))
        done = {finding.what for finding in self.found}
        if "parameters" not in done and (self.decoding or self.operation in ("chat", "completion")):
            given = ", ".join(
                f"{name}={value['type'] if isinstance(value, dict) and 'type' in value else value}"
                for name, value in self.decoding.items()
            )
            self._add(True, "parameters", f"accepted ({given})" if given else "none given")
        if answer.finish_reason == "length" and not answer.text:
            self._add(False, "answer", "empty: max_tokens was used up before anything was written", REASONING_CURE)
        if self.operation == "embedding":
            self._embedding(len(answer.vector))
        if self.operation == "decision":
            self._decision(answer)
        if self.wants_logprobs and "log-probabilities" not in done and "parameters" in done:
            self._add(None, "log-probabilities", "not asked for again without the refused parameter")
        elif self.wants_logprobs and "log-probabilities" not in done:
            self._logprobs(answer)
        self._price(answer)
        self._limits(reply)

    async def _refused(self, verdict: Verdict) -> None:
        endpoint = self.endpoint
        what = REFUSED.get(verdict.cause or "", "answer")
        if verdict.cause is None:
            cure = "Run check again in a moment." if verdict.kind in ("transient", "rate_limit") else ""
            self._add(False, what, verdict.message, cure)
            return
        available = None
        if verdict.cause == "unknown_model":
            available = await self.provider.listed_models(endpoint, self.transport)
        self._add(False, what, verdict.message, str(stopping_error(verdict, endpoint, available)))

    def _embedding(self, dimensions: int) -> None:
        wanted = self.decoding.get("dimensions", dimensions)
        if dimensions == wanted:
            self._add(True, "embedding", f"{dimensions:,} dimensions")
        else:
            cure = "It cannot shorten vectors: leave `dimensions:` out."
            self._add(False, "embedding", f"{dimensions:,} dimensions, not the {wanted:,} that were asked for", cure)

    def _decision(self, answer: Answer) -> None:
        if answer.refusal is not None:
            self._add(None, "decision", "refused; some models refuse some questions")
            return
        shares = ", ".join(f"{label} {share:.2f}" for label, share in answer.decided)
        self._add(True, "decision", f"a choice has probabilities: {shares}")

    def _logprobs(self, answer: Answer) -> None:
        if not answer.choices:
            self._add(False, "log-probabilities", "asked for, but the answer has none", "answer: {method: text}")
            return
        most = max(len(position) for position in answer.choices)
        self._add(True, "log-probabilities", f"given, {most} a token ({self._top} asked for)")

    def _price(self, answer: Answer) -> None:
        cost = PriceBook().cost(self.endpoint, answer.usage, answer.model)
        if self.report is not None:
            self.report.requests += 1
            self.report.completed(replace(answer, cost_usd=cost))
        if cost is None:
            self._add(None, "price", "unknown, so a budget cannot be kept", price_cure(self.endpoint))
            return
        usage = answer.usage
        if usage.estimated:
            detail = "known, but the answer does not count all its tokens: costs are estimated from the texts' lengths"
            self._add(None, "price", detail)
            return
        self._add(True, "price", f"{dollars(cost)} for {usage.input_tokens} tokens in, {usage.output_tokens} out")

    def _limits(self, reply: Reply) -> None:
        said = {what: window(reply.headers, what) for what in ("requests", "tokens")}
        parts = [f"{found.limit:g} {what}" for what, found in said.items() if found is not None and found.limit]
        detail = f"{' and '.join(parts)} by the headers" if parts else "the headers name none"
        self._add(True if parts else None, "limits", detail)

    def _add(self, ok: bool | None, what: str, detail: str, cure: str = "") -> None:
        secrets = self.provider.secrets(self.endpoint)
        self.found.append(Finding(ok, what, redact(detail, secrets), redact(cure, secrets)))
