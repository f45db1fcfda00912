"""The likeliest tokens of an answer as text, and how many a service gives, learned from what it refuses."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from luthier.providers.exchange import Request, TokenChoices
from luthier.providers.redaction import sendable
from luthier.providers.transport import Reply, TransportFault

__all__ = ["LikeliestLimit", "choices_of"]

SENTINEL = -9998.0
"""Below this a service means minus infinity (OpenAI writes -9999.0)."""

ROUNDING = 1e-3
"""By so much a log-probability may pass 0, and a sum of probabilities 1."""

Candidate = tuple[str, bytes | None, Any]
"""A token as the service spells it, its bytes if it gives them, and its log-probability."""

BYTE_TOKEN = re.compile(r"<0x([0-9a-fA-F]{2})>")
BYTES_TOKEN = re.compile(r"bytes:((?:\\x[0-9a-fA-F]{2})+)")
WORD_PIECE = re.compile(r"##(?=\w)")

MOST_COMMON = 5
"""What most services that give fewer than OpenAI's chat give; tried where a refusal names no number."""

BOUND = re.compile(
    r"max|most|more than|less than|greater|larger|lower|exceed|between|range|limit|up to|<=|\u2264|fewer|too many"
    r"|too (?:large|high|big)|above|only|allowed"
)
CODE = re.compile(r"\"(?:code|status|statuscode|status_code)\"\s*:\s*\"?\d+")
NUMBER = re.compile(r"(?<![\w.-])(?:\d{1,3}|one|two|three|four|five|ten)(?![\w]|\.\d)")
SPELLED = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "ten": 10}


def choices_of(logprobs: Any) -> tuple[TokenChoices, ...]:
    """The likeliest tokens of every position, in the shape of chat or of completions.

    A token whose value is not a log-probability (null, NaN, a string, minus infinity) is left out.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: a position has another shape.
    """
    if not isinstance(logprobs, Mapping):
        return ()
    if isinstance(content := logprobs.get("content"), list):
        return tuple(_position(each) for each in content)
    tokens, given = logprobs.get("tokens") or [], logprobs.get("token_logprobs") or []
    tops = logprobs.get("top_logprobs")
    if isinstance(tops, Mapping) and len(tokens) == 1:
        # Together documents one block of likeliest tokens for the whole answer.
        tops = [tops]
    if isinstance(tops, list) or tokens:
        tops = tops if isinstance(tops, list) else [None] * len(tokens)
        positions = []
        for place, top in enumerate(tops):
            known = place < len(tokens) and place < len(given) and isinstance(tokens[place], str)
            chosen = [(tokens[place], None, given[place])] if known else []
            positions.append(_likeliest(_candidates(top), chosen))
        return tuple(positions)
    return ()


def _position(each: Mapping[str, Any]) -> TokenChoices:
    tops = _candidates(each.get("top_logprobs"))
    return _likeliest(tops, [_candidate(each)] if not tops or _is_candidate(each) else [])


def _candidates(top: Any) -> list[Candidate]:
    if isinstance(top, Mapping):
        return [(token, None, logprob) for token, logprob in top.items()]
    return [_candidate(each) for each in top or () if _is_candidate(each)]


def _is_candidate(each: Any) -> bool:
    return isinstance(each, Mapping) and isinstance(each.get("token"), str) and "logprob" in each


def _candidate(entry: Mapping[str, Any]) -> Candidate:
    given = entry.get("bytes")
    try:
        raw = bytes(given) if isinstance(given, list) and given else None
    except (ValueError, TypeError):
        raw = None
    return entry["token"], raw, entry["logprob"]


