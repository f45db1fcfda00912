"""Reads the words of an error message, where neither status nor code tells what is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

__all__ = [
    "complaint",
    "error_of",
    "is_page",
    "message_of",
    "own_words",
    "page_text",
    "parsed",
    "status_inside",
    "without_texts",
]

Complaint = Literal[
    "key",  # this key, account, project, network or country may not ask
    "credit",  # the account has nothing left
    "text",  # the service, or a firewall before it, will not process this text
    "busy",  # may pass
    "rate",  # told to slow down
    "system_role",
    "response_format",
    "max_tokens",
    "parameter",
]

MOST_MESSAGE = 500
PAGE = re.compile(rb"\s*(?:<!doctype|<html|<head|<body|<\?xml|<h1|<title|<center)", re.IGNORECASE)

# In this order: a moderated text may come with "no permission", a wrong key with "is not supported".
WORDS: dict[Complaint, tuple[str, ...]] = {
    "text": (
        r"flagged",
        r"moderation",
        r"moderated",
        r"content.{0,12}(?:policy|policies|filter|violat|management|safety|guidelines)",
        r"usage (?:guidelines|polic)",
        r"safety[ _](?:check|system|filter|polic|setting)",
        r"responsible.?ai",
        r"jailbreak",
        r"inappropriate",
        r"data.?inspection",
        r"prompt.?injection",
        r"content exists risk",
        r"(?:considered|deemed) (?:high risk|unsafe)",
        r"(?:input|output|prompt|text|content)s?.{0,12}sensitive",
        r"security policy",
        r"prohibited.?content",
        r"(?:harmful|unsafe|sensitive|offensive|illegal) (?:content|text|material|words?|data|information|input)",
        r"guardrail",
        r"blocked (?:by|due to|for|because).{0,40}(?:safety|polic|filter|content|security|waf|rule)",
        r"request (?:was |has been )?blocked",
        r"requested url was rejected",
        r"web application firewall",
        r"mod_?security",
        r"you have been blocked",
        r"action you just performed",
        r"malicious",
        r"敏感",
        r"违规",
        r"不安全",
    ),
    "credit": (
        r"insufficient (?:account )?(?:balance|credit|fund|quota)",
        r"balance.{0,12}insufficient",
        r"(?:not|n't) have any credits",
        r"(?:key|spending|budget|usage|credit) limit (?:exceeded|reached)",
        r"budget (?:has been |is |was )?exceeded",
        r"free.?tier.{0,40}(?:exhausted|used up|only)",
        r"(?:exceeded|out of|ran out of|run out of|reached|reaching).{0,30}(?:quota|credits?\b|spending|spend limit|"
        r"usage limit|budget)",
        r"(?:credit|balance).{0,30}(?:too low|exhausted|depleted|negative|used up|not enough|empty)",
        r"not enough (?:credit|balance|fund)",
        r"payment required",
        r"arrear",
        r"in good standing",
        r"\brecharge\b",
        r"top.?up your",
        r"billing (?:hard limit|is not active|not active|account)",
        r"余额不足",
        r"欠费",
    ),
    "key": (
        r"\b(?:api|access|auth\w*|secret|subscription)[ _-]?(?:key|token)s?\b",
        r"\bkey (?:is |was )?(?:not valid|invalid|wrong|expired|disabled|revoked|missing)",
        # Not of a key in a JSON object, which is named.
        r"(?:invalid|incorrect|wrong|expired|missing|no|disabled|revoked) (?:api.?)?(?:key(?!s?:? ?['\"`]\w)|"
        r"credential|auth)",
        r"un-?authori[sz]ed",
        r"un-?authenticated",
        r"not authori[sz]ed",
        r"not (?:been )?authenticated",
        r"authentication",
        r"credentials",
        r"(?:log|sign).?in (?:fail|required|first|to continue)",
        r"not logged in",
        r"please (?:log|sign).?in",
        r"jwt",
        r"\btoken\b.{0,40}(?:expired|revoked|invalid)",
        r"expired token",
        r"(?:country|region|territory|location).{0,40}(?:not supported|not available|unsupported|restricted)",
        r"unsupported.?country",
        # Not of the turns of a user, nor of the parameter `user`.
        r"(?:account|organi[sz]ation|project|workspace|tenant|subscription|"
        r"\buser\b(?!['\"`/,]| (?:roles?|messages?|turns?|prompts?|content|inputs?|and|or)\b|s\b)).{0,40}(?:disabled|"
        r"restricted|suspended|deactivated|banned|blocked|not allowed|no access|not have (?:access|permission)|"
        r"must be verified|terminated)",
        r"\b(?:ip|network|firewall rules?|virtual network|vnet).{0,40}(?:not allowed|denied|not in|blocked|disabled)",
        r"public (?:network )?access",
        r"permission.?(?:denied|error)",
        r"(?:lacks?|not have|n't have|no|insufficient|missing) (?:the )?(?:required |sufficient )?(?:permission|"
        r"privilege|scope|access)",
        r"access (?:is |was )?denied",
        r"not allowed to (?:access|call|use (?:this|the|that|our|any|model))\b",
        r"\breferer\b.{0,40}blocked",
        r"无权|没有权限|(?:账[户号]|帐[户号]).{0,8}(?:禁用|停用|封)",
        r"无效的令牌",
        r"认证失败",
        r"鉴权",
    ),
    "rate": (
        r"rate.?limit",
        r"too many requests",
        r"slow down",
        r"requests? per (?:minute|second|day)",
        r"tokens? per (?:minute|day)",
        r"throttl",
    ),
    "busy": (
        r"overload",
        r"temporar",
        r"try again",
        r"retry",
        r"time.?out",
        r"timed out",
        r"unavailable",
        r"internal.{0,12}error",
        r"server error",
        r"is busy",
        r"capacity",
        r"upstream",
        r"provider returned error",
        r"no healthy",
        r"bad gateway",
        r"is loading",
        r"warming up",
        r"starting up",
        r"not ready",
    ),
    "system_role": (
        r"(?:system|developer)['\"` _-]{0,3}(?:role|message|prompt|instruction|turn)s?\b.{0,60}(?:not|"
        r"n't|unsupported|invalid|disabled|disallowed)",
        r"(?:not|n't|unsupported|invalid|unknown|unexpected|disallowed|no).{0,40}(?:system|"
        r"developer)['\"` _-]{0,3}(?:role|message|prompt|instruction|turn)",
        r"(?:unsupported|invalid|unknown|unexpected).{0,24}\brole\b.{0,24}(?:system|developer)",
        r"\brole\b.{0,24}(?:system|developer)['\"`]?.{0,30}(?:not|unsupported|invalid)",
        r"(?:system|developer)['\"`]? is not (?:one of|a valid|an allowed)",
        r"(?:does not|doesn't|do not) support ['\"`]?(?:system|developer)",
        r"(?:invalid|unsupported)(?: value| role)?:? ['\"`]?(?:system|developer)\b",
        r"first message.{0,30}\brole\b.{0,8}user",
        r"^['\"`]?(?:system|developer)['\"`]? (?:is |are )?(?:not supported|unsupported|not allowed)",
        r"roles? must alternate",
        r"only.{0,20}user.{0,20}assistant.{0,40}(?:role|support|allow)",
        r"alternat\w+ (?:between )?user",
    ),
    "response_format": (
        r"response.?(?:format|schema)",
        r"json.?(?:schema|object|mode)",
        r"structured.?(?:output|generation)",
        r"guided.?(?:json|decoding)",
        r"response.?mime.?type",
        r"constrained decoding",
        r"grammar",
    ),
    "max_tokens": (
        r"max(?:imum)?[_ ]?(?:completion[_ ]|output[_ ]?|new[_ ])?tokens?\b.{0,80}(?:too large|too high|"
        r"too big|less than|at most|exceed|greater|larger|maximum|cannot be|must be|should be|no more|"
        r"up to|between|range)",
        r"(?:invalid|exceed\w*).{0,24}max(?:imum)?_(?:completion_|output_|new_)?tokens",
    ),
    "parameter": (
        r"(?:unsupported|unknown|unrecogni[sz]ed|unexpected|invalid|extra|additional|unpermitted|"
        r"forbidden).{0,12}(?:parameter|argument|field|key(?:word)?\b|property|properties|name \"|"
        r"inputs? (?:is|are) not)",
        r"extra (?:inputs|fields|keys)",
        r"extra.?forbidden",
        r"(?:parameter|argument|field|property|option|setting)s?\b.{0,60}(?:not (?:support|allow|permit|"
        r"valid|recogni)|unsupported|unknown|must be)",
        r"(?:(?:not|n't) (?:support|accept|allow)|not allowed to (?:use|set)).{0,12}\b(?:parameter|argument|"
        r"temperature|top_p|top_k|seed)",
        r"only the default \(",
        r"\b(?:temperature|top_p|top_k|seed|stop|n|presence_penalty|frequency_penalty|max_tokens|"
        r"max_completion_tokens|max_output_tokens|logit_bias|reasoning_effort|min_p|store|stream|"
        r"user(?! (?:messages?|roles?|turns?)\b))['\"`]?\b.{0,60}(?:not support|not allow|unsupported|deprecated|"
        r"not permitted|must be|should be|cannot (?:both )?be|out of range|not valid|invalid|"
        r"incompatible|not compatible)",
        r"(?:invalid|unsupported)(?: value)?.{0,20}['\"`]?(?:temperature|top_p|top_k|seed|max_tokens|"
        r"presence_penalty|frequency_penalty|reasoning_effort)",
    ),
}
PATTERNS = {found: re.compile("|".join(alternatives)) for found, alternatives in WORDS.items()}

QUOTED = re.compile(r"(['\"`])(.*?)\1|\u00ab(.*?)\u00bb|\u201c(.*?)\u201d|\u300c(.*?)\u300d|<<(.*?)>>", re.S)
LONG_QUOTATION = 40
"""Characters from which on a quotation is the text that was sent; its words are not the service's."""
RUN_OF_WORDS = 3
"""So many words as they stand in a text that was sent are a quotation without marks."""
WORD = re.compile(r"\w+(?:['’]\w+)*")

