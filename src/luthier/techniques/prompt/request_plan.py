"""The requests of a prompt before they are made: exact where the journal knows enough, else between bounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from luthier.engine.estimates import FollowUps
from luthier.engine.rounds import Recalled, recalled
from luthier.providers.exchange import Answer, Conversation, Request
from luthier.providers.redaction import sendable
from luthier.spec import Fitted, JournalReplay, PlannedRequests
from luthier.tasks.task import Rows
from luthier.techniques.prompt.adapter import FewShotExample, adapter_for, example_tokens
from luthier.techniques.prompt.example_search import fit_examples, most_requests
from luthier.techniques.prompt.few_shot import RowSplit, split_rows
from luthier.techniques.prompt.nearest import answer_rows, embedding_request, extremes, nearest_of, typical
from luthier.techniques.prompt.recipe import PromptRecipe
from luthier.techniques.prompt.token_walk import most_follow_ups
from luthier.techniques.training_rows import training_rows

if TYPE_CHECKING:
    from luthier.evaluation.racing import Block

__all__ = ["plan_requests", "preview_examples", "unknown_to_journal"]

Result = TypeVar("Result")

Pieces: TypeAlias = list[PlannedRequests]
Examples: TypeAlias = Sequence[FewShotExample]


def unknown_to_journal(conversation: Conversation[Result]) -> Recalled[Result]:
    """A conversation replayed with an empty journal: the requests it makes until it needs an answer."""
    asked: list[Request] = []

    def unanswered(requests: Sequence[Request]) -> Sequence[Answer]:
        asked.extend(requests)
        return [Answer(failure="stopped")] * len(requests)

    return recalled(conversation, unanswered, asked)


def plan_requests(
    spec: PromptRecipe, rows: Rows, train: Rows | None, fitted: Fitted | None, recall: JournalReplay
) -> tuple[Pieces, Pieces]:
    """The requests of fitting and of answering rows; see `Spec.planned_requests`."""
    if fitted is not None or not spec.needs_training:
        return [], _answering(spec, rows, fitted or Fitted(spec=spec), recall)
    known = training_rows(spec, train)
    split = split_rows(spec, known)
    held = known.take(split.calibration)
    blocks: list[Block] = []
    examples = recall(fit_examples(spec, known, split, blocks))
    fitting = _recalled(spec, examples)
    if examples.result is not None:
        # The label prior is not known yet, and changes nothing of what is asked.
        fitting += _answering(spec, held, examples.result, recall)
        return fitting, _answering(spec, rows, examples.result, recall)
    if split.search is not None:
        further = most_requests(spec, known, split.search, blocks[-1] if blocks else None)
        fitting.append(PlannedRequests(further, _follow_ups(spec), sure=False))
    shortest, longest = _extremes(spec, known, split)
    fitting += _unknown_examples(spec, held, shortest, longest, recall)
    return fitting, _unknown_examples(spec, rows, shortest, longest, recall)


def _answering(spec: PromptRecipe, rows: Rows, fitted: Fitted, recall: JournalReplay) -> Pieces:
    """The requests about rows once the examples are chosen."""
    found = recall(answer_rows(spec, fitted, rows.inputs))
    pieces = _recalled(spec, found)
    nearest = nearest_of(spec, fitted)
    if nearest is not None:
        # Rows without a vector are not in `found`; the lengths of their examples lie between the extremes.
        _, waiting = _by_vector(rows, found.missing)
        pieces.append(_between(spec, waiting, *nearest.extremes))
    return pieces


def _unknown_examples(
    spec: PromptRecipe, rows: Rows, shortest: Examples, longest: Examples, recall: JournalReplay
) -> Pieces:
    """The requests about rows as long as their examples are not known."""
    if spec.prompt.examples.select != "nearest":
        return [_between(spec, rows, shortest, longest, sure=False)]
    vectors = [embedding_request(spec, text) for text in dict.fromkeys(rows.texts) if text is not None]
    embedded, waiting = _by_vector(rows, recall(_asked_once(vectors)).missing if vectors else [])
    return [
        PlannedRequests(vectors),
        # Rows that were embedded before may have been answered before, too.
        _between(spec, embedded, shortest, longest, sure=False),
        _between(spec, waiting, shortest, longest),
    ]


def _recalled(spec: PromptRecipe, recalled: Recalled[Any]) -> Pieces:
    """The rounds of a replayed conversation."""
    follow = _follow_ups(spec)
    return [
        PlannedRequests(requests, FollowUps() if requests[0].operation == "embedding" else follow)
        for requests in recalled.rounds
    ]


def _follow_ups(spec: PromptRecipe) -> FollowUps:
    """The follow-ups of a row's first answer: the next tokens of labels that begin alike."""
    if spec.answer_mode != "walk":
        return FollowUps()
    longest = max(len(word.encode("utf-8", "replace")) for word in spec.words)
    return FollowUps(most_follow_ups(spec.words), longest + 1)


