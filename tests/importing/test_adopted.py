"""Models of MLflow's own openai flavor, and registered prompts, as specs that send the same."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

import luthier as lt
from luthier.cli.main import app
from luthier.importing.adopted import adopt_spec, register_adopted, write_adopted
from luthier.spec import Fitted
from luthier.techniques.prompt.template import compiled
from tests.conftest import KEY

TASK = lt.Task("mood", labels=["good", "bad"], text="review", label="mood")

ROWS = pd.DataFrame(
    {
        "review": ["plain", "{{ labels }} {% for %} {x} \\u00e4 {# no #}", "two\nlines\n", "ä🙂 \u2028 end"],
        "shop": ["a", "{{ review }}", "b\r\nc", "d"],
    }
)


class Recorder(ThreadingHTTPServer):
    """A service that writes down what is asked of it and answers "good"."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", 0), RecordingHandler)


class RecordingHandler(BaseHTTPRequestHandler):
    """Answers chat and completions."""

    server: Recorder

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(body)
        texts = body["prompt"] if isinstance(body.get("prompt"), list) else [""]
        message = {"message": {"role": "assistant", "content": "good"}, "text": "good", "finish_reason": "stop"}
        choices = [{"index": place, **message} for place in range(len(texts))]
        content = json.dumps({"id": "x", "object": "any", "created": 1, "model": "m", "choices": choices}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002 - the base class calls it so


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """The service that MLflow's flavor finds in the environment."""
    with Recorder() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def at_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of OpenAI's, and nothing that says where else."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def saved(path: Path, messages: Sequence[Any] | None = None, task: str = "chat.completions", **settings: Any) -> Path:
    """A model as MLflow itself saves one."""
    given = {"model": "gpt-4.1-mini", **settings} | ({} if messages is None else {"messages": list(messages)})
    with pytest.warns(FutureWarning, match="register_prompt"):
        mlflow.openai.save_model(task=task, path=str(path), pip_requirements=["openai"], **given)
    return path


def sent_by_mlflow(model: Path, rows: pd.DataFrame, recorder: Recorder) -> list[dict[str, Any]]:
    """What the flavor's own pyfunc sends, by the real mlflow and openai packages; its threads keep no order."""
    loaded = mlflow.pyfunc.load_model(str(model))
    for _, row in rows.iterrows():
        loaded.predict(pd.DataFrame([row]))
    return recorder.asked.copy()


def sent_by_spec(spec: lt.Spec, rows: pd.DataFrame) -> list[dict[str, Any]]:
    requests = next(spec.predict(spec.task.rows(rows), Fitted(spec=spec)))
    return [dict(request.body) for request in requests]


CONVERSATIONS: dict[str, list[dict[str, str]]] = {
    "one variable": [{"role": "user", "content": "Mood of: {text}"}],
    "none": [{"role": "system", "content": "Answer good or bad."}],
    "two columns": [{"role": "system", "content": "Shop {shop}."}, {"role": "user", "content": "{review} at {shop}\n"}],
    "braces": [{"role": "user", "content": 'As {{"mood": {{{{}}}}}} and {{% raw %}} {{# x #}} {{{review}}} {{'}],
    "line breaks": [
        {"role": "user", "content": "\r\n{review}\r\n\n"},
    ],
    "variable at both ends": [{"role": "user", "content": "{review}{review}"}],
}


@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_a_spec_sends_the_messages_of_mlflows_own_model(
    messages: list[dict[str, str]], tmp_path: Path, recorder: Recorder
) -> None:
    model = saved(tmp_path / "model", messages)

    spec = lt.adopt(model, task=TASK)

    sent = [body["messages"] for body in sent_by_mlflow(model, ROWS, recorder)]
    assert [body["messages"] for body in sent_by_spec(spec, ROWS)] == sent
    assert len(sent) == len(ROWS)


def test_a_completion_is_sent_as_mlflow_sends_it(tmp_path: Path, recorder: Recorder) -> None:
    model = saved(tmp_path / "model", task="completions", prompt="{text}\nMood:", model="davinci-002")

    spec = lt.adopt(model, task=TASK)

    sent = [body["prompt"] for body in sent_by_mlflow(model, ROWS, recorder)]
    assert [[body["prompt"]] for body in sent_by_spec(spec, ROWS)] == sent


PROMPTS: dict[str, Any] = {
    "text": "Mood of {{review}} at {{ shop }}: {# literal #} {{ labels | join }} {a}",
    "chat": [
        {"role": "system", "content": "Shop {{ shop }} {"},
        {"role": "user", "content": "{{{ review }}}\r\n"},
    ],
    "jinja": "{% if shop %}At {{ shop }}: {% endif %}{{ review | upper }}\n\n",
}


@pytest.mark.parametrize("template", PROMPTS.values(), ids=PROMPTS)
def test_a_registered_prompt_is_filled_as_mlflow_fills_it(template: Any, store: str, at_openai: None) -> None:
    registered = mlflow.genai.register_prompt("mood", template, model_config={"model_name": "gpt-4.1-mini"})

    spec = lt.adopt("prompts:/mood/1", task=TASK)

    # MLflow fills one variable after the other, also within what it has filled in; a spec does not.
    rows = ROWS.drop(index=1)
    records: list[dict[str, Any]] = [{str(name): cell for name, cell in row.items()} for _, row in rows.iterrows()]
    filled = [registered.format(**record) for record in records]
    wanted = [[{"role": "user", "content": one}] if isinstance(one, str) else one for one in filled]
    assert [body["messages"] for body in sent_by_spec(spec, rows)] == wanted


def test_a_single_variable_is_the_text_of_the_task_whatever_it_is_called(store: str, at_openai: None) -> None:
    for number, template in enumerate(("{{ labels }}", "{% if labels %}{{ labels }}{% endif %}"), start=1):
        mlflow.genai.register_prompt("mood", template, model_config={"model_name": "gpt-4.1-mini"})
        spec = lt.adopt(f"prompts:/mood/{number}", task=TASK)
        assert [body["messages"][0]["content"] for body in sent_by_spec(spec, ROWS)] == list(ROWS["review"])


def test_settings_are_carried_over_and_those_that_no_spec_has_are_named(tmp_path: Path, at_openai: None) -> None:
    settings: dict[str, Any] = {
        "temperature": 0.3,
        "max_tokens": 9,
        "top_p": 0.5,
        "frequency_penalty": 0.2,
        "n": 1,
        "user": "me",
    }
    tools = [{"type": "function", "function": {"name": "look"}}]
    adopted = adopt_spec(saved(tmp_path / "model", **settings, tools=tools), task=TASK)

    assert isinstance(adopted.spec, lt.Prompt)
    (sent,) = sent_by_spec(adopted.spec, ROWS.head(1))
    assert {name: sent[name] for name in ("temperature", "max_tokens", "top_p")} == {
        "temperature": 0.3,
        "max_tokens": 9,
        "top_p": 0.5,
    }
    assert adopted.spec.endpoint == lt.openai("gpt-4.1-mini", extra_body={"frequency_penalty": 0.2})
    assert set(adopted.left_out) == {"tools", "user"}


def test_what_is_not_stated_is_not_sent(tmp_path: Path, at_openai: None) -> None:
    (sent,) = sent_by_spec(lt.adopt(saved(tmp_path / "model"), task=TASK), ROWS.head(1))
    assert set(sent) == {"messages", "max_tokens"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{review:>10}", "{review:>10}"),
        ("{review!r}", "{review!r}"),
        ("{review.__class__}", "{review.__class__}"),
        ("{0}", "{0}"),
    ],
)
def test_placeholders_that_are_more_than_a_name_are_refused(
    content: str, said: str, tmp_path: Path, at_openai: None
) -> None:
    model = saved(tmp_path / "model", [{"role": "user", "content": content}])
    with pytest.raises(lt.ModelError) as fault:
        lt.adopt(model, task=TASK)
    assert said in str(fault.value)


