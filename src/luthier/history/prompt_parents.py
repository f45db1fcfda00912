"""Which prompt another one was made from: as a run recorded it, else as names and texts suggest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from luthier.history.prompt_runs import PromptRun
from luthier.techniques.wordings import changed_lines, wording_change, wording_text
from luthier.tracking.runs import tag_of

__all__ = ["CLEARLY_SIMILAR", "PromptParent", "parents_of"]

CLEARLY_SIMILAR = 0.7
"""Share of words that two prompts have in common, from which the later one may have been made from the earlier one."""

MOST_COMPARED = 200
"""Earlier prompts that one of a new name is held against, the latest; among 1,000 that takes a second."""

By = Literal["recorded", "name", "similar"]


@dataclass(frozen=True, slots=True)
class PromptParent:
    """What a prompt was made from.

    Attributes:
        digest: of the other wording.
        by: `recorded` by the run that made it; `name` where it is the last wording that was measured under the same
            spec's name before; `similar` where it is the earlier one with most words in common.
        how: by what means, where that was recorded.
        change: in a few words what changed; empty where the other wording was never measured.
        added: lines that only the later one has.
        removed: lines that only the earlier one has.
    """

    digest: str
    by: By
    how: str = ""
    change: str = ""
    added: int = 0
    removed: int = 0

    @property
    def is_likely(self) -> bool:
        """Whether it is a guess."""
        return self.by != "recorded"


def parents_of(runs: Sequence[PromptRun]) -> tuple[tuple[str, ...], dict[str, PromptParent]]:
    """The wordings in the order in which they came about, and what each was made from.

    A parent that was recorded counts, the earliest record first, unless the two would be made from each other. Else it
    is the wording that was measured last under the same name before; else, of the wordings measured before, the one
    with most words in common, if these are at least `CLEARLY_SIMILAR` of all.

    Args:
        runs: of the prompts of a task, the oldest first.
    """
    wordings = {one.digest: one.wording for one in runs}
    recorded = _recorded(runs)
    order = _order(runs, recorded)
    found: dict[str, PromptParent] = {}
    texts = {digest: wording_text(wording) for digest, wording in wordings.items()}
    guesses = _guesses(runs, order, texts)
    for digest in order:
        parent, how, by = (*recorded[digest], "recorded") if digest in recorded else guesses.get(digest, ("", "", ""))
        if not parent:
            continue
        change, counts = "", (0, 0)
        if parent in wordings:
            change = wording_change(wordings[parent], wordings[digest])
            counts = changed_lines(texts[parent], texts[digest])
        found[digest] = PromptParent(parent, by, how, change, *counts)  # type: ignore[arg-type]
    return order, found


def _recorded(runs: Sequence[PromptRun]) -> dict[str, tuple[str, str]]:
    """Digest of the parent and how it was made, by digest; nothing is its own ancestor."""
    found: dict[str, tuple[str, str]] = {}
    for one in runs:
        parent = tag_of(one.run.tags, "prompt_parent")
        if not parent or one.digest in found:
            continue
        above: str | None = parent
        while above is not None and above != one.digest:
            above = found[above][0] if above in found else None
        if above is None:
            found[one.digest] = (parent, tag_of(one.run.tags, "prompt_how") or "")
    return found


def _order(runs: Sequence[PromptRun], recorded: Mapping[str, tuple[str, str]]) -> tuple[str, ...]:
    """By their first run, but never before what they were made from: a search may log its best prompt first."""
    firsts: dict[str, int] = {}
    for place, one in enumerate(runs):
        firsts.setdefault(one.digest, place)
    ordered: dict[str, None] = {}
    for digest in sorted(firsts, key=firsts.__getitem__):
        chain = [digest]
        while (above := recorded.get(chain[-1], ("", ""))[0]) in firsts and above not in ordered:
            chain.append(above)
        ordered |= dict.fromkeys(one for one in reversed(chain) if one not in ordered)
    return tuple(ordered)


def _guesses(
    runs: Sequence[PromptRun], order: Sequence[str], texts: Mapping[str, str]
) -> dict[str, tuple[str, str, str]]:
    """For each wording the likely parent among those before it in the order."""
    places = {digest: place for place, digest in enumerate(order)}
    words = {digest: frozenset(re.findall(r"\w+", text.casefold())) for digest, text in texts.items()}
    of_name: dict[str, list[str]] = {}
    found: dict[str, tuple[str, str, str]] = {}
    for one in runs:
        digest = one.digest
        same = of_name.setdefault(one.run.spec or one.run.name, [])
        earlier = next((other for other in reversed(same) if places[other] < places[digest]), None)
        if earlier is not None:
            found.setdefault(digest, (earlier, "", "name"))
        if same[-1:] != [digest]:
            same.append(digest)
    for digest in order:
        if digest not in found:
            near = _nearest(digest, order[max(0, places[digest] - MOST_COMPARED) : places[digest]], words)
            if near is not None:
                found[digest] = (near, "", "similar")
    return found


def _nearest(digest: str, earlier: Sequence[str], words: Mapping[str, frozenset[str]]) -> str | None:
    """The earlier wording with most words in common, the latest of several; `None` if none has enough."""
    best, nearest = CLEARLY_SIMILAR, None
    for other in earlier:
        own, theirs = words[digest], words[other]
        shared = 2 * len(own & theirs) / (len(own) + len(theirs) or 1)
        if shared >= best:
            best, nearest = shared, other
    return nearest
