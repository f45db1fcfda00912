"""What MLflow keeps of a model of its `mlflow.openai` flavor or of a registered prompt, read as data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from luthier.documents import described, parse_yaml
from luthier.errors import ModelError
from luthier.importing.adopted_templates import Syntax, syntax_of_prompt, variables_of
from luthier.packaging.folder import read_model_folder
from luthier.packaging.loading import located
from luthier.techniques.fitted_folder import plain_file
from luthier.tracking.runs import TAGS, version_of
from luthier.tracking.stores import connect_to_model, connect_to_read

__all__ = ["AdoptableSource", "Turn", "read_source"]

Call = Literal["chat", "completion", "embedding"]

CALLS: dict[str, Call] = {"chat.completions": "chat", "completions": "completion", "embeddings": "embedding"}
"""Tasks of the flavor that answer rows, as the calls of the protocol."""

LARGEST_FILE = 1_000_000
"""Bytes of a model's own YAML file."""

ADDRESS = ("api_type", "api_base", "base_url", "api_version", "deployment_id", "deployment_name", "engine")
"""Fields of a model's file, as earlier MLflows wrote them, that say where it is asked."""


@dataclass(frozen=True)
class Turn:
    """A message, with its text still a template."""

    role: str
    content: str


@dataclass(frozen=True)
class AdoptableSource:
    """What MLflow keeps of a model or prompt.

    Attributes:
        uri: where it is; by version, where it was found by an alias.
        name: a name for a spec of it.
        call: the call that it makes.
        syntax: how its texts name variables.
        turns: its messages; of a completion one, of an embedding none.
        model: the model's name, `None` where it names none.
        provider: who serves that model, as a prompt's settings name it.
        settings: the other fields of its calls.
        response_format: the form of answers that it asks for.
        address: what its file says of where it is asked.
        has_key: whether its file holds a key, which is not read.
    """

    uri: str
    name: str
    call: Call
    syntax: Syntax
    turns: Sequence[Turn] = ()
    model: str | None = None
    provider: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    response_format: Mapping[str, Any] | None = None
    address: Mapping[str, str] = field(default_factory=dict)
    has_key: bool = False

    @property
    def variables(self) -> set[str]:
        """The variables of its texts."""
        return {name for turn in self.turns for name in variables_of(turn.content, self.syntax)}


def read_source(uri: str | Path) -> AdoptableSource:
    """Reads a model or prompt.

    Args:
        uri: `models:/NAME/VERSION`, `models:/NAME@ALIAS`, `runs:/RUN_ID/NAME` or a folder; or `prompts:/NAME/VERSION`,
            `prompts:/NAME@ALIAS`.

    Raises:
        ModelError: nothing is there, or it is of another kind.
    """
    if not isinstance(uri, str | Path):
        raise ModelError(
            f"a model or prompt is wanted, as models:/NAME/VERSION or prompts:/NAME/VERSION; given: {described(uri)}."
        )
    return _prompt(str(uri)) if str(uri).startswith("prompts:") else _model(str(uri))


