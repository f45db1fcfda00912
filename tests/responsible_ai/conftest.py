"""The environment that the dashboards are made in, for tests that need the real one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from luthier.responsible_ai.environment import IsolatedEnvironment, can_be_made
from tests.conftest import REPOSITORY


def with_uv_of_the_clone(here: pytest.MonkeyPatch) -> None:
    """On a machine without uv, scripts/setup has put one into the clone."""
    here.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}{REPOSITORY / '.tools' / 'bin'}")


@pytest.fixture(scope="session")
def isolated_python() -> Path:
    """The Python of the real environment, 700 MiB in LUTHIER_CACHE, which is fetched if it is not there.

    Tests that use it are marked `slow`. Pass it to `run_isolated(python, "build", ...)`, or call
    `IsolatedEnvironment.of_dashboards().make()` in the code under test, which finds the same one.
    """
    environment = IsolatedEnvironment.of_dashboards()
    with pytest.MonkeyPatch.context() as here:
        with_uv_of_the_clone(here)
        if environment.find() is None and not can_be_made():
            pytest.skip("neither uv nor a Python 3.11 is here")
        return environment.make()


Program = Callable[[str], Path]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Makes a package to be run in place of the dashboards' program: some imports, then this code."""

    def made(code: str) -> Path:
        folder = tmp_path / "programs" / "small"
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
        (folder / "__main__.py").write_text(f"import json, os, sys\n{code}")
        return folder

    return made
