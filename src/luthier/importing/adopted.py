"""Models of MLflow's `mlflow.openai` flavor and registered prompts as specs; what a spec cannot hold is listed."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from luthier.documents import path_of
from luthier.errors import EndpointError, ModelError, SpecError, UserError
from luthier.importing.adopted_endpoint import endpoint_of
from luthier.importing.adopted_sources import AdoptableSource, Turn, read_source
from luthier.importing.adopted_templates import rewritten
from luthier.outputs import check_file, write_file
from luthier.packaging.versions import Logged, check_names, log_fitted_model
from luthier.spec import Spec
from luthier.tasks.spellings import with_article
from luthier.tasks.task import Task
from luthier.techniques import Prompt
from luthier.techniques.endpoint_files import override_endpoint, read_endpoint
from luthier.techniques.registry import TECHNIQUES
from luthier.techniques.spec_writing import yaml_text
from luthier.tracking.runs import TAGS

__all__ = ["AdoptedSpec", "adopt_spec", "register_adopted", "spec_text", "write_adopted"]

TASK_FILES = ("models/task.yaml", "task.yaml")

DECODING = {"max_completion_tokens": "max_tokens"} | {
    name: name for name in ("temperature", "top_p", "max_tokens", "seed", "reasoning_effort")
}
"""Fields of a call that are settings of a prompt's `decoding:`."""

BODY = ("frequency_penalty", "presence_penalty", "logit_bias", "top_k", "stop", "verbosity", "service_tier")
"""Fields of a call that an endpoint's `extra_body:` sends with every request."""

NO_EFFECT: dict[str, Any] = {"n": 1, "stream": False, "frequency_penalty": 0, "presence_penalty": 0, "echo": False}
"""Values that change nothing."""

REASONS = {
    "tools": "a spec has one question and one answer, and calls no tools",
    "n": "a spec asks for one answer",
    "best_of": "a spec asks for one answer",
    "stream": "a spec reads whole answers",
    "logprobs": "`answer: score` asks for log-probabilities where it needs them",
    "stop": "a spec of style completion stops at an empty line",
}
REASONS |= dict.fromkeys(("tool_choice", "functions", "function_call", "parallel_tool_calls"), REASONS["tools"])
REASONS |= {"top_logprobs": REASONS["logprobs"]}

LONGEST_NAME = 64


