"""What a server says of itself: the OpenAPI document of `/openapi.json`, and the page of `/docs`."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from importlib import metadata
from importlib.resources import files
from pprint import pformat
from typing import Any

from luthier.serving.served_model import ServedModelFacts
from luthier.serving.settings import ServerSettings
from luthier.tables.cells import utf8_safe

__all__ = ["docs_page", "example_rows", "openapi_document"]

MADE_UP = {"string": "An example text.", "boolean": True, "integer": 1, "long": 1, "float": 1.0, "double": 1.0}

CELLS: dict[str, Any] = {
    "string": {"type": ["string", "null"]},
    "boolean": {"type": ["boolean", "null"]},
    "integer": {"type": ["integer", "null"]},
    "long": {"type": ["integer", "null"]},
    "float": {"type": ["number", "null"]},
    "double": {"type": ["number", "null"]},
}
"""JSON schemas of MLflow's types; of any other type a cell may be anything."""

SCALAR = {"type": ["string", "number", "boolean", "null"]}
"""What a Luthier model takes in a cell: a number in a text column is read as a text."""

DECODING: dict[str, dict[str, Any]] = {
    "temperature": {"minimum": 0, "maximum": 2},
    "top_p": {"exclusiveMinimum": 0, "maximum": 1},
    "max_tokens": {"minimum": 1, "maximum": 2**31 - 1},
    "seed": {"minimum": -(2**63), "maximum": 2**63 - 1},
}
"""What the params of a Luthier model may be."""

REFUSALS = {
    400: "The body is not what the model takes.",
    401: "The key is missing or is not one that the server lets in.",
    402: "The server's budget for the day is spent.",
    408: "The request did not come to its end in time.",
    413: "The body is too large or has too many rows.",
    415: "The media type of the body is not one that the server reads.",
    429: "The server has as many requests as it takes.",
    500: "The server failed; its log says why.",
    502: "The service that the model asks refuses every request.",
    503: "The service that the model asks cannot be reached, or the server is not ready.",
    504: "The request's time is over.",
}

COMES_AGAIN = frozenset({429, 503})
"""Statuses that say in a header when to ask again."""


def example_rows(facts: ServedModelFacts, settings: ServerSettings) -> list[dict[str, Any]]:
    """Rows that a client can send to try the model.

    The page of a server that needs a key can be read without one: its rows are made up. Else they are the model's.
    """
    if settings.without_key and facts.example:
        rows = [{name: _safe(cell) for name, cell in row.items()} for row in facts.example[:2]]
        return json.loads(json.dumps(rows, default=str))  # type: ignore[no-any-return]
    return [{_safe(name): MADE_UP.get(kind, "example") for name, kind in facts.columns.items()}]


def openapi_document(
    facts: ServedModelFacts, settings: ServerSettings, *, revision: int | None = None
) -> tuple[bytes, str]:
    """The OpenAPI 3.1 document of a server, and its media type."""
    of_deployment = "" if revision is None else f", revision {revision} of its deployment"
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": facts.name,
            "version": facts.version or "unregistered",
            "description": f"Answers with {facts.uri}{of_deployment} by MLflow's scoring protocol. "
            f"Luthier {metadata.version('luthier')}.",
        },
        "paths": {
            "/invocations": {"post": _invocations(facts, settings)},
            "/ping": {"get": _plain("alive", "Whether the server is alive", "application/json")},
            "/health": {"get": _plain("healthy", "Whether the server is alive", "application/json")},
            "/ready": {"get": _ready()},
            "/version": {"get": _plain("version", "The version of MLflow whose protocol is spoken", "text/plain")},
            "/metrics": {"get": _plain("metrics", "What the server counts, for Prometheus", "text/plain")},
        },
        "components": {
            "schemas": {
                "Row": _row(facts),
                "Prediction": _prediction(facts),
                "Error": {
                    "type": "object",
                    "required": ["error_code", "message"],
                    "properties": {"error_code": {"type": "string"}, "message": {"type": "string"}},
                },
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }
    return json.dumps(_safe(document), indent=1).encode(), "application/json"


def docs_page(facts: ServedModelFacts, settings: ServerSettings, *, revision: int | None = None) -> tuple[bytes, str]:
    """A page for people: what the model takes and answers, how to ask it, and a form that does.

    It loads nothing from elsewhere. Only its own style and script are let in, by their hashes.
    """
    import jinja2
    from markupsafe import Markup

    here = files("luthier.serving")
    style = here.joinpath("docs_page.css").read_text("utf-8")
    script = here.joinpath("docs_page.js").read_text("utf-8")
    policy = (
        f"default-src 'none'; style-src '{_hash_of(style)}'; script-src '{_hash_of(script)}'; connect-src 'self'; "
        "img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    rows = example_rows(facts, settings)
    page = environment.from_string(here.joinpath("docs_page.html").read_text("utf-8")).render(
        policy=policy,
        style=Markup(style),
        script=Markup(script),
        facts=facts,
        revision=revision,
        needs_key=not settings.without_key,
        settings=settings,
        address=f"http://{settings.host}:{settings.port}",
        body=json.dumps({"dataframe_records": rows}, ensure_ascii=False, indent=2),
        curl=shlex.quote(json.dumps({"dataframe_records": rows}, ensure_ascii=False)),
        literal=pformat(rows, width=88, sort_dicts=False),
        refusals=REFUSALS,
        version=metadata.version("luthier"),
    )
    return utf8_safe(page).encode(), "text/html; charset=utf-8"


def _invocations(facts: ServedModelFacts, settings: ServerSettings) -> dict[str, Any]:
    rows = example_rows(facts, settings)
    forms = _forms(facts, settings)
    header = {"schema": {"type": "string"}}
    answered = {
        "description": "A prediction for each row, in the order of the rows.",
        "headers": {"X-Request-Id": header},
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["predictions"],
                    "properties": {
                        "predictions": {"type": "array", "items": {"$ref": "#/components/schemas/Prediction"}}
                    },
                }
            }
        },
    }
    return {
        "operationId": "predict",
        "summary": "Predictions for rows",
        **({} if settings.without_key else {"security": [{"bearer": []}, {"header": []}]}),
        "parameters": [
            {
                "name": "X-Request-Timeout-Seconds",
                "in": "header",
                "description": f"Time that the request may take, {settings.timeout_seconds:g} s at most.",
                "schema": {"type": "number", "exclusiveMinimum": 0},
            }
        ],
        "requestBody": {
            "required": True,
            "description": f"At most {settings.most_rows:,} rows and {settings.most_bytes:,} bytes. CSV with a line "
            "of names (text/csv) and Parquet (application/vnd.apache.parquet) are read too.",
            "content": {
                "application/json": {
                    "schema": {"oneOf": forms},
                    "examples": {"records": {"value": {"dataframe_records": rows}}},
                }
            },
        },
        "responses": {
            "200": answered,
            **{str(status): _refusal(status, why) for status, why in REFUSALS.items()},
        },
    }


