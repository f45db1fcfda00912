"""The backend of a tuned model: it gives one of the answers it was trained on, token by token."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path

from luthier_local.api_errors import ApiError, unsupported_parameter
from luthier_local.backend import Backend, GeneratedToken, Generation, GenerationRequest, Message
from luthier_local.deterministic import END
from luthier_local.jobs.answer_tokens import AnswerTokens
from luthier_local.jobs.tuned_network import Network
from luthier_local.label_probabilities import LEAST, LabelProbabilities, next_token_request

__all__ = ["TunedBackend", "UntunedBackend", "text_before_answer"]

_LOADED = 8
_SHOWN = 10


@functools.lru_cache(maxsize=_LOADED)
def _load(path: str) -> tuple[Network, AnswerTokens]:
    # A sweep leaves dozens of models; the last ones used stay in memory.
    network = Network.load(Path(path))
    return network, AnswerTokens(network.answers)


def text_before_answer(messages: Sequence[Message]) -> tuple[str, str]:
    """The text that is read, as in training (all turns, joined by line breaks), and the start of the answer."""
    begun = ""
    if messages and messages[-1].role == "assistant":
        messages, begun = messages[:-1], messages[-1].content
    return "\n".join(turn.content for turn in messages), begun


class TunedBackend(Backend):
    """Answers with what it was trained on. The same prompt and seed get the same answer."""

    def __init__(self, path: str, digest: str) -> None:
        super().__init__(digest)
        self._path = path
        _load(path)

    def weigh(self, prompt: str, answers: Sequence[str]) -> LabelProbabilities | None:
        """The probability of each answer to the prompt, given that it is one of them.

        Args:
            prompt: What a user says.
            answers: Different texts without spaces around them.

        Returns:
            Nearly zero for an answer it was not trained on; `None` where it was trained on none of them.
        """
        network, _ = _load(self._path)
        known: dict[str, float] = {}
        for answer, share in zip(network.answers, network.shares([prompt])[0].tolist(), strict=True):
            known[answer.strip()] = known.get(answer.strip(), 0.0) + share
        if not any(answer in known for answer in answers):
            return None
        masses = [max(known.get(answer, 0.0), LEAST) for answer in answers]
        total = math.fsum(masses)
        return LabelProbabilities(tuple(mass / total for mass in masses), next_token_request(prompt).prompt_tokens)

    def shown_answers(self) -> str:
        """The first answers it was trained on, for a message."""
        answers = _load(self._path)[0].answers
        more = f" and {len(answers) - _SHOWN} more" if len(answers) > _SHOWN else ""
        return ", ".join(repr(answer[:40]) for answer in answers[:_SHOWN]) + more

    async def generate(self, request: GenerationRequest) -> Generation:
        """One of the answers, cut at `max_tokens`."""
        network, answer_tokens = _load(self._path)
        if request.schema is not None and not all(_is_json(answer) for answer in network.answers):
            raise unsupported_parameter("response_format", " It was not trained on JSON answers.")
        text, begun = text_before_answer(request.messages or (Message("user", request.prompt or ""),))
        shares = network.shares([text])[0].tolist()
        drawn = random.Random(
            hashlib.sha256(f"{request.seed}/{request.sample}/{text}".encode("utf-8", "replace")).digest()
        )
        limit = request.max_tokens if request.max_tokens is not None else 1 << 30
        steps: list[GeneratedToken] = []
        finish = "length"
        while len(steps) < limit:
            ranked = answer_tokens.next_tokens(begun, shares)
            token, logprob = ranked[0]
            if request.temperature > 0:
                weights = [math.exp((rival - logprob) / request.temperature) for _, rival in ranked]
                token, logprob = drawn.choices(ranked, weights)[0]
            if token == END:
                finish = "stop"
                break
            steps.append(GeneratedToken(token, logprob, ranked[: request.top or 0]))
            begun += token
        # The end of an answer that cannot continue takes no further token.
        if finish == "length" and answer_tokens.next_tokens(begun, shares)[0] == (END, 0.0):
            finish = "stop"
        written = "".join(step.text for step in steps)
        for stop in request.stop:
            if stop in written:
                written, finish = written[: written.index(stop)], "stop"
        return Generation(written, steps, finish, request.prompt_tokens, len(steps))


class UntunedBackend(Backend):
    """The backend of a base model that is not tuned yet."""

    def __init__(self, name: str, digest: str) -> None:
        super().__init__(digest)
        self._name = name

    async def generate(self, request: GenerationRequest) -> Generation:
        """Refused: it answers only once tuned."""
        raise ApiError(
            400,
            f"The model `{self._name}` has not been trained to answer anything: it is a base to tune. "
            f"Make a fine-tuning job of it, then ask `ft:{self._name}:...`.",
            param="model",
            code="model_not_tuned",
        )


def _is_json(answer: str) -> bool:
    try:
        return isinstance(json.loads(answer), dict)
    except ValueError:
        return False