def _model(uri: str) -> AdoptableSource:
    connect_to_model(uri)
    from mlflow.exceptions import MlflowException

    named = None
    try:
        named = version_of(uri)
    except MlflowException as error:
        raise ModelError(f"no model at {uri}: {error.message}") from error
    stable = uri if named is None else "models:/" + "/".join(named)
    folder = read_model_folder(located(stable), uri)
    if folder.is_ours:
        raise ModelError(f"{uri} is a model of Luthier's already: luthier score TABLE --model {uri}")
    if "openai" not in folder.flavors:
        raise ModelError(
            f"{uri} is an MLflow model of flavor {', '.join(folder.flavors)}. Only models of the flavor openai, and "
            "registered prompts, are made into specs: they are settings and texts, whereas others are code."
        )
    flavor = parse_yaml((folder.path / "MLmodel").read_text(encoding="utf-8"))["flavors"]["openai"]
    document = _settings_file(folder.path, flavor.get("data") if isinstance(flavor, dict) else None, uri)
    given, model = document.pop("task", None), document.pop("model", None)
    call = CALLS.get(str(given))
    if call is None:
        raise ModelError(
            f"{uri} has the task {given!r}; models of the tasks {', '.join(CALLS)} can be made into a spec."
        )
    if not isinstance(model, str) or not model:
        raise ModelError(f"{uri}: its settings name no model.")
    messages, prompt = document.pop("messages", None), document.pop("prompt", None)
    turns: list[Turn] = []
    if call == "chat":
        turns = _turns(messages or [], uri)
        if not any(variables_of(turn.content, "format") for turn in turns):
            # As MLflow does.
            turns.append(Turn("user", "{content}"))
    elif call == "completion":
        turns = [Turn("user", _text(prompt or "{prompt}", uri))]
    form = document.pop("response_format", None)
    keys = [name for name in document if re.fullmatch(r"(api_?key.*|.*secret.*|.*token)", name.lower())]
    address = {name: str(document.pop(name)) for name in ADDRESS if document.get(name)}
    settings = {name: value for name, value in document.items() if name not in keys and name not in ADDRESS}
    name = named[0] if named else Path(str(uri).rstrip("/")).name
    return AdoptableSource(
        stable,
        name,
        call,
        "format",
        turns,
        model,
        None,
        settings,
        form if isinstance(form, dict) else None,
        address,
        bool(keys),
    )


def _settings_file(folder: Path, name: Any, uri: str) -> dict[str, Any]:
    """The settings of a model, in a YAML file of its folder and in no other one."""
    parts = Path(name).parts if isinstance(name, str) else ()
    if not parts or Path(str(name)).is_absolute() or ".." in parts or not str(name).endswith((".yaml", ".yml")):
        raise ModelError(f"{uri}: its settings are in {name!r}, which is no YAML file of its folder; it is not read.")
    file = folder
    for part in parts:
        file = plain_file(file / part, uri)
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise ModelError(f"{uri}: its {name} has more than {LARGEST_FILE:,} bytes, so it is not read.")
        document = parse_yaml(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{uri}: its {name} cannot be read ({error.strerror}).") from error
    except (ValueError, yaml.YAMLError) as error:
        raise ModelError(f"{uri}: its {name} is no YAML of settings.") from error
    if not isinstance(document, dict):
        raise ModelError(f"{uri}: its {name} holds no settings.")
    return {str(key): value for key, value in document.items()}


def _prompt(uri: str) -> AdoptableSource:
    if not re.fullmatch(r"prompts:/[^/@]+(/\d+|@[^/@]+)", uri):
        raise ModelError(f"{uri} is no version of a prompt: give prompts:/NAME/VERSION or prompts:/NAME@ALIAS.")
    connect_to_read(f"no prompt {uri}")
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        # Read from the store, not from MLflow's cache: an alias may have moved.
        found = mlflow.genai.load_prompt(uri, cache_ttl_seconds=0)
    except (MlflowException, ValueError) as error:
        raise ModelError(f"no prompt at {uri}: {getattr(error, 'message', error)}") from error
    if TAGS["spec_digest"] in found.tags:
        raise ModelError(f"{uri} is the text of a spec of Luthier's, which is in the model that was logged with it.")
    template = found.template
    turns = [Turn("user", template)] if isinstance(template, str) else _turns(template, uri)
    settings = dict(found.model_config or {})
    model, provider = settings.pop("model_name", None), settings.pop("provider", None)
    if "stop_sequences" in settings:
        settings["stop"] = settings.pop("stop_sequences")
    return AdoptableSource(
        found.uri,
        found.name,
        "chat",
        syntax_of_prompt([turn.content for turn in turns]),
        turns,
        model or None,
        provider or None,
        settings,
        found.response_format,
    )


def _turns(messages: Any, uri: str) -> list[Turn]:
    if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
        raise ModelError(f"{uri}: its messages are not a list of roles and contents.")
    return [Turn(str(one.get("role")), _text(one.get("content"), uri)) for one in messages]


def _text(content: Any, uri: str) -> str:
    if not isinstance(content, str):
        kind = "parts, such as images" if isinstance(content, list) else "no text"
        raise ModelError(f"{uri}: a message of it holds {kind}; a spec sends texts.")
    return content
