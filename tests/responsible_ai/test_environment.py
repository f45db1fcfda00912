"""The isolated environment: made once a lock, whole or absent, with the user's own tools."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from luthier.responsible_ai.environment import IsolatedEnvironment


@pytest.mark.slow
def test_the_real_environment_imports_both_dashboards(isolated_python: Path) -> None:
    program = (
        "import sys, pandas, pyarrow, responsibleai, raiwidgets, shap;"
        "print(sys.version_info[:2], pandas.__version__, responsibleai.__version__)"
    )
    done = subprocess.run([isolated_python, "-I", "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(3, 11) 1.5.3 0.36.0", done.stderr
    assert IsolatedEnvironment.of_dashboards().find() == isolated_python