DESCRIPTIONS = (
    *("message", "msg", "error_msg", "errmsg", "status_msg", "error_message", "error_description", "detail", "title"),
)
NUMBERS = ("code", "status", "status_code", "statusCode", "http_code", "error_code")


def complaint(words: str, *without: Complaint) -> Complaint | None:
    """What a message, in small letters, complains of, some complaints left out; `None` if it does not tell.

    Examples:
        >>> complaint("api key not valid. please pass a valid api key."), complaint("system role not supported")
        ('key', 'system_role')
        >>> complaint("the 7th character cannot be read")
    """
    return next((found for found, said in PATTERNS.items() if found not in without and said.search(words)), None)


def own_words(message: str, sent: Iterable[str] = ()) -> str:
    """A message in small letters without what it quotes, with or without marks, of the texts that were sent.

    Examples:
        >>> own_words("cannot read: I lost my API key", ["Review: I lost my api key"])
        'cannot read:'
        >>> own_words("'temperature' is not supported", ["a text"])
        "'temperature' is not supported"
    """
    message = message.lower()
    texts = [" ".join(WORD.findall(text.lower())) for text in sent]

    def quoted(found: re.Match[str]) -> str:
        inner = next((part for part in found.groups()[1:] if part), "")
        words = WORD.findall(inner)
        is_sent = len(words) > 1 and any(" ".join(words) in text for text in texts)
        return " " if len(inner) >= LONG_QUOTATION or is_sent else found.group()

    message = QUOTED.sub(quoted, message)
    runs = {run for text in texts for run in _runs(text.split())}
    words = list(WORD.finditer(message))
    taken = [False] * len(message)
    for place, run in enumerate(_runs([word.group() for word in words])):
        if run in runs:
            begin, end = words[place].start(), words[place + RUN_OF_WORDS - 1].end()
            taken[begin:end] = [True] * (end - begin)
    return "".join(letter for letter, is_taken in zip(message, taken, strict=True) if not is_taken).strip()