def _between(
    spec: PromptRecipe, rows: Rows, shortest: Examples, longest: Examples, *, sure: bool = True
) -> PlannedRequests:
    adapter = adapter_for(spec, {})
    return PlannedRequests(adapter.requests(rows, longest), _follow_ups(spec), adapter.requests(rows, shortest), sure)


def _extremes(spec: PromptRecipe, rows: Rows, split: RowSplit) -> tuple[Examples, Examples]:
    """The shortest and the longest examples that fitting may choose."""
    if split.search is None:
        return extremes(adapter_for(spec, {}), spec.kept(rows, split.pool), spec.prompt.examples.most)
    samples = [adapter_for(spec, {"examples": spec.kept(rows, s.positions)}).examples for s in split.search.samples]
    return min(samples, key=example_tokens), max(samples, key=example_tokens)


def _by_vector(rows: Rows, waiting: Sequence[Request]) -> tuple[Rows, Rows]:
    """The rows whose vector is known, and those whose text is among the missing embeddings."""
    texts = {request.body["input"] for request in waiting if request.operation == "embedding"}
    new = [text is not None and sendable(str(text)) in texts for text in rows.texts]
    known = [place for place, is_new in enumerate(new) if not is_new]
    return rows.take(known), rows.take([place for place, is_new in enumerate(new) if is_new])


def _asked_once(requests: Sequence[Request]) -> Conversation[None]:
    yield requests


def preview_examples(spec: PromptRecipe, train: Rows | None) -> tuple[Examples, list[str]]:
    """The examples of a preview, placeholders without training rows; and a note where they are not those to be sent."""
    settings = spec.prompt.examples
    adapter = adapter_for(spec, {})
    if train is None:
        words = adapter.answers
        missing = "Examples are placeholders and missing from the estimate; give train=... to see "
        return tuple(
            FewShotExample(
                f"(example {i + 1} of {settings.most}, chosen from the training rows)", words[i % len(words)], ""
            )
            for i in range(settings.most)
        ), [missing + ("how long they are." if settings.select == "nearest" else "those chosen.")]
    split = split_rows(spec, train, calibrate=settings.select in ("nearest", "searched"))
    if split.search is not None:
        longest = max(split.search.samples, key=lambda sample: sample.count)
        most = len(most_requests(spec, train, split.search))
        return adapter_for(spec, {"examples": spec.kept(train, longest.positions)}).examples, [
            f"The examples are one of {len(split.search.samples)} samples; fitting asks at most {most:,} calls to "
            "find the best, which the estimate here leaves out."
        ]
    if settings.select == "nearest":
        return typical(adapter, spec.kept(train, split.pool), settings.most), [
            "The examples are training rows of ordinary length, to judge the price by: which ones are nearest to a "
            "row is known when it is embedded. Embeddings are missing from the estimate."
        ]
    return adapter_for(spec, {"examples": spec.kept(train, split.examples)}).examples, []
