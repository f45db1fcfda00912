"""What is taken out of texts, and what a model may well have written."""

from __future__ import annotations

from luthier.endpoints.redaction import redact, redact_bytes


def test_a_key_is_taken_out_of_an_error() -> None:
    assert redact("bad key abcdefgh-12345678", ["abcdefgh-12345678"]) == "bad key [key]"


def test_a_placeholder_key_is_a_word_an_answer_may_hold() -> None:
    assert redact_bytes(b'{"content": "none"}', ["none"]) == b'{"content": "none"}'


def test_half_a_surrogate_pair_is_taken_out_of_a_message() -> None:
    assert redact("cannot take \ud83d here") == "cannot take ? here"
