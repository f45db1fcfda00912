"""Pydantic's errors as a person reads them: where, what is wrong, what is allowed there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from luthier.errors import SpecError, UserError

__all__ = ["ReadableErrors", "readable_validation_error", "unknown_keys"]


class ReadableErrors(type(BaseModel)):  # type: ignore[misc]
    """Has a faulty call in Python raise the message a faulty file gets; pydantic's own entry points are not touched."""

    def __call__(cls, *args: Any, **settings: Any) -> Any:  # noqa: D102  (makes an instance)
        try:
            return super().__call__(*args, **settings)
        except ValidationError as error:
            raise cls.fault(error) from None

    def fault(cls, error: ValidationError) -> UserError:
        """What is raised instead of pydantic's error."""
        return SpecError(f"{cls.__name__}: {readable_validation_error(error, cls)}")


_KIND_TRIED = re.compile(r"(constrained-)?(int|float|str|bool)|[a-z-]+\[.*\]")
"""The last part of a place where pydantic tried one of several kinds."""


UNKNOWN = "unknown_key"


def unknown_keys(given: Mapping[str, Any], allowed: Sequence[str], model: str) -> ValidationError:
    """The error about keys that a model does not have, where what it has depends on one of its values."""

    def told(key: str) -> str:
        near = get_close_matches(str(key), allowed, n=1, cutoff=0.75)
        return f"unknown key; allowed here: {', '.join(allowed)}{f' (did you mean {near[0]}?)' if near else ''}"

    kinds = {key: PydanticCustomError(UNKNOWN, told(key)) for key in given}
    faults = [InitErrorDetails(type=kinds[key], loc=(key,), input=value) for key, value in given.items()]
    return ValidationError.from_exception_data(model, faults)


def readable_validation_error(error: ValidationError, model: type[BaseModel]) -> str:
    """One line per fault: where it is, what is wrong, what is allowed there."""
    found: dict[str, list[str]] = {}
    given: dict[str, str] = {}
    for fault in error.errors():
        # One of several kinds is allowed: each was tried, and failed, at the same place.
        path = [str(part) for part in fault["loc"]]
        if path and _KIND_TRIED.fullmatch(path[-1]):
            path.pop()
        where = ".".join(path)
        what = fault["msg"].removeprefix("Value error, ").replace("Input should be ", "should be ")
        if fault["type"] == "extra_forbidden":
            allowed = _fields_at(model, fault["loc"][:-1])
            what = f"unknown key; allowed here: {', '.join(sorted(allowed))}" if allowed else "unknown key"
        elif fault["type"] == "missing":
            what = "is missing"
        elif fault["type"] not in ("value_error", UNKNOWN):
            if fault["type"] in ("bool_parsing", "bool_type"):
                what = "should be true or false"
            if fault["type"] == "model_type":
                what = f"should be a block of settings, in Python also {fault['ctx']['class_name']}(...)"
            value = fault.get("input")
            if isinstance(value, str | int | float | bool | None):
                given[where] = f" (given: {value!r})"
        found.setdefault(where, []).append(what)
    return "; ".join(
        (f"{where}: " if where else "") + " or ".join(dict.fromkeys(whats)) + given.get(where, "")
        for where, whats in found.items()
    )


def _fields_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    from typing import get_args

    here: type[BaseModel] = model
    for part in path:
        field_info = here.model_fields.get(str(part))
        if field_info is None:
            return []
        annotation = field_info.annotation
        options = [annotation, *get_args(annotation)]
        inner = [kind for kind in options if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not inner:
            return []
        here = inner[0]
    return [info.alias or name for name, info in here.model_fields.items()]
