"""compare with grids and several tables, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

import luthier as lt
from luthier_local import LocalServer
from tests.cli.conftest import Run
from tests.conftest import reviews
from tests.scripted_server import serving

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def folder(server: LocalServer, tmp_path: Path, train: pd.DataFrame) -> Path:
    (tmp_path / "models").mkdir()
    task = {"name": "stars", "type": "rating", "text": "text", "label": "stars", "labels": [1, 2, 3, 4, 5]}
    (tmp_path / "models" / "task.yaml").write_text(yaml.safe_dump(task))
    spec: dict[str, Any] = {
        "technique": "prompt",
        "prompt": {"template": "Stars for: {{ text }}"},
        "answer": "score",
        "endpoint": {
            "provider": "compatible",
            "base_url": server.base_url,
            "model": "stars-model",
            "api_key_env": "STARS_KEY",
            "price": {"input_usd_per_million": 1, "output_usd_per_million": 2},
        },
    }
    grids: dict[str, dict[str, list[int]]] = {
        "few": {"prompt.examples.count": [1, 2]},
        "wide": {"seed": list(range(150))},
        "huge": {"seed": list(range(10_000))},
    }
    for name, grid in grids.items():
        (tmp_path / "models" / f"{name}.yaml").write_text(yaml.safe_dump({**spec, "grid": grid}))
    train.to_csv(tmp_path / "train.csv", index=False)
    for place, seed in (("x", 1), ("y", 2)):
        (tmp_path / place).mkdir()
        reviews(10, seed=seed).to_csv(tmp_path / place / "t.csv", index=False)
    return tmp_path


@pytest.mark.slow
def test_two_tables_of_one_name_are_shown_apart_and_as_json(run: Run, folder: Path) -> None:
    words = ("compare", "models/few.yaml", "--test", "x/t.csv", "--test", "y/t.csv", "--train", "train.csv")
    shown = run(*words)
    assert shown.code == 0
    for line in ("Table x/t", "Table y/t", "Across 2 tables"):
        assert line in shown.out
    document = json.loads(run(*words, "--json").out)
    assert list(document["tables"]) == ["x/t", "y/t"]
    assert len(document["across"]["entries"]) == 2


def test_a_plan_in_python_is_what_a_dry_run_prints(run: Run, folder: Path, server: LocalServer) -> None:
    words = ("compare", "models/few.yaml", "--test", "x/t.csv", "--train", "train.csv", "--budget", "2", "--dry-run")
    printed = run(*words)
    assert printed.code == 0, printed.err
    plan = lt.plan(lt.read_specs(["models/few.yaml"]), "x/t.csv", train="train.csv", budget_usd=2)
    assert printed.err == f"{plan}\ndry run: nothing was sent.\n"
    assert repr(plan) == str(plan)
    assert "10 calls" in plan._repr_html_()
    assert plan.frame["calls_high"].tolist() == [10, 10]
    assert json.loads(run(*words, "--json").out) == json.loads(json.dumps(plan.to_document()))
    both = lt.plan(lt.read_specs(["models/few.yaml"]), {"x": "x/t.csv", "y": "y/t.csv"}, train="train.csv")
    assert both.requests == 40
    assert server.received.total == 0


def test_the_same_file_twice_is_refused(run: Run, folder: Path) -> None:
    ended = run("compare", "models/few.yaml", "--test", "x/t.csv", "--test", "./x/t.csv", "--train", "train.csv")
    assert ended.code == 2
    assert "given twice" in ended.err


def test_more_than_a_hundred_specs_are_asked_about_before_anything_is_sent(
    run: Run, folder: Path, server: LocalServer
) -> None:
    ended = run("compare", "models/wide.yaml", "--test", "x/t.csv")
    assert ended.code == 2
    assert "150 specs x 10 rows = 1,500 answers" in ended.err
    assert "--yes" in ended.err
    assert server.received.total == 0


def test_ten_thousand_specs_are_refused_even_with_yes(run: Run, folder: Path, server: LocalServer) -> None:
    ended = run("compare", "models/huge.yaml", "--test", "x/t.csv", "--yes")
    assert ended.code == 2
    assert "10,000 specs; a leaderboard holds 500" in ended.err
    assert server.received.total == 0


@pytest.mark.slow
def test_one_spec_of_a_grid_is_logged_by_its_name(run: Run, folder: Path) -> None:
    ended = run("log", "models/few.yaml", "--train", "train.csv")
    assert ended.code == 2
    assert "models/few.yaml#few.count-1" in ended.err
    assert run("log", "models/few.yaml#few.count-2", "--train", "train.csv").code == 0


@pytest.mark.slow
def test_a_board_on_which_no_row_was_answered_is_no_success(run: Run, folder: Path) -> None:
    filtered = json.dumps({"error": {"message": "filtered", "code": "content_filter"}})
    with serving(400, filtered) as url:
        spec = yaml.safe_load((folder / "models" / "few.yaml").read_text())
        del spec["grid"]
        spec["endpoint"]["base_url"] = url
        (folder / "models" / "refused.yaml").write_text(yaml.safe_dump(spec | {"answer": "text"}))
        shown = run("compare", "models/refused.yaml", "--test", "x/t.csv")
    assert shown.code == 2
    assert "no row of refused" in shown.err
    assert "filtered" in shown.err


def test_leaked_test_rows_stop_a_comparison_unless_they_are_allowed(run: Run, folder: Path) -> None:
    (folder / "models" / "base.yaml").write_text("technique: baseline\nname: base\ntask: task.yaml\n")
    words = ("compare", "models/base.yaml", "--test", "train.csv", "--train", "train.csv")
    for extra in ((), ("--dry-run",)):
        refused = run(*words, *extra)
        assert refused.code == 2
        assert "80 of 80 rows of train.csv" in refused.err
        assert "--allow-leaks" in refused.err
    allowed = run(*words, "--allow-leaks")
    assert allowed.code == 0, allowed.err
    assert "80 test rows are also in its training rows" in " ".join(allowed.out.split())


def test_check_ends_with_what_its_calls_cost(run: Run, folder: Path, server: LocalServer) -> None:
    ended = run("check", "models/few.yaml")
    assert ended.code == 0, ended.out
    # Both specs of the grid ask alike, so one call is made.
    assert "spent now: $0.0000" in ended.err
    assert "for 1 new answer;" in ended.err
    assert sum(calls for path, calls in server.received.by_path.items() if path.endswith("completions")) == 1
