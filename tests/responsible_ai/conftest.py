"""The environment that the dashboards are made in, for tests that need the real one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from luthier.responsible_ai.environment import IsolatedEnvironment, can_be_made
from tests.conftest import REPOSITORY


@pytest.fixture(scope="session")
def isolated_python() -> Path:
    """The Python of the real environment, 1.1 GiB in LUTHIER_CACHE, which is fetched if it is not there.

    Tests that use it are marked `slow`. Pass it to `run_isolated(python, "build", ...)`, or call
    `IsolatedEnvironment.of_dashboards().make()` in the code under test, which finds the same one.
    """
    environment = IsolatedEnvironment.of_dashboards()
    with pytest.MonkeyPatch.context() as here:
        # A clone on a machine without uv has one here (scripts/setup).
        here.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}{REPOSITORY / '.tools' / 'bin'}")
        if environment.find() is None and not can_be_made():
            pytest.skip("neither uv nor a Python 3.11 is here")
        return environment.make()
