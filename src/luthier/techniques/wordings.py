"""The wording of a prompt: what it says to a model about any row, and what makes two prompts the same."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from luthier.spec import Spec
from luthier.techniques.decision import Decision
from luthier.techniques.prompt.prompt import Prompt
from luthier.techniques.prompt.settings import Examples

__all__ = ["changed_lines", "digest_of_wording", "prompt_digest", "wording_change", "wording_of", "wording_text"]

TEXTS = {"system": "system", "template": "user", "question": "question", "input": "input"}
"""Keys that hold texts, with what a reader knows them as."""


def wording_of(spec: Spec) -> dict[str, Any] | None:
    """What a prompt says, as JSON values; `None` for a technique without a prompt.

    It is everything that a person would call the prompt: system turn, template, style, which examples are shown, how
    the answer is asked for and the word of each label. Name, model, decoding and calibration are not in it, so one
    wording may be measured with many models. Keys that say nothing are left out, so that a later key changes no
    earlier digest. Words are pairs, because their order is part of what is asked.

    Examples:
        >>> import luthier as lt
        >>> mood = lt.Task("mood", labels=["good", "bad"])
        >>> wording = wording_of(lt.Prompt(mood, "Mood of: {{ text }}", endpoint=lt.openai("some-model")))
        >>> wording["template"], wording["style"], wording["words"]
        ('Mood of: {{ text }}', 'chat', [['good', 'good'], ['bad', 'bad']])
        >>> wording_of(lt.Baseline(mood)) is None
        True
    """
    if isinstance(spec, Prompt):
        shown = spec.prompt.examples
        found = {
            "system": spec.prompt.system,
            "template": spec.prompt.template,
            "style": spec.style,
            "examples": _examples(shown, spec.examples_seed) if shown.most else None,
            "answer": spec.answer.method,
            "words": [[label, word] for label, word in zip(spec.task.labels, spec.words, strict=True)] or None,
        }
    elif isinstance(spec, Decision):
        described = {**spec.task.kind.descriptions, **spec.descriptions}
        found = {
            "question": spec.question,
            "input": spec.input,
            "answer": spec.answer,
            "words": [[label, described.get(label, label)] for label in spec.task.labels],
        }
    else:
        return None
    return {name: value for name, value in found.items() if value is not None}


def _examples(shown: Examples, seed: int) -> dict[str, Any]:
    """The examples block without what changes nothing, such as a seed where no example is drawn."""
    found: dict[str, Any] = {"count": list(shown.count) if isinstance(shown.count, tuple) else shown.count}
    found["select"] = shown.select
    if shown.is_drawn:
        found["seed"] = seed
    if shown.max_characters is not None:
        found["max_characters"] = shown.max_characters
    if shown.endpoint is not None:
        found["nearest_by"] = shown.endpoint.model
    if shown.select == "searched":
        found |= {"samples": shown.samples, "rows": shown.rows}
    return found


def digest_of_wording(wording: Mapping[str, Any]) -> str:
    """sha256 of a wording; equal digests mean the same prompt."""
    return hashlib.sha256(json.dumps(wording, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def prompt_digest(spec: Spec) -> str | None:
    """sha256 of the wording of a spec, whatever its name, model and decoding; `None` for one without a prompt.

    Examples:
        >>> import luthier as lt
        >>> mood = lt.Task("mood", labels=["good", "bad"])
        >>> one = lt.Prompt(mood, "Mood of: {{ text }}", endpoint=lt.openai("some-model"), name="one")
        >>> other = lt.Prompt(mood, "Mood of: {{ text }}", endpoint=lt.openai("other-model"), name="other")
        >>> prompt_digest(one) == prompt_digest(other)
        True
        >>> prompt_digest(one) == prompt_digest(one.with_settings({"prompt.examples": 1}))
        False
    """
    wording = wording_of(spec)
    return None if wording is None else digest_of_wording(wording)


def wording_text(wording: Mapping[str, Any]) -> str:
    """A wording as text whose lines can be compared.

    Examples:
        >>> import luthier as lt
        >>> mood = lt.Task("mood", labels=["good", "bad"])
        >>> spec = lt.Prompt(mood, "Mood of: {{ text }}", system="Be brief.", endpoint=lt.openai("some-model"))
        >>> print(wording_text(wording_of(spec)))
        system:
        Be brief.
        <BLANKLINE>
        user:
        Mood of: {{ text }}
        <BLANKLINE>
        style: chat
        answer: text
        words:
        good
        bad
    """
    return "\n".join(_lines(wording))


def changed_lines(before: str, after: str) -> tuple[int, int]:
    """How many lines a text has that another one lacks, and how many it lacks itself.

    Examples:
        >>> changed_lines("Be brief.\\nMood of: {{ text }}", "Mood of: {{ text }}\\nOne word.\\nNo reasons.")
        (2, 1)
    """
    found = difflib.SequenceMatcher(None, before.split("\n"), after.split("\n"), autojunk=False).get_opcodes()
    moves = [(to - since, until - begin) for kind, begin, until, since, to in found if kind != "equal"]
    return sum(added for added, _ in moves), sum(removed for _, removed in moves)


def wording_change(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """In a few words what changed from one wording to another; empty where nothing did.

    Examples:
        >>> import luthier as lt
        >>> mood = lt.Task("mood", labels=["good", "bad"])
        >>> plain = lt.Prompt(mood, "Mood of: {{ text }}", endpoint=lt.openai("some-model"))
        >>> asked = plain.with_settings({"prompt.system": "Be brief.", "prompt.examples": 2})
        >>> wording_change(wording_of(plain), wording_of(asked))
        'system added, examples added: count 2, select balanced, seed 7'
        >>> longer = asked.with_settings({"prompt.system": "Be brief.\\nBe kind."})
        >>> wording_change(wording_of(asked), wording_of(longer))
        'system +1 -0 lines'
    """
    found = []
    for key in [*after, *(key for key in before if key not in after)]:
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        name = TEXTS.get(key, key)
        if key in TEXTS and old is not None and new is not None:
            added, removed = changed_lines(old, new)
            found.append(f"{name} +{added} -{removed} lines")
        elif new is None:
            found.append(f"{name} removed")
        elif key in TEXTS:
            found.append(f"{name} added")
        elif key == "words":
            found.append("words changed")
        else:
            found.append(f"{name} added: {_inline(new)}" if old is None else f"{name} {_inline(old)} -> {_inline(new)}")
    return ", ".join(found)


def _lines(wording: Mapping[str, Any]) -> Iterator[str]:
    for key, value in wording.items():
        if key in TEXTS:
            yield from (f"{TEXTS[key]}:", *str(value).split("\n"), "")
        elif key == "words":
            yield from ("words:", *(label if label == word else f"{label}: {word}" for label, word in value))
        else:
            yield f"{key}: {_inline(value)}"


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_inline(one)}" for name, one in value.items())
    return json.dumps(value) if isinstance(value, list) else str(value)
