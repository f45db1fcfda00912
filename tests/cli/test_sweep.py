"""luthier sweep: what is typed and what is said."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.conftest import Run


def test_names_for_a_model_need_a_model_that_is_packaged(run: Run) -> None:
    ended = run("sweep", "best", "--register", "stars")
    assert ended.code == 2
    assert "add --log" in ended.err


@pytest.mark.parametrize("words", [("--trials", "0"), ("--concurrency", "0"), ("--budget", "-1"), ("--trials", "many")])
def test_numbers_out_of_bounds_are_refused(run: Run, words: tuple[str, str]) -> None:
    ended = run("sweep", "sweep.yaml", *words)
    assert ended.code == 2
    assert words[0] in ended.err


def test_help_names_every_part_and_loads_nothing_heavy(run: Run) -> None:
    text = run("sweep", "--help").out
    assert all(verb in text for verb in ("run", "status", "stop", "resume", "best"))
    options = run("sweep", "x.yaml", "--help").out
    assert all(option in options for option in ("--holdout", "--trials", "--budget", "--storage", "--warm-start"))
    program = (
        "import sys; sys.argv = ['luthier', 'sweep', '--help']\n"
        "from luthier.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'mlflow', 'pandas', 'numpy', 'optuna', 'sqlalchemy', 'plotly', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60)
