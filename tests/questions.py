"""Requests the endpoint tests ask."""

from __future__ import annotations

from luthier.endpoints import Request

__all__ = ["question", "questions"]


def question(text: str, **body: object) -> Request:
    return Request("chat", {"messages": [{"role": "user", "content": text}], "max_tokens": 3, "temperature": 0, **body})


def questions(count: int, start: int = 0) -> list[Request]:
    return [question(f"Stars 1 to 5 for visit {number}: the soup was great") for number in range(start, start + count)]
