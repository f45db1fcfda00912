"""Lists as OpenAI returns them: a page after a cursor, and whether more follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from luthier_local.api_errors import ApiError, invalid_value
from luthier_local.jobs.job_store import JobStore

__all__ = ["page", "read_metadata"]

_PAIRS = 16
_DIGITS = 18
_LONGEST_KEY, _LONGEST_VALUE = 64, 512


def page(
    store: JobStore,
    table: str,
    shape: Callable[[Any], dict[str, Any]],
    query: Mapping[str, str],
    default: int,
    most: int,
    where: str = "",
    values: Sequence[object] = (),
) -> dict[str, Any]:
    """One page of a table as a list object: newest first, files oldest first where the query's `order` is `asc`.

    Args:
        store: Where the table is.
        table: Its name.
        shape: A row as the object listed.
        query: The request's query: `after`, `limit`, `order`.
        default: Objects of a page where the query has no `limit`.
        most: The largest `limit`.
        where: SQL condition on the rows.
        values: Values of the condition's placeholders.
    """
    given = query.get("limit", str(default))
    if not given.isdecimal() or not 1 <= int(given) <= most:
        raise invalid_value("limit", f"expected a whole number from 1 to {most}, got {given[:20]!r}.")
    limit = int(given)
    oldest_first = table == "files" and query.get("order") == "asc"
    conditions = [where] if where else []
    bound = list(values)
    after = query.get("after")
    if after:
        # An event's id holds its number; others are looked up.
        if table == "events":
            number = event_number(after)
        else:
            cursor = store.row(f"select number from {table} where id = ?", after)
            number = cursor["number"] if cursor is not None else None
        if number is None:
            raise ApiError(404, f"No such object to list after: {after[:80]!r}.", param="after")
        conditions.append(f"number {'>' if oldest_first else '<'} ?")
        bound.append(number)
    clause = f"where {' and '.join(conditions)}" if conditions else ""
    order = "asc" if oldest_first else "desc"
    found = store.rows(f"select * from {table} {clause} order by number {order} limit ?", *bound, limit + 1)
    data = [shape(row) for row in found[:limit]]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(found) > limit,
    }


def event_number(identity: str) -> int | None:
    """The number in an event's id, such as `ftevent-000000000012`; `None`: not an event's id."""
    digits = identity.removeprefix("ftevent-")
    # Longer ones exceed the database's integers.
    return int(digits) if digits.isdecimal() and digits != identity and len(digits) <= _DIGITS else None


def read_metadata(body: Mapping[str, Any]) -> dict[str, str] | None:
    """The `metadata` of a create request: at most 16 pairs of texts."""
    given = body.get("metadata")
    if given is None:
        return None
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise invalid_value("metadata", "expected an object whose values are texts.", "invalid_type")
    if len(given) > _PAIRS:
        raise invalid_value("metadata", f"at most {_PAIRS} pairs; given {len(given)}.", "object_above_max_properties")
    for key, value in given.items():
        if len(key) > _LONGEST_KEY:
            raise invalid_value("metadata", f"a key has at most {_LONGEST_KEY} characters; {key[:20]!r}... is longer.")
        if len(value) > _LONGEST_VALUE:
            raise invalid_value("metadata", f"a value has at most {_LONGEST_VALUE} characters; {key!r}'s is longer.")
    return given