def without_texts(message: str, sent: Iterable[str]) -> str:
    """A message with `[...]` for what it repeats of texts that were sent: whole short ones, or three words in a row.

    What a service has changed before it repeats it is not found.

    Examples:
        >>> without_texts("status 500: cannot read 'The soup was cold'", ["We came late. The soup was cold, alas."])
        "status 500: cannot read '[...]'"
        >>> without_texts("status 500: 4111-1111 is no text", ["4111-1111"])
        'status 500: [...] is no text'
    """
    texts = [[word.lower() for word in WORD.findall(text)] for text in sent]
    runs = {run for text in texts for run in ([tuple(text)] if len(text) < RUN_OF_WORDS else _runs(text)) if run}
    words = list(WORD.finditer(message))
    lowered = [word.group().lower() for word in words]
    parts, end, place = [], 0, 0
    while place < len(words):
        after = next(
            (place + size for size in range(RUN_OF_WORDS, 0, -1) if tuple(lowered[place : place + size]) in runs), None
        )
        if after is None:
            place += 1
            continue
        while after < len(words) and tuple(lowered[after - RUN_OF_WORDS + 1 : after + 1]) in runs:
            after += 1
        parts += [message[end : words[place].start()], "[...]"]
        end, place = words[after - 1].end(), after
    return "".join([*parts, message[end:]])


