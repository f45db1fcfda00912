"""`endpoints:`, a list of endpoints of one model, read as the first endpoint with the others in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from luthier.documents import described
from luthier.providers.endpoint import Endpoint
from luthier.tasks.readable_errors import readable_validation_error

__all__ = ["pooled_settings"]


def pooled_settings(given: object) -> dict[str, Any]:
    """The settings of the first endpoint, with the others under `others`.

    Args:
        given: what stands under `endpoints:`; in Python also objects.

    Raises:
        ValueError: it is no list of endpoints, or one of them is at fault; the message says which.
    """
    if isinstance(given, str | Mapping | Endpoint) or not isinstance(given, Sequence) or not given:
        raise ValueError(
            "endpoints holds a list, as in endpoints: [{provider: openai, model: NAME}, {provider: azure, ...}]; "
            f"given: {described(given)}"
        )
    for number, each in enumerate(given, start=1):
        try:
            Endpoint.model_validate(each)
        except ValidationError as error:
            raise ValueError(f"endpoint {number}: {readable_validation_error(error, Endpoint)}") from error
    first, others = given[0], list(given[1:])
    settings = first if isinstance(first, Mapping) else {name: getattr(first, name) for name in Endpoint.model_fields}
    # What the first one was given by itself is refused when the endpoint is made, not lost.
    return {**settings, "others": [*settings.get("others", ()), *others]}
