"""What is taken out of texts, and what a model may well have written."""

from __future__ import annotations

import html
import json
from urllib.parse import quote, unquote

import pytest

from luthier.providers.redaction import HIDDEN, redact, redact_bytes


def test_a_key_is_taken_out_of_an_error() -> None:
    assert redact("bad key abcdefgh-12345678", ["abcdefgh-12345678"]) == "bad key [key]"


def test_a_placeholder_key_is_a_word_an_answer_may_hold() -> None:
    assert redact_bytes(b'{"content": "none"}', ["none"]) == b'{"content": "none"}'


def test_half_a_surrogate_pair_is_taken_out_of_a_message() -> None:
    assert redact("cannot take \ud83d here") == "cannot take ? here"


KEY = "sk-hunter22/ab+hunter22"


def _escaped(text: str) -> str:
    return "".join(f"\\u{ord(character):04X}" for character in text)


@pytest.mark.parametrize(
    "body",
    [
        f'{{"content": "it is {_escaped(KEY)}"}}',
        '{"content": "it is sk-\\u0068unter22\\/ab\\u002Bhunter22"}',
        json.dumps({"arguments": json.dumps({"key": "x"}).replace("x", _escaped(KEY))}),
        json.dumps({"content": quote(KEY, safe="")}),
        json.dumps({"content": quote(quote(KEY, safe=""), safe="")}),
        json.dumps({"content": "".join(f"&#{ord(character)};" for character in KEY)}),
        json.dumps({"content": [{"type": "text", "text": KEY[:7]}, {"type": "text", "text": KEY[7:]}]}),
    ],
)
def test_a_key_is_taken_out_of_an_answer_in_every_spelling(body: str) -> None:
    left = redact_bytes(body.encode(), [KEY])
    content = json.dumps(json.loads(left))
    assert HIDDEN in content
    assert "hunter22" not in unquote(unquote(html.unescape(content.encode().decode("unicode_escape"))))


def test_what_is_escaped_and_no_key_stays_byte_for_byte() -> None:
    body = b'{"content": "100% \\u0068unter22 \\/ d\\u00e9j\\u00e0"}'
    assert redact_bytes(body, [KEY]) is body