def _runs(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(RUN_OF_WORDS)), strict=False)


def parsed(body: bytes) -> Any:
    """The JSON of a body; `None` where it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def error_of(body: bytes) -> Mapping[str, Any]:
    """The part of a body that tells of an error, whatever its layout; empty where there is no JSON object."""
    document = parsed(body)
    if isinstance(document, list) and document:
        document = document[0]
    if not isinstance(document, Mapping):
        return {}
    for name in ("error", "errors", "base_resp"):
        error = document.get(name)
        if isinstance(error, list) and error:
            error = error[0]
        if isinstance(error, Mapping):
            return error
        if isinstance(error, str) and error:
            # A gateway may pass on the body it got as a text.
            inner = error_of(error.encode()) if error.lstrip().startswith(("{", "[")) else {}
            return inner or {**document, "message": error}
    return document


def message_of(error: Mapping[str, Any], body: bytes) -> str:
    """The service's own words in one line, at most 500 characters; of a page, its text."""
    message: Any = error
    while isinstance(message, Mapping):
        # Mistral: {"message": {"detail": [...]}}
        told = next((found for name in DESCRIPTIONS if (found := message.get(name))), None)
        if told is None and message is not error:
            break
        message = told
    if isinstance(message, list):
        message = "; ".join(_of_field(part) for part in message)
    if not isinstance(message, str):
        message = json.dumps(message) if message else page_text(body)
    metadata = error.get("metadata")
    if isinstance(metadata, Mapping) and isinstance(raw := metadata.get("raw"), str):
        # A gateway's own words are "Provider returned error"; what the provider said is inside.
        message = f"{message}: {raw}"
    message = " ".join(message.split())
    return message if len(message) <= MOST_MESSAGE else f"{message[:MOST_MESSAGE]}..."


def status_inside(error: Mapping[str, Any]) -> int | None:
    """The HTTP status an error names in its text, where a gateway answered another one."""
    for name in NUMBERS:
        given = error.get(name)
        if isinstance(given, str) and given.isdigit():
            given = int(given)
        if isinstance(given, int) and 400 <= given <= 599:
            return given
    return None


def is_page(body: bytes) -> bool:
    """Whether a body is HTML."""
    return PAGE.match(body) is not None


def page_text(body: bytes) -> str:
    """The beginning of a body as text; of a page, without its markup."""
    text = body[:4000].decode("utf-8", "replace")
    if is_page(body):
        text = re.sub(r"(?is)<(script|style)\b.*?(?:</\1\s*>|$)", " ", text)
        text = re.sub(r"<[^>]*>?", " ", text)
    return " ".join(text.split())[:300]


def _of_field(part: Any) -> str:
    # FastAPI: [{"loc": ["body", "foo"], "msg": "Extra inputs are not permitted", "input": <the text itself>}]
    if isinstance(part, Mapping) and isinstance(part.get("msg"), str):
        place = part.get("loc")
        named = ".".join(map(str, place)) if isinstance(place, list) else ""
        return f"{named}: {part['msg']}" if named else str(part["msg"])
    return part if isinstance(part, str) else json.dumps(part)
