"""Files of a deployment, filled in from the templates in `files/`."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2

__all__ = ["filled"]


def filled(template: str, **values: Any) -> str:
    """The text of a template with these values; each value is needed, and written so that it stays one value.

    Examples:
        >>> print(filled("dockerignore", wheel="a.whl", has_endpoint=False).splitlines()[2])
        !a.whl
    """
    return _environment().get_template(f"{template}.j2").render(values)


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        loader=jinja2.FunctionLoader(
            lambda name: files("luthier.deployments.targets").joinpath("files", name).read_text("utf-8")
        ),
    )
    environment.filters |= {"json": _json, "quoted": _quoted_for_docker}
    return environment


def _json(value: Any) -> str:
    """JSON, which is YAML and the exec form of a Dockerfile too."""
    return json.dumps(value, ensure_ascii=False)


def _quoted_for_docker(value: str) -> str:
    """A value of LABEL, in which docker would replace $NAME."""
    return _json(value).replace("$", "\\$")