def _forms(facts: ServedModelFacts, settings: ServerSettings) -> list[dict[str, Any]]:
    """The body in MLflow's forms; just one of their keys is there."""
    keys = ("dataframe_records", "dataframe_split", "inputs", "instances")
    names = list(facts.columns)
    row = {"$ref": "#/components/schemas/Row"}
    rows = {"type": "array", "minItems": 1, "maxItems": settings.most_rows, "items": row}
    cells = {"type": "array", "minItems": len(names), "maxItems": len(names), "items": {}}
    if names:
        cells = {"type": "array", "prefixItems": [_cell(facts, name) for name in names], "items": False}
        cells["minItems"] = len(names)
    split = {
        "type": "object",
        "required": ["columns", "data"],
        "properties": {
            "columns": {"const": names} if names else {"type": "array", "items": {"type": "string"}},
            "data": {"type": "array", "minItems": 1, "maxItems": settings.most_rows, "items": cells},
        },
        "additionalProperties": False,
    }
    bounds = {} if facts.technique is None else DECODING
    params = {
        "type": ["object", "null"],
        "properties": {name: {**_of_type(kind), **bounds.get(name, {})} for name, kind in facts.params.items()},
    }
    of_key = {"dataframe_records": rows, "dataframe_split": split, "inputs": rows, "instances": rows}
    return [
        {
            "type": "object",
            "title": key,
            "required": [key],
            "properties": {key: of_key[key], "params": params},
            "not": {"anyOf": [{"required": [other]} for other in keys if other != key]},
        }
        for key in keys
    ]


def _row(facts: ServedModelFacts) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(facts.columns),
        "properties": {name: _cell(facts, name) for name in facts.columns},
    }


def _cell(facts: ServedModelFacts, name: str) -> dict[str, Any]:
    if facts.technique is not None:
        return SCALAR
    return _of_type(facts.columns[name])


def _of_type(kind: str) -> dict[str, Any]:
    return dict(CELLS.get(kind, {}))


def _prediction(facts: ServedModelFacts) -> dict[str, Any]:
    if not facts.outputs or facts.technique is None:
        return {"description": "As the model answers."}
    return {
        "type": "object",
        "required": list(facts.outputs),
        "properties": {name: _of_type(kind) for name, kind in facts.outputs.items()},
    }


def _refusal(status: int, why: str) -> dict[str, Any]:
    said: dict[str, Any] = {
        "description": why,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    if status in COMES_AGAIN:
        said["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "string"}}}
    return said


def _ready() -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": ["ready", "checks"],
        "properties": {
            "ready": {"type": "boolean"},
            "checks": {"type": "object", "additionalProperties": {"type": ["string", "null"]}},
        },
    }
    content = {"application/json": {"schema": schema}}
    return {
        "operationId": "ready",
        "summary": "Whether requests would be answered now",
        "responses": {
            "200": {"description": "They would.", "content": content},
            "503": {"description": "They would not; checks says why.", "content": content},
        },
    }


def _plain(name: str, summary: str, kind: str) -> dict[str, Any]:
    return {"operationId": name, "summary": summary, "responses": {"200": {"description": "OK", "content": {kind: {}}}}}


def _hash_of(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _safe(value: Any) -> Any:
    """The value with texts that UTF-8 can write."""
    if isinstance(value, str):
        return utf8_safe(value)
    if isinstance(value, Mapping):
        return {_safe(key): _safe(cell) for key, cell in value.items()}
    if isinstance(value, Sequence):
        return [_safe(cell) for cell in value]
    return value
