"""A call that the journal answers alone: what batches have collected becomes the answers of a technique."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from luthier.engine.ask_options import AskOptions, GuardedProgress, Progress
from luthier.engine.report import Report
from luthier.engine.rounds import Group
from luthier.engine.shared_journal import UNWRITABLE, SharedJournal
from luthier.providers.exchange import Answer
from luthier.providers.keys import answer_keys, key_prefix

__all__ = ["journal_answers"]

NOT_KEPT = "the journal has no answer to this request, and nothing was to be sent"


async def journal_answers(
    shared: SharedJournal, identity: str | None, group: Group, options: AskOptions, reports: Sequence[Report | None]
) -> list[Answer]:
    """The journal's answers, in order; a failure for now for what it has none to.

    What the batches of the same command have collected counts as fetched now, once: its keys are in
    `options.collected`.

    Args:
        shared: the journal.
        identity: the name the answers are kept under; `None` where the endpoint never said it.
        group: what is asked, and of whom.
        options: the command's.
        reports: those that count the answers.
    """
    progress = GuardedProgress(options.progress)
    progress.tell(lambda shown: shown.expect(len(group.requests)))
    keys = answer_keys(key_prefix(group.endpoint, identity or ""), group.requests)
    about = {key: request for key, request in zip(keys, group.requests, strict=True) if key is not None}
    found = {} if identity is None else await shared.find(list(about))
    known = shared.answers(found, about, group.endpoint, options)
    given: list[Answer] = []
    for key in keys:
        if key is None:
            answer = UNWRITABLE
        elif key in known:
            answer = known[key]
        else:
            entry = found.get(key)
            answer = Answer(failure="transient", error=(entry.error if entry is not None else None) or NOT_KEPT)
        progress.tell(partial(_completed, answer))
        if answer.from_journal and key is not None and options.collected is not None and key in options.collected:
            options.collected.discard(key)
            answer = replace(answer, from_journal=False)
        for report in reports:
            if report is not None:
                report.requests += 1
                report.completed(answer)
        given.append(answer)
    return given


def _completed(answer: Answer, progress: Progress) -> None:
    progress.completed(answer)
