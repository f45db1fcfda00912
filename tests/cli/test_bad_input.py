"""What people get wrong: one clear message, exit 2, nothing sent and nothing written."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from luthier_local import Fault, LocalServer, ModelCard
from tests.cli.conftest import Run

pytestmark = pytest.mark.usefixtures("store")

TASK = "name: stars\ntype: rating\nlabel: stars\nlabels: [1, 2, 3, 4, 5]\n"


@pytest.fixture
def files(tmp_path: Path, server: LocalServer, table: pd.DataFrame, train: pd.DataFrame) -> Path:
    """task.yaml, zero.yaml, test.csv and train.csv in the working folder."""
    (tmp_path / "task.yaml").write_text(TASK)
    (tmp_path / "zero.yaml").write_text(spec(server))
    table.to_csv(tmp_path / "test.csv", index=False)
    train.to_csv(tmp_path / "train.csv", index=False)
    return tmp_path


def spec(server: LocalServer, template: str = "Stars for: {{ text }}", method: str = "score", **other: object) -> str:
    more = "".join(f"{key}: {value}\n" for key, value in other.items())
    return (
        f'technique: prompt\nprompt: {{template: "{template}"}}\nanswer: {{method: {method}}}\n'
        f"endpoint: {{provider: compatible, base_url: '{server.base_url}', model: stars-model, api_key_env: STARS_KEY, "
        f"price: {{input_usd_per_million: 1, output_usd_per_million: 2}}}}\n{more}"
    )


def expect(run: Run, files: Path, *words: object, says: list[str], code: int = 2) -> None:
    before = {path.name for path in files.iterdir()}
    ended = run(*words)
    assert ended.code == code, ended.err
    for part in says:
        assert part in ended.err, ended.err
    assert "Traceback" not in ended.err + ended.out
    after = {path.name for path in files.iterdir()}
    assert after - before <= {"home", "mlflow.db-journal"}, after - before
    import mlflow

    experiment = mlflow.get_experiment_by_name("stars")
    assert experiment is None or mlflow.search_runs([experiment.experiment_id]).empty


def test_a_missing_table(run: Run, files: Path) -> None:
    expect(run, files, "compare", "zero.yaml", "--test", "tset.csv", says=["tset.csv", "test.csv"])


def test_a_missing_text_column(run: Run, files: Path) -> None:
    (files / "t.csv").write_text("review,stars\ngood,5\n")
    expect(run, files, "compare", "zero.yaml", "--test", "t.csv", says=["'text'", "review"])


def test_a_missing_label_column(run: Run, files: Path) -> None:
    (files / "t.csv").write_text("text,rating\ngood,5\n")
    expect(run, files, "compare", "zero.yaml", "--test", "t.csv", says=["'stars'", "rating"])


def test_a_label_outside_the_task(run: Run, files: Path) -> None:
    (files / "t.csv").write_text("text,stars\ngood,5\nbad,0\n")
    expect(run, files, "compare", "zero.yaml", "--test", "t.csv", says=["row 2: '0'", "1, 2, 3, 4, 5"])


def test_an_unknown_spec_key(run: Run, files: Path, server: LocalServer) -> None:
    (files / "zero.yaml").write_text(spec(server, promt="x"))
    expect(run, files, "compare", "zero.yaml", "--test", "test.csv", says=["promt", "unknown key", "prompt"])


def test_a_template_that_names_an_unknown_column(run: Run, files: Path, server: LocalServer) -> None:
    (files / "zero.yaml").write_text(spec(server, "{{ text }} in {{ city }}"))
    expect(run, files, "compare", "zero.yaml", "--test", "test.csv", says=["'city'", "id, text, stars"])


def test_a_missing_key_variable(run: Run, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STARS_KEY")
    expect(run, files, "compare", "zero.yaml", "--test", "test.csv", says=["STARS_KEY", "export"])


def test_a_wrong_key(run: Run, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARS_KEY", "sk-wrong-key-here")
    expect(run, files, "compare", "zero.yaml", "--test", "test.csv", says=["STARS_KEY"])


def test_nothing_at_all_is_written_where_there_was_no_store(run: Run, files: Path, server: LocalServer) -> None:
    import mlflow

    (files / "mlflow.db").unlink()
    mlflow.set_tracking_uri(None)
    (files / "zero.yaml").write_text(spec(server).replace("model: stars-model", "model: sters-model"))
    assert run("compare", "zero.yaml", "--test", "test.csv").code == 2
    assert {path.name for path in files.iterdir()} <= {"home", "task.yaml", "zero.yaml", "test.csv", "train.csv"}


@pytest.mark.slow
def test_an_unreachable_endpoint(run: Run, files: Path, server: LocalServer) -> None:
    (files / "zero.yaml").write_text(spec(server).replace(f":{server.port}/", ":9/"))
    expect(run, files, "compare", "zero.yaml", "--test", "test.csv", says=["127.0.0.1:9"])


def test_an_unknown_model_shows_the_ones_there_are(run: Run, files: Path, server: LocalServer) -> None:
    (files / "zero.yaml").write_text(spec(server).replace("model: stars-model", "model: sters-model"))
    expect(run, files, "compare", "zero.yaml", "--test", "test.csv", says=["sters-model", "stars-model"])


def test_log_probabilities_not_offered(run: Run, files: Path, server: LocalServer) -> None:
    server.put_model(ModelCard("stars-model", logprobs=False))
    expect(run, files, "compare", "zero.yaml", "--test", "test.csv", says=["log-probabilities", "text"])


def test_quota_exhausted(run: Run, files: Path, server: LocalServer) -> None:
    server.faults.add(Fault("quota"))
    expect(run, files, "compare", "zero.yaml", "--test", "test.csv", says=["quota"])


@pytest.mark.slow
def test_an_answer_cut_by_max_tokens_says_what_to_set(run: Run, files: Path, server: LocalServer) -> None:
    (files / "zero.yaml").write_text(spec(server, method="json", decoding="{max_tokens: 1}"))
    ended = run("compare", "zero.yaml", "--test", "test.csv", "--json")
    assert ended.code == 0, ended.err
    import luthier as lt

    board = lt.compare(lt.read_spec("zero.yaml"), lt.read_table("test.csv"))
    answers = board.answers("zero")
    assert (answers["state"] == "off_label").all()
    assert answers["error"].str.contains("max_tokens").all()


@pytest.mark.slow
def test_a_text_too_long_for_the_model_is_a_row_not_a_stop(run: Run, files: Path, server: LocalServer) -> None:
    pd.DataFrame({"text": ["good " * 1_000_000, "good"], "stars": [5, 5]}).to_csv(files / "t.csv", index=False)
    ended = run("compare", "zero.yaml", "--test", "t.csv", "--yes")
    assert ended.code == 0, ended.err
    import luthier as lt

    states = lt.compare(lt.read_spec("zero.yaml"), lt.read_table("t.csv")).answers("zero")
    assert states["state"].tolist() == ["failed", "ok"]
    assert "long" in states["error"][0] or "context" in states["error"][0]


def test_an_empty_table(run: Run, files: Path) -> None:
    (files / "t.csv").write_text("text,stars\n")
    expect(run, files, "compare", "zero.yaml", "--test", "t.csv", says=["no rows"])


def test_broken_quoting(run: Run, files: Path) -> None:
    (files / "t.csv").write_text('text,stars\n"good" food,5\n')
    expect(run, files, "compare", "zero.yaml", "--test", "t.csv", says=["line 2", "quotes"])


def test_a_budget_without_a_price_says_where_to_put_it(run: Run, files: Path, server: LocalServer) -> None:
    text = spec(server)
    (files / "zero.yaml").write_text(text[: text.index(", price")] + "}\n")
    expect(run, files, "compare", "zero.yaml", "--test", "test.csv", "--budget", "1", says=["price"])


def test_an_unknown_price_is_asked_about(run: Run, files: Path, server: LocalServer) -> None:
    text = spec(server)
    (files / "zero.yaml").write_text(text[: text.index(", price")] + "}\n")
    expect(run, files, "compare", "zero.yaml", "--test", "test.csv", says=["--yes"])


def test_training_rows_that_are_needed(run: Run, files: Path) -> None:
    (files / "base.yaml").write_text("technique: baseline\n")
    expect(run, files, "compare", "base.yaml", "--test", "test.csv", says=["'base'", "--train"])


def test_a_folder_where_one_spec_is_wanted_names_what_is_in_it(run: Run, files: Path) -> None:
    expect(run, files, "fit", ".", "--train", "train.csv", says=["a folder", "one spec is wanted", ": zero.yaml."])


def test_no_spec_at_all(run: Run, files: Path) -> None:
    (files / "empty").mkdir()
    expect(run, files, "compare", "empty", "--test", "test.csv", says=["no spec in empty"])


def test_an_unwritable_output(run: Run, files: Path) -> None:
    assert run("log", "zero.yaml", "--register", "stars").code == 0
    ended = run("score", "models:/stars/1", "test.csv", "task.yaml/out.csv")
    assert ended.code == 2
    assert "cannot be written" in ended.err


def test_a_model_uri_with_nothing_behind_it(run: Run, files: Path) -> None:
    ended = run("score", "models:/nothing@champion", "test.csv", "out.csv")
    assert ended.code == 2
    assert "no model at models:/nothing@champion" in ended.err
    assert not (files / "out.csv").exists()


def test_an_option_that_does_not_exist(run: Run, files: Path) -> None:
    ended = run("compare", "zero.yaml", "--tset", "test.csv")
    assert ended.code == 2
    assert "Traceback" not in ended.err


def test_a_key_in_place_of_its_variable_is_not_repeated(run: Run, files: Path, server: LocalServer) -> None:
    (files / "zero.yaml").write_text(spec(server).replace("STARS_KEY", "sk-live-abcdef"))
    ended = run("compare", "zero.yaml", "--test", "test.csv")
    assert ended.code == 2
    assert "NAME of an environment variable" in ended.err
    assert "sk-live-abcdef" not in ended.err


def test_labels_in_another_case_are_told_apart_from_wrong_ones(run: Run, files: Path) -> None:
    (files / "task.yaml").write_text("name: mood\nlabel: mood\nlabels: [bad, good]\n")
    (files / "mood.csv").write_text("text,mood\nfine soup,Good\ncold soup,BAD\n")
    expect(
        run, files, "compare", "zero.yaml", "--test", "mood.csv", says=["row 1: 'Good'", "upper and lower case only"]
    )
    (files / "mood.csv").write_text("text,mood\nfine soup,Good\ncold soup,awful\n")
    expect(run, files, "compare", "zero.yaml", "--test", "mood.csv", says=["row 2: 'awful'", "add the label"])


def test_a_spec_and_its_task_are_looked_for_where_the_message_says(run: Run, files: Path) -> None:
    compare = ("compare", "--test", "test.csv")
    expect(run, files, *compare, "task.yaml", says=["task.yaml is a task, not a spec", "as in ."])
    (files / "alone").mkdir()
    (files / "alone" / "zero.yaml").write_text("task: task.yaml\n" + (files / "zero.yaml").read_text())
    expect(
        run, files, *compare, "alone/zero.yaml", says=["`task: task.yaml`", "no file alone/task.yaml", "the path from"]
    )


def test_a_tab_in_yaml_is_named_with_its_line(run: Run, files: Path) -> None:
    (files / "zero.yaml").write_text("technique: prompt\nprompt:\n\ttemplate: x\n")
    expect(run, files, "compare", "zero.yaml", "--test", "test.csv", says=["line 3 has a tab at column 1", "spaces"])