def test_text_that_looks_like_code_stays_text(tmp_path: Path, at_openai: None) -> None:
    evil = "{{{{ ''.__class__.__mro__ }}}}{{% set review = 1 %}} {review}"
    spec = lt.adopt(saved(tmp_path / "model", [{"role": "user", "content": evil}]), task=TASK)
    assert isinstance(spec, lt.Prompt)
    filled = compiled(spec.prompt.template).fill({"review": "x"}, (), ())
    assert filled == "{{ ''.__class__.__mro__ }}{% set review = 1 %} x"


def test_a_model_of_another_flavor_is_named_and_not_loaded(tmp_path: Path) -> None:
    class Mine(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: Any, model_input: list[str], params: Any = None) -> list[str]:
            return model_input

    mlflow.pyfunc.save_model(str(tmp_path / "model"), python_model=Mine(), pip_requirements=[])
    with pytest.raises(lt.ModelError, match="flavor python_function"):
        lt.adopt(tmp_path / "model", task=TASK)


@pytest.mark.parametrize("data", ["../secret.yaml", "/etc/hosts.yaml", "model.pkl", None])
def test_settings_are_read_from_a_yaml_file_of_the_model_only(data: str | None, tmp_path: Path) -> None:
    model = saved(tmp_path / "model")
    (tmp_path / "secret.yaml").write_text("model: stolen\ntask: chat.completions\n")
    document = yaml.safe_load((model / "MLmodel").read_text())
    document["flavors"]["openai"]["data"] = data
    (model / "MLmodel").write_text(yaml.safe_dump(document))
    with pytest.raises(lt.ModelError, match="not read"):
        lt.adopt(model, task=TASK)