def _likeliest(tops: Sequence[Candidate], chosen: Sequence[Candidate]) -> TokenChoices:
    # The chosen token stands beside the likeliest, and mostly among them too.
    # The chosen token may come without the bytes it has among the likeliest.
    usable = [(token, raw, float(value)) for token, raw, value in tops if _is_logprob(value)]
    usable += [
        (token, raw, float(value))
        for token, raw, value in chosen
        if _is_logprob(value)
        and not any(token == other and (raw == its or None in (raw, its)) for other, its, _ in tops)
    ]
    if math.fsum(math.exp(value) for _, _, value in usable) > 1 + ROUNDING:
        # More than there is: a service has listed a token twice.
        usable = list(dict.fromkeys(usable))
    marked = any("\u0120" in token or "\u010a" in token for token, _, _ in usable)
    found: dict[str, list[float]] = {}
    for token, raw, value in usable:
        found.setdefault(_text(token, raw, marked), []).append(value)
    added = [(text, _sum(values)) for text, values in found.items()]
    added.sort(key=lambda choice: -choice[1])
    return tuple(added)


def _is_logprob(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    number = float(value)
    return math.isfinite(number) and SENTINEL < number <= ROUNDING


def _sum(values: Sequence[float]) -> float:
    top = max(values)
    if len(values) == 1:
        return min(0.0, top)
    total = math.fsum(math.exp(value) for value in values)
    # Spellings that are not comparable may pass 1 together: then the likeliest stands for them.
    return min(0.0, math.log(total) if total <= 1 + ROUNDING else top)


def _text(token: str, raw: bytes | None, marked: bool) -> str:
    """What a token adds to the text, whatever marks its tokenizer writes it with."""
    given = token
    if raw is not None:
        given = _decoded(raw) or token
    elif (one := BYTE_TOKEN.fullmatch(token)) is not None:
        given = _decoded(bytes.fromhex(one.group(1))) or token
    elif (several := BYTES_TOKEN.fullmatch(token)) is not None:
        given = _decoded(bytes.fromhex(several.group(1).replace("\\x", ""))) or token
    elif token.startswith("##"):
        given = WORD_PIECE.sub("", token, count=1)
    if marked and not given.isspace():
        given = _from_byte_letters(given)
    return sendable(given.replace("\u2581", " ").removesuffix("</w>"))


def _decoded(raw: bytes) -> str | None:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None  # part of a character


def _from_byte_letters(token: str) -> str:
    letters = _byte_letters()
    if all(letter in letters for letter in token):
        return _decoded(bytes(letters[letter] for letter in token)) or token
    return token


@cache
def _byte_letters() -> Mapping[str, int]:
    """The letters by which byte-level tokenizers (GPT-2, Llama 3, Qwen) write bytes that are not printable."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others: Iterable[int] = (byte for byte in range(256) if byte not in plain)
    return {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(others)}


class LikeliestLimit:
    """The most likely tokens a service returns, learned from a refusal. The journal key of a request stays the same."""

    def __init__(self) -> None:
        self.most: int | None = None

    def within(self, request: Request) -> Request:
        """The request, asking for no more than the service gives."""
        asked = _asked(request.body)
        if asked is None or self.most is None or asked <= self.most:
            return request
        name = "top_logprobs" if "top_logprobs" in request.body else "logprobs"
        return Request(request.operation, {**request.body, name: self.most}, request.endpoint)

    def learned(self, reply: Reply | TransportFault, request: Request) -> bool:
        """Whether this refused a number of tokens, so that the request can be sent again with fewer."""
        asked = _asked(request.body)
        if asked is None or isinstance(reply, TransportFault) or reply.status not in (400, 422):
            return False
        said = CODE.sub("", reply.body[:10_000].decode("utf-8", "replace").lower())
        if "logprob" not in said or not BOUND.search(said):
            return False
        numbers = [SPELLED.get(found) or int(found) for found in NUMBER.findall(said) if not found.startswith("00")]
        fewer = [number for number in numbers if 0 < number < asked]
        if not fewer and ((numbers and max(numbers) <= 0) or asked <= MOST_COMMON):
            return False
        found = max(fewer, default=MOST_COMMON)
        self.most = found if self.most is None else min(self.most, found)
        return True


def _asked(body: Any) -> int | None:
    given = body.get("top_logprobs", body.get("logprobs"))
    return given if type(given) is int and given > 1 else None
