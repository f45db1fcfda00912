"""The token tables a tunable model starts from: WordLlama's, or a small one without weights for tests."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from luthier_local.tokenizer import split_tokens, token_id

if TYPE_CHECKING:
    import numpy as np

    Floats = np.ndarray[Any, np.dtype[np.float32]]
    Ids = np.ndarray[Any, np.dtype[np.int64]]

__all__ = ["HASHED", "WORDLLAMA_TABLE", "TokenTable", "hashed_digest", "open_table"]

WORDLLAMA_TABLE = "wordllama"
HASHED = "hashed"

_HASHED_VERSION = "1"
_ROWS, _DIMENSIONS = 8192, 64
_opening = threading.Lock()


@dataclass(frozen=True)
class TokenTable:
    """A vector per token, and how a text becomes tokens."""

    name: str
    digest: str
    table: Floats
    encode: Callable[[Sequence[str]], list[Ids]]


def open_table(name: str) -> TokenTable:
    """The table of that name, loaded once per process; WordLlama's is fetched on first use."""
    with _opening:
        return _load(name)


@functools.cache
def _load(name: str) -> TokenTable:
    return _wordllama() if name == WORDLLAMA_TABLE else _hashed()


def _wordllama() -> TokenTable:
    import numpy as np

    from luthier_local.wordllama import WordLlamaBackend

    backend = WordLlamaBackend.open()

    def encode(texts: Sequence[str]) -> list[Ids]:
        return [np.array(ids, np.int64) for ids in backend.token_ids(texts)]

    return TokenTable(WORDLLAMA_TABLE, backend.digest, backend.table, encode)


def hashed_digest() -> str:
    """Identity of the table without weights."""
    return f"luthier-hashed/{_HASHED_VERSION}"


def _hashed() -> TokenTable:
    import numpy as np

    table = np.random.default_rng(20260101).standard_normal((_ROWS, _DIMENSIONS)).astype(np.float32)

    def encode(texts: Sequence[str]) -> list[Ids]:
        return [
            np.array([token_id(token.strip().lower()) % _ROWS for token in split_tokens(text)], np.int64)
            for text in texts
        ]

    return TokenTable(HASHED, hashed_digest(), table, encode)
