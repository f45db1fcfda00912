"""A tuned model: the token vectors that training updated, and a softmax over the answers it was trained on."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from luthier.errors import EndpointError
from luthier_local.jobs.job_store import write_whole
from luthier_local.jobs.token_table import Floats, Integers, TokenTable, open_table

__all__ = ["TokenFrequencies", "Network", "token_frequencies", "softmax"]


@dataclass(frozen=True)
class TokenFrequencies:
    """Texts as relative token frequencies: a text's features are `trained @ vectors + fixed`."""

    trained: csr_matrix
    """Frequencies of the tokens whose vectors are trained, shape (texts, trained vectors)."""
    fixed: Floats
    """Contribution of the other tokens, shape (texts, dimensions)."""

    def features(self, vectors: Floats) -> Floats:
        """Features, shape (texts, dimensions)."""
        found: Floats = self.trained @ vectors + self.fixed
        return found

    def rows(self, places: Integers) -> TokenFrequencies:
        """Those of the texts at some places."""
        return TokenFrequencies(self.trained[places], self.fixed[places])


def token_frequencies(
    encoded: Sequence[Integers], rows: Integers, token_table: TokenTable, scale: float
) -> TokenFrequencies:
    """Frequencies of the texts' tokens, split into those whose vectors are trained and the others."""
    place = np.full(len(token_table.vectors), -1, np.int64)
    place[rows] = np.arange(len(rows))
    data, columns, ends = [], [], [0]
    fixed = np.zeros((len(encoded), token_table.vectors.shape[1]), np.float32)
    for number, ids in enumerate(encoded):
        tokens, counts = np.unique(ids, return_counts=True)
        shares = (counts / max(1, len(ids))).astype(np.float32)
        moved = place[tokens] >= 0
        columns.append(place[tokens[moved]])
        data.append(shares[moved])
        ends.append(ends[-1] + int(moved.sum()))
        if not moved.all():
            fixed[number] = shares[~moved] @ token_table.vectors[tokens[~moved]] * np.float32(scale)
    trained = csr_matrix((np.concatenate(data), np.concatenate(columns), ends), shape=(len(encoded), len(rows)))
    return TokenFrequencies(trained, fixed)


@dataclass(frozen=True)
class Network:
    """The weights of a tuned model. Vectors are kept as half floats; measured and served are the same."""

    token_table: TokenTable
    scale: float
    rows: Integers
    """Tokens whose vectors were trained."""
    vectors: Floats
    head: Floats
    bias: Floats
    answers: Sequence[str]

    def shares(self, texts: Sequence[str]) -> Floats:
        """Probabilities, shape (texts, answers)."""
        return self.shares_of(
            token_frequencies(self.token_table.encode(texts), self.rows, self.token_table, self.scale)
        )

    def shares_of(self, frequencies: TokenFrequencies) -> Floats:
        """The same for texts already encoded."""
        return softmax(frequencies.features(self.vectors) @ self.head + self.bias)

    def save(self, path: Path) -> str:
        """Writes the model atomically; returns its digest."""
        card = {
            "table": self.token_table.name,
            "base": self.token_table.digest,
            "scale": self.scale,
            "answers": [*self.answers],
        }
        arrays: dict[str, np.ndarray[Any, Any]] = {
            "rows": self.rows.astype(np.int32),
            "vectors": self.vectors.astype(np.float16),
            "head": self.head,
            "bias": self.bias,
            "card": np.frombuffer(json.dumps(card).encode(), np.uint8),
        }
        digest = hashlib.sha256()
        for name, array in arrays.items():
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(array).data)
        write_whole(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type,unused-ignore]
        return f"sha256:{digest.hexdigest()}"

    @classmethod
    def load(cls, path: Path) -> Network:
        """Reads what `save` wrote.

        Raises:
            EndpointError: The file is gone or damaged, or was made from another base.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
                arrays = {name: found[name] for name in found.files}
            card = json.loads(arrays["card"].tobytes())
        except FileNotFoundError:
            raise EndpointError(f"the weights of this tuned model are gone from {path}; tune it again") from None
        except (EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error):
            raise EndpointError(f"the weights of this tuned model in {path} are damaged; tune it again") from None
        token_table = open_table(card["table"])
        if token_table.digest != card["base"]:
            raise EndpointError(
                f"this model was tuned from {card['base']}, but {token_table.digest} is installed; tune it again"
            )
        rows, vectors = arrays["rows"].astype(np.int64), arrays["vectors"].astype(np.float32)
        return cls(token_table, card["scale"], rows, vectors, arrays["head"], arrays["bias"], card["answers"])


def softmax(logits: Floats) -> Floats:
    """Softmax along the last axis of a matrix."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    np.exp(shifted, out=shifted)
    shares: Floats = shifted / shifted.sum(axis=1, keepdims=True)
    return shares
