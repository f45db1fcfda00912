"""Examples nearest to each row: training texts embedded once when fitted, each row's text once when it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from luthier.endpoints.endpoint import Endpoint
from luthier.endpoints.exchange import Answer, Request
from luthier.endpoints.redaction import sendable
from luthier.errors import EndpointError, Partial
from luthier.evaluation.records import Prediction
from luthier.spec import Conversation
from luthier.task import Rows, is_blank
from luthier.techniques.asking import Asking, Shown, unanswered
from luthier.techniques.examples import same_text
from luthier.techniques.template import UnrenderedRow

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]

__all__ = ["Nearest", "embed_pool", "embedding_request", "embedding_requests", "typical"]


def embedding_request(text: object, endpoint: Endpoint) -> Request:
    """What asks for one text's vector; equal texts ask the same, so the journal has each once."""
    return Request("embedding", {"input": sendable(str(text))}, endpoint=endpoint)


def embedding_requests(rows: Rows, endpoint: Endpoint) -> list[Request]:
    """One request per different text."""
    return [embedding_request(text, endpoint) for text in dict.fromkeys(rows.texts) if text is not None]


def embed_pool(rows: Rows, endpoint: Endpoint, count: int, name: str) -> Conversation[tuple[list[int], Vectors]]:
    """The vectors of these rows' texts, of length one, and the positions of the rows that have one.

    A text the service will not embed is left out of the pool.

    Args:
        rows: labelled training rows whose texts are all different.
        endpoint: the model that embeds.
        count: examples each row is to be shown.
        name: of the spec.

    Raises:
        EndpointError: fewer than `count` texts got a vector, or vectors of one model differ in length.
        Partial: some have none for a reason that may pass.
    """
    import numpy as np

    answers = yield [embedding_request(text, endpoint) for text in rows.texts]
    failed = [found for answer in answers if (found := unanswered([answer])) is not None]
    waiting = sum(found.transient for found in failed)
    why = f" ({failed[0].error})" if failed else ""
    if waiting:
        raise Partial(
            f"spec {name!r}: {waiting} of {len(rows)} training texts have no embedding yet{why}. "
            "Run the same command again; vectors so far are kept."
        )
    kept = [position for position, answer in enumerate(answers) if unanswered([answer]) is None]
    lengths = sorted({len(answers[position].vector) for position in kept})
    if len(kept) < count or lengths[:1] == [0]:
        raise EndpointError(
            f"spec {name!r}: {endpoint.label} embedded {len(kept) if lengths[:1] != [0] else 0} of {len(rows)} "
            f"training texts{why}, and each row is to be shown the {count} nearest. Try the model with "
            "`luthier check SPEC`, or name another in prompt.examples.endpoint."
        )
    if len(lengths) > 1:
        raise EndpointError(
            f"spec {name!r}: {endpoint.label} gave vectors of {' and '.join(map(str, lengths))} numbers, so it is "
            "more than one model. Name one model in prompt.examples.endpoint."
        )
    return kept, np.stack([unit(answers[position].vector) for position in kept])


def unit(vector: Vectors) -> Vectors:
    """The vector scaled to length one, so that a product of two is their cosine; one of zeros stays."""
    import numpy as np

    size = float(np.linalg.norm(vector))
    return np.asarray(vector / size if size else vector, dtype=np.float32)


class Nearest:
    """Asks each row with the examples nearest to it.

    Args:
        asking: how a row is asked.
        endpoint: the model that embeds.
        count: examples to show.
        pool: examples to choose from, `inputs` and `label` each; their texts all differ.
        vectors: their vectors, of length one, shape (examples, numbers).
        name: of the spec.
    """

    def __init__(
        self,
        asking: Asking,
        endpoint: Endpoint,
        count: int,
        pool: Sequence[Mapping[str, Any]],
        vectors: Vectors,
        name: str,
    ) -> None:
        self._asking = asking
        self._endpoint = endpoint
        self._count = count
        self._pool = pool
        self._vectors = vectors
        self._name = name
        self._shown: dict[int, Shown] = {}

    def row(self, inputs: Mapping[str, Any]) -> Conversation[Prediction]:
        """Asks for the row's vector, then for the row; never raises for what one row does.

        Raises:
            EndpointError: the vector is of another length than those of the pool.
        """
        text = inputs.get(self._asking.task.text)
        try:
            blank = is_blank(text)
            if not blank:
                self._asking.request(inputs, examples=())
        except UnrenderedRow:
            blank = True
        if blank:
            # Never sent, so nothing is paid for its vector either.
            return (yield from self._asking.row(inputs))
        answer = (yield [embedding_request(text, self._endpoint)])[0]
        broken = unanswered([answer])
        if broken is not None:
            return replace(broken, raw=None, error=f"its text got no embedding: {broken.error}")
        self._check(answer)
        found = yield from self._asking.row(inputs, self.nearest(unit(answer.vector), same_text(text)))
        return with_embedding(found, answer)

    def nearest(self, vector: Vectors, key: str) -> tuple[Shown, ...]:
        """The examples most like a vector, the most similar last, where it stands next to the question.

        Args:
            vector: of the row, of length one.
            key: what its text counts as; an example of the same text is passed over.
        """
        import numpy as np

        # One row at a time: in a product of many the last digits, and so ties, hang on the neighbours.
        order = np.argsort(-(self._vectors @ vector), kind="stable")
        chosen: list[Shown] = []
        for position in order[: self._count + 1].tolist():
            example = self._example(position)
            if example.key != key and len(chosen) < self._count:
                chosen.append(example)
        return tuple(reversed(chosen))

    @cached_property
    def typical(self) -> tuple[Shown, ...]:
        """Examples of ordinary length, to judge a price by before any vector is known."""
        return typical(self._asking, self._pool, self._count)

    def _example(self, position: int) -> Shown:
        if position not in self._shown:
            example = self._pool[position]
            self._shown[position] = self._asking.shown(example["inputs"], example["label"])
        return self._shown[position]

    def _check(self, answer: Answer) -> None:
        given, wanted = len(answer.vector), self._vectors.shape[1]
        if given != wanted:
            raise EndpointError(
                f"spec {self._name!r}: {self._endpoint.label} gave a vector of {given} numbers, and those of the "
                f"training texts have {wanted}: the model behind the name has changed. Fit again (luthier fit SPEC "
                "--train TABLE --fresh, or compare with --fresh), or name the model it was fitted with in "
                "prompt.examples.endpoint."
            )


def typical(asking: Asking, pool: Sequence[Mapping[str, Any]], count: int) -> tuple[Shown, ...]:
    """So many examples whose length is nearest to the mean length of the pool."""
    texts = [len(str(example["inputs"].get(asking.task.text))) for example in pool]
    mean = sum(texts) / max(1, len(texts))
    order = sorted(range(len(pool)), key=lambda i: (abs(texts[i] - mean), i))[:count]
    return tuple(asking.shown(pool[i]["inputs"], pool[i]["label"]) for i in order)


def with_embedding(found: Prediction, answer: Answer) -> Prediction:
    """A prediction with the cost, time and tokens of its row's embedding added."""
    spent = 0.0 if answer.from_journal else answer.cost_usd
    return replace(
        found,
        cost_usd=_sum(found.cost_usd, answer.cost_usd),
        spent_usd=_sum(found.spent_usd, spent),
        latency_seconds=_sum(found.latency_seconds, answer.latency_seconds),
        input_tokens=found.input_tokens + answer.usage.input_tokens,
        from_journal=found.from_journal and answer.from_journal,
    )


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
