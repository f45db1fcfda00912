"""How the deterministic backend reads a prompt: the row, the answers on offer, and the start of the answer."""

from __future__ import annotations

import functools
import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from luthier_local.backend import Message
from luthier_local.lexicon import ANSWERS, COMMON, INTENSIFIERS, NEGATIONS, STOPWORDS, VALENCE

__all__ = ["PromptReading", "polarity", "read_chat", "read_prompt"]

_CUE_AT_END = re.compile(r"([^\s:=?]*)[ \t]*(?::|=>|->|=|\?)\s*$")
_CUE_BEGUN = re.compile(r"([^\s:=?]*)[ \t]*(?::|=>|->|=|\?)([ \t]*[^\n:=?]{1,40})$")
_LISTED = re.compile(
    r"(?i)\b(?:one of|labels?|options?|categories|choices|classes|answer with|reply with|choose)\b"
    r"[^:\n(]{0,40}?(?:[ \t]*[:(][ \t]*|[ \t]+)([^\n]{3,400})"
)
_SEPARATOR = re.compile(r"\s*(?:,|;|/|\||\bor\b|\band\b)\s*")
_ONE_OF = re.compile(r"(?i)^.*\b(?:one of|either)\b[: \t]*(?:the following[: \t]*)?")
_SENTENCE_END = re.compile(r"[.)](?:\s|$)")
_CODED = re.compile(r"(?m)(?:^|[\s(])([A-Z])(?:[).:=]|\s=)\s*([^\n,;]{1,60})")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_SOUNDING = re.compile(r"[a-z]+(?:'[a-z]+)?|[\u2600-\u27bf\U0001f300-\U0001faff]")
_ASKS_FOR_DIGITS = re.compile(r"(?i)star|rating|\brate\b|score|scale|number|digit|[15]")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?$")
_PROMPT_WORDS = 100
_EDGE = " \t\"'`.()[]{}*"


@dataclass(frozen=True, slots=True)
class PromptReading:
    """What was read from a prompt."""

    polarity: float
    """How good the row sounds, about -1.3 to 1.3, with a little noise of its own."""
    noise: bytes
    """64 bytes that depend on the whole row."""
    answers: Sequence[tuple[str, float]]
    """Possible answers with their unnormalised log-probabilities."""
    begun: str
    """The start of the answer that the prompt holds already, without the space before it."""
    spaced: bool
    """Whether the next word starts with a space."""


def polarity(text: str) -> float:
    """Sum of the words' valences, where a negation turns the next three and an intensifier adds half."""
    total = 0.0
    turned = 0
    boost = 1.0
    for word in _SOUNDING.findall(text[:8000].lower()):
        if word in NEGATIONS:
            turned = 3
            if word != "never":
                continue
        if word in INTENSIFIERS:
            boost = 1.5
            continue
        value = VALENCE.get(word)
        if value is not None:
            total += value * boost * (-0.7 if turned and word != "never" else 1.0)
        boost = 1.0
        turned = max(0, turned - 1)
    return math.tanh(0.8 * total)


def read_prompt(prompt: str, salt: str) -> PromptReading:
    """Reads a completion prompt: `... Review: TEXT\\nStars: ter` has the row TEXT and the start `ter`."""
    for pattern in (_CUE_AT_END, _CUE_BEGUN):
        cue = pattern.search(prompt[-200:])
        if cue:
            at = max(0, len(prompt) - 200) + cue.start()
            row, given = _last_row(prompt[:at], cue.group(1))
            begun = cue.group(2).lstrip() if pattern is _CUE_BEGUN else ""
            reading = _understand(row, prompt[: at - len(row)], given, begun, prompt[-1:], salt)
            if not begun or any(answer.startswith(begun.rstrip()) for answer, _ in reading.answers):
                return reading
    row, given = _last_row(prompt, "")
    return _understand(row, prompt[: len(prompt) - len(row)], given, "", prompt[-1:], salt)


def read_chat(messages: Sequence[Message], salt: str) -> PromptReading:
    """Reads a chat: the row is the last user turn, earlier assistant turns are answers on offer."""
    begun = messages[-1].content if messages[-1].role == "assistant" else ""
    last = max((i for i, turn in enumerate(messages) if turn.role == "user"), default=0)
    given = [turn.content.strip() for turn in messages[:last] if turn.role == "assistant"]
    context = "\n".join(turn.content for turn in messages[:last])
    row = messages[last].content
    cue = _CUE_AT_END.search(row[-200:])
    if cue:
        at = max(0, len(row) - 200) + cue.start()
        row, shown = _last_row(row[:at], cue.group(1))
        given += shown
        context += "\n" + messages[last].content[: at - len(row)]
    return _understand(row, context, given, begun.lstrip(), begun[-1:] or "\n", salt)


