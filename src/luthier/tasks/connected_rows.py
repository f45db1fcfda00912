"""Rows that belong together, so that a split into tables keeps them in one."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["connected"]


def connected(texts: Sequence[str | None], groups: Sequence[object] | None) -> list[int]:
    """A number per row, equal for rows that share a text or a group, directly or through others."""
    parent = list(range(len(texts)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for keys in (texts, groups or ()):
        first: dict[object, int] = {}
        for i, key in enumerate(keys):
            if key is None:
                continue
            parent[root(i)] = root(first.setdefault(key, i))
    return [root(i) for i in range(len(texts))]
