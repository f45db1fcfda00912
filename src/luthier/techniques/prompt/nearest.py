"""Examples nearest to each row by embedding: training texts are embedded when fitted, a row's text when asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from luthier.errors import UnusableAnswers
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Answer, Request
from luthier.providers.prices import sum_if_known
from luthier.providers.redaction import sendable
from luthier.spec import Conversation, Fitted
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows
from luthier.techniques.conversations import gather
from luthier.techniques.heads.answering import kept_while_used
from luthier.techniques.prompt.adapter import FewShotExample, PromptAdapter, adapter_for, example_tokens
from luthier.techniques.prompt.recipe import PromptRecipe
from luthier.techniques.vectors import training_vectors, without_vector

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]

__all__ = ["VECTORS", "answer_rows", "embed_pool", "embedding_request", "extremes", "nearest_of", "typical"]


VECTORS = "vectors"
"""Name of the pool's vectors among a fitted prompt's arrays."""


def embedder(spec: PromptRecipe) -> Endpoint:
    """The model that embeds."""
    assert spec.prompt.examples.endpoint is not None
    return spec.prompt.examples.endpoint


def embedding_request(spec: PromptRecipe, text: object) -> Request:
    """The request for the vector of a text; equal texts make equal requests, so the journal has each once."""
    return Request("embedding", {"input": sendable(str(text))}, endpoint=embedder(spec))


def embed_pool(spec: PromptRecipe, rows: Rows) -> Conversation[tuple[list[int], Vectors]]:
    """The positions of the rows whose text got a vector, and these vectors, scaled to length 1.

    A text that the service refuses to embed is left out. The rows are labelled, and their texts all different.

    Raises:
        UnusableAnswers: fewer texts got a vector than are shown, or vectors of one model differ in length.
        Partial: some have no vector yet, for a reason that may pass.
    """
    import numpy as np

    answers = yield [embedding_request(spec, text) for text in rows.texts]
    vectors, why = training_vectors(spec.name, answers)
    lengths = sorted(set(map(len, vectors.values())))
    count = spec.prompt.examples.most
    if len(vectors) < count or lengths[:1] == [0]:
        raise UnusableAnswers(
            f"spec {spec.name!r}: {embedder(spec).label} embedded {len(vectors) if lengths[:1] != [0] else 0} of "
            f"{len(rows)} training texts{why}, and each row is to be shown the {count} nearest. Try the model with "
            "`luthier check SPEC`, or name another in prompt.examples.endpoint."
        )
    if len(lengths) > 1:
        raise UnusableAnswers(
            f"spec {spec.name!r}: {embedder(spec).label} gave vectors of {' and '.join(map(str, lengths))} numbers, so "
            "it is more than one model. Name one model in prompt.examples.endpoint."
        )
    return list(vectors), np.stack([unit(vector) for vector in vectors.values()])


def unit(vector: Vectors) -> Vectors:
    """The vector scaled to length 1, so that the product of two is their cosine; a zero vector is left as it is."""
    import numpy as np

    size = float(np.linalg.norm(vector))
    return np.asarray(vector / size if size else vector, dtype=np.float32)


MOST_COSINES = 4_000_000
"""Cosines in memory at once: 16 MB."""


class Nearest:
    """Answers each row with the examples nearest to it, by a fitted prompt whose pool is embedded."""

    def __init__(self, spec: PromptRecipe, fitted: Fitted) -> None:
        self._spec = spec
        self._adapter = adapter_for(spec, fitted.state)
        self._count = spec.prompt.examples.most
        self._pool: Sequence[Mapping[str, Any]] = fitted.state["pool"]
        self._vectors: Vectors = fitted.arrays[VECTORS]
        """Of the pool, of length 1, shape (examples, dimensions)."""
        self._shown: dict[int, FewShotExample] = {}

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> Conversation[list[Prediction]]:
        """The conversation about rows: first their vectors, then the rows; no single row makes it raise.

        Raises:
            UnusableAnswers: a vector has another length than those of the pool.
        """
        asked = [place for place, inputs in enumerate(rows) if isinstance(self._adapter.opening(inputs, ()), Request)]
        texts = [self._adapter.task.text_of(rows[place]) for place in asked]
        answers: Sequence[Answer] = []
        if asked:
            answers = yield [embedding_request(self._spec, text) for text in texts]
        embedded: dict[int, Answer] = {}
        broken: dict[int, Prediction] = {}
        for place, answer in zip(asked, answers, strict=True):
            fault = without_vector(answer)
            if fault is not None:
                broken[place] = replace(
                    fault, error=f"its text got no embedding: {fault.error}", call=replace(fault.call, raw=None)
                )
            else:
                self._check(answer)
                embedded[place] = answer
        keys = [self._adapter.key(rows[place]) for place in embedded]
        shown = dict(zip(embedded, self.nearest([unit(a.vector) for a in embedded.values()], keys), strict=True))
        # A row that makes no request is not embedded either.
        places = [place for place in range(len(rows)) if place not in broken]
        found = yield from gather(self._adapter.row(rows[place], shown.get(place)) for place in places)
        predicted = broken | {
            place: with_embedding(one, embedded[place]) if place in embedded else one
            for place, one in zip(places, found, strict=True)
        }
        return [predicted[place] for place in range(len(rows))]

    def nearest(self, vectors: Sequence[Vectors], keys: Sequence[str]) -> list[tuple[FewShotExample, ...]]:
        """For each vector the examples nearest to it, the nearest last, next to the question.

        Vectors are of length 1; an example whose key is the row's own among `keys` is passed over.
        """
        import numpy as np

        # One more than is shown: the row's own text may be among them.
        count = min(self._count + 1, len(self._pool))
        at_once = max(1, MOST_COSINES // len(self._pool))
        # The last digits of a matrix product depend on its number of rows. So it only preselects: all examples within
        # twice its error bound (Higham 2002, section 3.5) are compared by sums that do not depend on other rows.
        slack = self._vectors.shape[1] * float(np.finfo(np.float32).eps)
        found: list[tuple[FewShotExample, ...]] = []
        for first in range(0, len(vectors), at_once):
            part = np.stack(vectors[first : first + at_once])
            cosines = part @ self._vectors.T
            least = np.partition(cosines, -count, axis=1)[:, -count] - slack
            for vector, line, floor in zip(part, cosines, least, strict=True):
                near = np.flatnonzero(line >= floor)
                exact = (self._vectors[near].astype(float) * vector.astype(float)).sum(axis=1)
                order = near[np.argsort(-exact, kind="stable")]
                examples = map(self._example, order[:count].tolist())
                others = [example for example in examples if example.key != keys[len(found)]]
                found.append(tuple(reversed(others[: self._count])))
        return found

    @property
    def extremes(self) -> tuple[tuple[FewShotExample, ...], tuple[FewShotExample, ...]]:
        """The shortest and the longest examples a row may be shown, to bound a price by."""
        return extremes(self._adapter, self._pool, self._count)

    def _example(self, position: int) -> FewShotExample:
        if position not in self._shown:
            example = self._pool[position]
            self._shown[position] = self._adapter.example(example["inputs"], example["label"])
        return self._shown[position]

    def _check(self, answer: Answer) -> None:
        given, wanted = len(answer.vector), self._vectors.shape[1]
        if given != wanted:
            raise UnusableAnswers(
                f"spec {self._spec.name!r}: {embedder(self._spec).label} gave a vector of {given} numbers, and those "
                f"of the training texts have {wanted}: the model behind the name has changed. Fit again (luthier "
                "compare SPEC --test TABLE --train TABLE --fresh), or name the model it was fitted with in "
                "prompt.examples.endpoint."
            )


def answer_rows(
    spec: PromptRecipe, fitted: Fitted, rows: Sequence[Mapping[str, Any]]
) -> Conversation[list[Prediction]]:
    """One prediction per row, by a prompt whose examples are chosen."""

    def build(fitted: Fitted) -> Nearest | PromptAdapter:
        return nearest_of(spec, fitted) or adapter_for(spec, fitted.state)

    # A server asks row by row, and writing the examples anew would take longer than the row itself.
    answering = kept_while_used(fitted, build) if fitted.spec is spec else build(fitted)
    if isinstance(answering, Nearest):
        return answering.rows(rows)
    return gather(answering.row(inputs) for inputs in rows)


def nearest_of(spec: PromptRecipe, fitted: Fitted) -> Nearest | None:
    """Answers each row with its nearest examples; `None` for a prompt that shows all rows the same ones."""
    if spec.prompt.examples.select != "nearest" or "pool" not in fitted.state:
        return None
    return Nearest(spec, fitted)


def extremes(
    adapter: PromptAdapter, pool: Sequence[Mapping[str, Any]], count: int
) -> tuple[tuple[FewShotExample, ...], tuple[FewShotExample, ...]]:
    """The shortest and the longest `count` examples of a pool.

    The longest are one more, as a row that is in the pool itself is not shown its own text.
    """
    shown = sorted(
        (adapter.example(one["inputs"], one["label"]) for one in pool), key=lambda one: example_tokens([one])
    )
    return tuple(shown[:count]), tuple(shown[-count - 1 :])


def typical(adapter: PromptAdapter, pool: Sequence[Mapping[str, Any]], count: int) -> tuple[FewShotExample, ...]:
    """The `count` examples whose length is nearest to the mean length of the pool."""
    texts = [len(str(adapter.task.text_of(example["inputs"]))) for example in pool]
    mean = sum(texts) / max(1, len(texts))
    order = sorted(range(len(pool)), key=lambda i: (abs(texts[i] - mean), i))[:count]
    return tuple(adapter.example(pool[i]["inputs"], pool[i]["label"]) for i in order)


def with_embedding(found: Prediction, answer: Answer) -> Prediction:
    """The prediction with the cost, time and tokens of the row's embedding added."""
    spent = 0.0 if answer.from_journal else answer.cost_usd
    call = replace(
        found.call,
        cost_usd=sum_if_known((found.call.cost_usd, answer.cost_usd)),
        cost_estimated=found.call.cost_estimated or answer.usage.estimated,
        spent_usd=sum_if_known((found.call.spent_usd, spent)),
        latency_seconds=sum_if_known((found.call.latency_seconds, answer.latency_seconds)),
        input_tokens=found.call.input_tokens + answer.usage.input_tokens,
        from_journal=found.call.from_journal and answer.from_journal,
    )
    return replace(found, call=call)