def _last_row(text: str, cue: str) -> tuple[str, list[str]]:
    """The text after the last answer that follows the same cue, and the answers so far."""
    if not cue:
        return text, []
    shown = list(re.finditer(rf"{re.escape(cue)}[ \t]*(?::|=>|->|=|\?)[ \t]*\n?([^\n]{{1,60}})", text))
    if not shown:
        return text, []
    return text[shown[-1].end() :], [match.group(1).strip(_EDGE) for match in shown]


def _understand(row: str, context: str, given: Sequence[str], begun: str, last: str, salt: str) -> PromptReading:
    noise = hashlib.blake2b(f"{salt}\0{row}".encode("utf-8", "surrogatepass"), digest_size=64).digest()
    # People who review are kinder than their words.
    mood = polarity(row) + 0.15 + 0.25 * (noise[0] / 127.5 - 1)
    everything = f"{context}\n{row}" if len(row) < 20_000 else context
    answers = _answers(everything, row, given, mood, noise)
    return PromptReading(mood, noise, answers, begun, not (last.isspace() or last in ("", '"', "(", "[")))


def _answers(prompt: str, row: str, given: Sequence[str], mood: float, noise: bytes) -> list[tuple[str, float]]:
    scored: dict[str, float] = {}

    def put(answer: str, valence: float | None, prior: float) -> None:
        wobble = noise[_place(answer)] / 127.5 - 1
        logit = prior + (2 * wobble if valence is None else 0.4 * wobble - 2.5 * (mood - valence) ** 2)
        if logit > scored.get(answer, -1e9):
            scored[answer] = logit

    for word in dict.fromkeys(_WORD.findall(prompt[-4000:])[-_PROMPT_WORDS:]):
        if word.lower() not in STOPWORDS:
            put(word, None, -6.0)
    asks_for_digits = _ASKS_FOR_DIGITS.search(prompt[-4000:]) is not None
    for answer, valence in ANSWERS.items():
        put(answer, valence, -2.0 if answer not in COMMON else -0.5 if asks_for_digits else 1.5)
    for rank, letter in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ"):
        put(letter, min(1.0, rank / 2 - 1), -4.0)
    asked = 2.0 if asks_for_digits else -1.5
    for digit in "0123456789":
        put(digit, (int(digit) - 3) / 2 if digit in "12345" else None, asked if digit in "12345" else -4.0)
    for letter, meaning in _CODED.findall(prompt[:8000]):
        place = (ord(letter) - 65) / 2 - 1
        put(letter, _valence(meaning.strip(_EDGE), place), 7.0)
    offered = list(dict.fromkeys(answer for answer in given if answer))
    for listing in _LISTED.findall(prompt[:8000]):
        items = [item.strip(_EDGE) for item in _SEPARATOR.split(_ONE_OF.sub("", _SENTENCE_END.split(listing)[0]))]
        items = [item for item in items if item]
        # A list of labels is short all through; a sentence with commas is not.
        if len(items) >= 2 and all(len(item) <= 24 and item.count(" ") <= 2 for item in items):
            offered += [item for item in items if item not in offered]
    numbers = sorted({float(answer) for answer in offered if _NUMBER.match(answer)})
    for answer in offered:
        if _NUMBER.match(answer) and len(numbers) > 1:
            # Few-shot examples seldom show every label: 1 to 5 keep their places then.
            within = set(numbers) <= {1.0, 2.0, 3.0, 4.0, 5.0}
            low, high = (1.0, 5.0) if within else (numbers[0], numbers[-1])
            put(answer, 2 * (float(answer) - low) / (high - low) - 1, 7.0)
        else:
            put(answer, _valence(answer, None), 7.0 if not _NUMBER.match(answer) else 4.0)
    return list(scored.items())


@functools.lru_cache(maxsize=20_000)
def _place(answer: str) -> int:
    """Which of the row's 64 bytes of noise belongs to this answer."""
    return (sum(answer.encode("utf-8", "surrogatepass")) * 31 + len(answer)) & 63


def _valence(answer: str, otherwise: float | None) -> float | None:
    value = VALENCE.get(answer.lower())
    if value is not None:
        return value
    said = polarity(answer)
    return said if said else otherwise