def test_the_key_is_not_sent_where_only_a_stored_model_says_so(tmp_path: Path, at_openai: None) -> None:
    model = saved(tmp_path / "model", api_base="https://elsewhere.example/v1")
    with pytest.raises(lt.EndpointError, match=r"elsewhere\.example.*--endpoint"):
        lt.adopt(model, task=TASK)


def test_a_key_within_a_model_is_neither_carried_over_nor_shown(tmp_path: Path, at_openai: None) -> None:
    adopted = adopt_spec(saved(tmp_path / "model", api_key="sk-planted-in-model"), task=TASK)
    assert "sk-planted-in-model" not in json.dumps(adopted.document())
    assert any("replace it" in note for note in adopted.notes)


def test_azure_is_asked_as_the_environment_of_mlflow_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_TYPE", "azure")
    monkeypatch.setenv("OPENAI_API_BASE", "https://shop.openai.azure.com")
    monkeypatch.setenv("OPENAI_DEPLOYMENT_NAME", "mood")
    endpoint = lt.adopt(saved(tmp_path / "model"), task=TASK).endpoint
    assert endpoint == lt.azure(
        "mood", "https://shop.openai.azure.com", api_key_env="OPENAI_API_KEY", priced_as="gpt-4.1-mini"
    )
    monkeypatch.setenv("OPENAI_API_TYPE", "azure_ad")
    assert lt.adopt(tmp_path / "model", task=TASK).endpoint == lt.azure(
        "mood", "https://shop.openai.azure.com", auth="entra", priced_as="gpt-4.1-mini"
    )


def test_a_model_that_does_not_tell_where_it_is_asked_needs_an_endpoint_file(tmp_path: Path, at_openai: None) -> None:
    model = saved(tmp_path / "model", model="llama-3-8b")
    with pytest.raises(lt.EndpointError, match="--endpoint"):
        lt.adopt(model, task=TASK)
    file = tmp_path / "mine.yaml"
    file.write_text("provider: compatible\nmodel: llama\nbase_url: http://127.0.0.1:1/v1\n")
    adopted = adopt_spec(model, task=TASK, endpoint=file)
    assert adopted.spec.endpoint == lt.compatible("llama", "http://127.0.0.1:1/v1")
    assert any("llama-3-8b" in note for note in adopted.changed)


def test_several_variables_are_columns_and_one_of_them_is_the_text(tmp_path: Path, at_openai: None) -> None:
    model = saved(tmp_path / "model", [{"role": "user", "content": "{title}: {body}"}])
    with pytest.raises(lt.SpecError, match="body, title.*'review'"):
        lt.adopt(model, task=TASK)
    other = lt.Task("mood", labels=["good", "bad"], text="body", label="mood")
    assert lt.adopt(model, task=other).columns == ("body", "title")
    with pytest.raises(lt.SpecError, match="truth"):
        lt.adopt(model, task=lt.Task("mood", labels=["good", "bad"], text="body", label="title"))


def test_example_turns_are_refused_with_what_to_do(tmp_path: Path, at_openai: None) -> None:
    turns = ["user", "assistant", "user"]
    model = saved(tmp_path / "model", [{"role": role, "content": "{review}"} for role in turns])
    with pytest.raises(lt.ModelError, match=r"user, assistant, user.*prompt\.examples"):
        lt.adopt(model, task=TASK)


def test_without_a_task_the_message_says_how_to_get_one(tmp_path: Path, at_openai: None) -> None:
    model = saved(tmp_path / "model")
    with pytest.raises(lt.SpecError, match="--task FILE.*luthier init"):
        lt.adopt(model)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "task.yaml").write_text(yaml.safe_dump(TASK.document()))
    assert lt.adopt(model).task == TASK