@dataclass(frozen=True)
class AdoptedSpec:
    """A spec that was made from a model or prompt of MLflow.

    Attributes:
        spec: the recipe.
        source: the model or prompt, by version where it has one.
        changed: what the spec does otherwise than MLflow's own flavor, a sentence each.
        left_out: what was not carried over, by name, with the reason.
        file: where the spec was written.
        logged: the registered version, where one was made or was there already.
    """

    spec: Spec
    source: str
    changed: Sequence[str] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None
    logged: Logged | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """Everything that a reader should know before the spec is used, a line each."""
        return (*self.changed, *(f"Not carried over: {name}; {reason}." for name, reason in self.left_out.items()))

    @property
    def outcome(self) -> str:
        """Where the spec is now, and what is typed next."""
        lines = []
        if self.file is not None:
            lines.append(f"{self.file} is {self.source} as a spec: luthier compare {self.file} --test TABLE")
        if self.logged is not None:
            lines.append(f"{self.logged.model_uri} was made from {self.source}")
        return "\n".join(lines)

    def document(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {
            "source": self.source,
            "spec": self.spec.document(),
            "changed": list(self.changed),
            "left_out": dict(self.left_out),
            "file": None if self.file is None else str(self.file),
            "logged": None if self.logged is None else asdict(self.logged),
        }


def adopt_spec(
    uri: str | Path,
    *,
    task: Task | str | Path | None = None,
    endpoint: str | Path | None = None,
    name: str | None = None,
) -> AdoptedSpec:
    """Makes a spec; nothing is sent, written or run.

    Args:
        uri: `models:/NAME/VERSION`, `models:/NAME@ALIAS`, `runs:/RUN_ID/NAME`, a model's folder,
            `prompts:/NAME/VERSION` or `prompts:/NAME@ALIAS`.
        task: what it answers, or the file of that; `models/task.yaml` or `task.yaml` when absent.
        endpoint: endpoint file to ask in place of what the model and the environment name.
        name: of the spec; that of the model or prompt when absent.

    Raises:
        ModelError: nothing is there, or it does what no spec does; the message names it.
        EndpointError: neither the model nor the environment tells where it is asked.
        SpecError: there is no task, or its columns are not those of the template.
    """
    source = read_source(uri)
    try:
        return _adopted(source, known_task(task), endpoint, name)
    except (ModelError, EndpointError) as error:
        raise type(error)(f"{source.uri}: {error}") from error


def known_task(task: Task | str | Path | None) -> Task:
    """The task that is given, or that of this folder.

    Raises:
        SpecError: there is none.
    """
    if isinstance(task, Task):
        return task
    if task is not None:
        return Task.read(path_of(task, "a task", SpecError))
    for file in TASK_FILES:
        if Path(file).is_file():
            return Task.read(file)
    raise SpecError(
        f"the labels that may come back are not part of a prompt, and there is no {' or '.join(TASK_FILES)} here. Give "
        "the task: --task FILE; `luthier init --data TABLE --text COLUMN --label COLUMN` writes one."
    )


def _adopted(source: AdoptableSource, task: Task, endpoint: str | Path | None, name: str | None) -> AdoptedSpec:
    left_out: dict[str, str] = {}
    changed: list[str] = []
    decoding, body = _settings(source, left_out)
    overrides = None if endpoint is None else read_endpoint(endpoint)
    address = {} if overrides is not None else endpoint_of(source, changed)
    document: dict[str, Any] = {"name": _name(name or source.name), "task": task, "endpoint": address}
    if source.call == "embedding":
        document |= {"technique": "embedding"}
        left_out |= {one: "an embedding has no such setting" for one, value in decoding.items() if value is not None}
        if "dimensions" in source.settings:
            document["dimensions"] = source.settings["dimensions"]
        changed.append(
            "The model gives vectors; the spec fits a classifier on them, so it needs training rows (--train)."
        )
    else:
        style = "chat" if source.call == "chat" else "completion"
        document |= {"technique": "prompt", "prompt": {**_wording(source, task, changed), "style": style}}
        document["decoding"] = decoding
    if overrides is not None:
        document = override_endpoint(document, overrides, TECHNIQUES[document["technique"]])
        asked = document["endpoint"].get("model")
        if source.model is not None and asked != source.model:
            changed.append(f"The endpoint file names the model {asked}; MLflow asked {source.model}.")
    if body:
        document["endpoint"] = {
            **document["endpoint"],
            "extra_body": {**body, **document["endpoint"].get("extra_body", {})},
        }
    spec = TECHNIQUES[document.pop("technique")].make(document, f"the spec of {source.uri}")
    if isinstance(spec, Prompt):
        spec = _with_answer(spec, source, changed, left_out)
        if spec.decoding.max_tokens is None:
            changed.append(
                f"Answers are cut after {spec.max_tokens} tokens, which is enough for "
                f"{with_article(task.kind.value_name)}; raise "
                "decoding.max_tokens if the prompt asks for reasons before it."
            )
    sent = sorted(set(source.settings) - set(left_out))
    if source.syntax == "format" and sent and source.call != "embedding":
        # As measured with mlflow 3.17: only settings given to `predict` are sent.
        changed.append(f"The spec sends {', '.join(sent)}, which MLflow's pyfunc stores and does not send.")
    if source.has_key:
        changed.append(
            "The model's file holds a key, which was not read. Every reader of the model can copy it: replace it."
        )
    return AdoptedSpec(spec, source.uri, tuple(changed), left_out)


def _settings(source: AdoptableSource, left_out: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of a call as `decoding:` and `extra_body:`; those that are neither are named in `left_out`."""
    # MLflow sends no temperature unless it is told one, and a spec sends 0.
    decoding: dict[str, Any] = {"temperature": None}
    body: dict[str, Any] = {}
    for name, value in source.settings.items():
        if value is None or value in ([], {}, "") or (name in NO_EFFECT and value == NO_EFFECT[name]):
            continue
        if name in DECODING:
            decoding[DECODING[name]] = value
        elif name in BODY and source.call == "chat":
            body[name] = value
        elif name != "dimensions" or source.call != "embedding":
            left_out[name] = REASONS.get(name, "no setting of a spec has its meaning")
    return decoding, body


def _wording(source: AdoptableSource, task: Task, changed: list[str]) -> dict[str, str]:
    """The system turn and the template."""
    columns = _columns(source, task)
    *before, last = _one_question(source, changed)
    wording = {"template": rewritten(last.content, source.syntax, columns)}
    if before:
        wording["system"] = rewritten(before[0].content, source.syntax, columns)
    return wording


def _one_question(source: AdoptableSource, changed: list[str]) -> Sequence[Turn]:
    """The turns, if they are a user turn with a system turn before it, or none."""
    roles = [turn.role for turn in source.turns]
    if roles == ["developer", "user"]:
        changed.append("Its developer turn is sent as a system turn; OpenAI treats both alike.")
        roles[0] = "system"
    if roles not in (["user"], ["system", "user"]):
        told = ", ".join(roles) or "none"
        cure = (
            "write the text into a user turn"
            if "user" not in roles
            else (
                "leave the example turns out and set prompt.examples in the spec, which chooses some from training rows"
                if "assistant" in roles
                else "join those of one role"
            )
        )
        raise ModelError(f"its turns are {told}; a spec has a user turn and at most a system turn before it: {cure}.")
    kept = [turn for turn in source.turns if turn.content.strip() or turn.role == "user"]
    if len(kept) < len(source.turns):
        changed.append("Its system turn is empty and is left out.")
    return kept


def _columns(source: AdoptableSource, task: Task) -> dict[str, str]:
    """The column for each variable: the task's text for a single one, else columns of the same names.

    Raises:
        SpecError: none of several is the task's text, or one is the truth.
    """
    variables = sorted(source.variables)
    if not variables:
        raise ModelError("its text has no variable, so every row would be asked the same.")
    if len(variables) == 1:
        return {variables[0]: task.text}
    if task.text not in variables:
        raise SpecError(
            f"{source.uri}: its variables are {', '.join(variables)}, and the task reads the column {task.text!r}. "
            f"Name the one with the text in the task's file, as in text: {variables[0]}"
        )
    truths = sorted({task.label, *task.raters} & set(variables))
    if truths:
        raise SpecError(
            f"{source.uri}: its variable {truths[0]} is the task's label, so the prompt would show the truth."
        )
    return {name: name for name in variables}


def _with_answer(spec: Prompt, source: AdoptableSource, changed: list[str], left_out: dict[str, str]) -> Prompt:
    """The spec with `answer: json`, where the model asks for JSON that the task's own schema allows."""
    form = source.response_format
    if not form or form.get("type") == "text":
        return spec
    inner = form.get("json_schema")
    schema = inner.get("schema") if isinstance(inner, Mapping) else form
    key = spec.task.kind.value_name
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if form.get("type") != "json_object" and not _allows(properties, key, spec.words):
        keys = ", ".join(properties) if isinstance(properties, Mapping) else "unknown"
        left_out["response_format"] = (
            f"its keys are {keys} and a spec reads the one key {key} with a value of the task; "
            "`answer: json` asks for that"
        )
        return spec
    if spec.style != "chat":
        return spec
    changed.append(f"Answers are JSON with the one key {key}, by a schema that allows the task's values only.")
    return spec.with_settings({"answer.method": "json"})


def _allows(properties: Any, key: str, words: Sequence[str]) -> bool:
    if not isinstance(properties, Mapping) or list(properties) != [key]:
        return False
    allowed = properties[key].get("enum") if isinstance(properties[key], Mapping) else None
    return allowed is None or {str(one) for one in allowed} == set(words)


def _name(given: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", given).lstrip("._-")[:LONGEST_NAME] or "adopted"


def write_adopted(adopted: AdoptedSpec, to: str | Path, task: Task | str | Path | None = None) -> AdoptedSpec:
    """Writes the spec as YAML with its notes on top; a file that holds the same spec stays.

    Args:
        adopted: what was made.
        to: the file.
        task: the task as `adopt_spec` was given it; the spec refers to its file where it has one.

    Raises:
        UserError: there is another file or a link, or no folder for it.
    """
    path = path_of(to, "a spec", SpecError)
    if not path.parent.is_dir():
        raise UserError(f"no folder {path.parent} for {path.name}; make it, or give another --to.")
    check_file(path)
    text = spec_text(adopted, path, task)
    if path.exists() and path.read_text(encoding="utf-8", errors="replace") != text:
        raise UserError(f"{path} is there already and holds something else; give another --to.")
    try:
        return replace(adopted, file=write_file(path, text))
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}. Give another --to.") from error


def spec_text(adopted: AdoptedSpec, path: Path | None = None, task: Task | str | Path | None = None) -> str:
    """The spec as a commented YAML file."""
    document = adopted.spec.document()
    document.pop("schema")
    file = _task_file(task)
    if file is not None:
        folder = Path.cwd() if path is None else path.parent
        document["task"] = Path(os.path.relpath(file, folder)).as_posix()
    notes = [f"Made from {adopted.source}.", *adopted.notes]
    head = "".join(f"# {' '.join(note.split())}\n" for note in notes)
    return head + yaml_text(document)


def _task_file(task: Task | str | Path | None) -> Path | None:
    if isinstance(task, Task):
        return None
    return Path(task) if task is not None else next((Path(one) for one in TASK_FILES if Path(one).is_file()), None)


def register_adopted(adopted: AdoptedSpec, register: str) -> AdoptedSpec:
    """Packages the spec as a version of a registered model that says where it came from; the same one only once.

    Raises:
        SpecError: the spec needs training rows first.
        ModelError: the name is not allowed, or MLflow refused.
    """
    import mlflow

    check_names(register, None)
    if adopted.spec.needs_training:
        raise SpecError(
            f"spec {adopted.spec.name!r} needs training rows before it is a model: write it with --to FILE, then "
            f"luthier log FILE --train TABLE --register {register}"
        )
    # A prompt that needs no training fits without asking.
    fitted = _ended(adopted.spec)
    client = mlflow.MlflowClient()
    if mlflow.genai.load_prompt(f"prompts:/{register}@latest", allow_missing=True) is not None:
        raise ModelError(f"{register} is a prompt, and MLflow has one name for both; give another --register.")
    for version in client.search_model_versions(f"name = '{register}'"):
        tags = version.tags
        if tags.get(ADOPTED) == adopted.source and tags.get(TAGS["fitted_digest"]) == fitted.digest:
            uri = f"models:/{register}/{version.version}"
            there = Logged(uri, version.model_id or "", version.run_id or "", register, str(version.version))
            return replace(adopted, logged=there)
    logged = log_fitted_model(fitted, register=register)
    assert logged.version is not None
    client.set_model_version_tag(register, logged.version, ADOPTED, adopted.source)
    client.set_tag(logged.run_id, ADOPTED, adopted.source)
    client.set_logged_model_tags(logged.model_id, {ADOPTED: adopted.source})
    return replace(adopted, logged=logged)


ADOPTED = TAGS["adopted_from"]


def _ended(spec: Spec) -> Any:
    try:
        next(spec.fit(None))
    except StopIteration as end:
        return end.value
    raise AssertionError(f"{spec.name} asks before it answers")
