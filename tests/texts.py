"""Texts the embedding tests ask about."""

from __future__ import annotations

from typing import Any

from luthier.endpoints import Request

__all__ = ["embedding", "texts"]


def embedding(text: str, **settings: Any) -> Request:
    return Request("embedding", {"input": text, **settings})


def texts(count: int, start: int = 0) -> list[Request]:
    return [embedding(f"visit {number}: the soup was great") for number in range(start, start + count)]