def test_a_schema_of_the_tasks_own_values_becomes_answer_json(store: str, at_openai: None) -> None:
    def schema(key: str) -> dict[str, Any]:
        return {"type": "object", "properties": {key: {"enum": ["good", "bad"]}}}

    for key in ("label", "feeling"):
        settings = {"model_name": "gpt-4.1-mini"}
        mlflow.genai.register_prompt("mood", "{{ review }}", response_format=schema(key), model_config=settings)
    kept, other = (adopt_spec(f"prompts:/mood/{number}", task=TASK) for number in (1, 2))
    assert isinstance(kept.spec, lt.Prompt)
    assert kept.spec.answer.method == "json"
    assert "feeling" in other.left_out["response_format"]


def test_embeddings_become_a_spec_that_is_fitted_first(tmp_path: Path, at_openai: None) -> None:
    model = saved(tmp_path / "model", task="embeddings", model="text-embedding-3-small")
    adopted = adopt_spec(model, task=TASK)
    assert isinstance(adopted.spec, lt.Embedding)
    assert adopted.spec.base_model == "text-embedding-3-small"
    with pytest.raises(lt.SpecError, match="luthier log FILE --train"):
        register_adopted(adopted, "mood")


def test_the_file_is_read_back_as_the_spec_and_never_replaces_another(tmp_path: Path, at_openai: None) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "task.yaml").write_text(yaml.safe_dump(TASK.document()))
    model = saved(tmp_path / "model", [{"role": "user", "content": "{{% {x}\r\n"}], user="me")
    for _ in range(2):
        spec = lt.adopt(model, to="models/old.yaml")
    assert lt.read_spec("models/old.yaml") == spec
    assert "task: task.yaml\n" in (models / "old.yaml").read_text()
    assert "# Not carried over: user;" in (models / "old.yaml").read_text()
    (models / "old.yaml").write_text("name: mine\n")
    with pytest.raises(lt.UserError, match="another --to"):
        lt.adopt(model, to="models/old.yaml")


def test_a_registered_version_says_where_it_came_from_and_is_made_once(store: str, at_openai: None) -> None:
    mlflow.genai.register_prompt("old", "Mood of {{ text }}", model_config={"model_name": "gpt-4.1-mini"})
    mlflow.genai.set_prompt_alias("old", "live", 1)
    first, second = (register_adopted(adopt_spec("prompts:/old@live", task=TASK), "mood") for _ in range(2))
    assert first.logged is not None
    assert second.logged is not None
    assert (first.logged.version, second.logged.version) == ("1", "1")
    version = mlflow.MlflowClient().get_model_version("mood", "1")
    assert version.tags["luthier.adopted_from"] == "prompts:/old/1"
    assert lt.load("models:/mood/1").spec == first.spec


def test_a_registered_model_of_mlflows_is_found_by_alias(store: str, tmp_path: Path, at_openai: None) -> None:
    with mlflow.start_run(experiment_id="0"), pytest.warns(FutureWarning, match="register_prompt"):
        mlflow.openai.log_model(
            "gpt-4.1-mini", "chat.completions", name="m", registered_model_name="old", pip_requirements=["openai"]
        )
    mlflow.MlflowClient().set_registered_model_alias("old", "live", "1")
    adopted = adopt_spec("models:/old@live", task=TASK)
    assert (adopted.source, adopted.spec.name) == ("models:/old/1", "old")
    written = write_adopted(adopted, tmp_path / "old.yaml")
    assert written.file is not None
    assert lt.read_spec(written.file) == adopted.spec


def test_a_version_does_not_take_the_name_of_a_prompt(store: str, at_openai: None) -> None:
    mlflow.genai.register_prompt("old", "Mood of {{ text }}", model_config={"model_name": "gpt-4.1-mini"})
    with pytest.raises(lt.ModelError, match="old is a prompt"):
        register_adopted(adopt_spec("prompts:/old/1", task=TASK), "old")


def test_the_command_prints_a_spec_that_can_be_read_or_writes_it(store: str, tmp_path: Path, at_openai: None) -> None:
    (tmp_path / "task.yaml").write_text(yaml.safe_dump(TASK.document()))
    saved(tmp_path / "old", [{"role": "user", "content": "Mood:\n{text}"}])

    printed = CliRunner().invoke(app, ["import", "mlflow", "old"])
    Path("mine.yaml").write_text(printed.stdout)
    written = CliRunner().invoke(app, ["import", "mlflow", "old", "--to", "old.yaml", "--register", "mood"])

    assert (printed.exit_code, written.exit_code) == (0, 0)
    assert "  template: |-\n    Mood:\n    {{ review }}\n" in printed.stdout
    assert lt.read_spec("mine.yaml").digest == lt.read_spec("old.yaml").digest
    assert "luthier compare old.yaml --test TABLE" in written.stdout
    assert "models:/mood/1" in written.stdout
