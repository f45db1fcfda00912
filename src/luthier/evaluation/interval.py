"""A value with its bounds, and records as JSON values; reports that show no measurement need no more of this room."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

__all__ = ["Interval", "plain"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with the bounds of its 95% interval; the bounds are `None` where there is nothing to resample."""

    value: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read by pydantic as `plain` writes it: `[value, low, high]`."""
        from pydantic_core import core_schema

        def read(given: Any) -> Interval:
            if isinstance(given, Interval):
                return given
            if not isinstance(given, list) or len(given) != 3:
                raise ValueError(f"an interval is [value, low, high], and this is {given!r}")
            value, low, high = given
            return cls(math.nan if value is None else value, low, high)

        return core_schema.no_info_plain_validator_function(read)


def plain(value: Any) -> Any:
    """A record as plain JSON values, none of them NaN; an interval is `[value, low, high]`."""
    if isinstance(value, Interval):
        return [plain(value.value), plain(value.low), plain(value.high)]
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [plain(inner) for inner in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
