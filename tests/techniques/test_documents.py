"""What the documentation shows is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from luthier.providers.endpoint import Endpoint
from luthier.tasks.task import Task
from luthier.techniques.registry import TECHNIQUES
from tests.conversing import STARS

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(yaml (?:spec|task|endpoint)|python)\n(.*?)^```", re.M | re.S)


def blocks(kind: str) -> list[str]:
    pages = [(DOCS / name).read_text(encoding="utf-8") for name in ("spec.md", "prompt.md", "embedding.md")]
    return [body for page in pages for found, body in BLOCK.findall(page) if found == kind]


@pytest.mark.parametrize("body", blocks("yaml spec"))
def test_a_spec_that_is_shown_is_one(body: str) -> None:
    document = yaml.safe_load(body) | {"task": STARS}
    assert TECHNIQUES[document["technique"]].make(document).name


@pytest.mark.parametrize("body", blocks("yaml task"))
def test_a_task_that_is_shown_is_the_one_meant(body: str) -> None:
    assert Task(**yaml.safe_load(body)) == STARS


@pytest.mark.parametrize("body", blocks("yaml endpoint"))
def test_an_endpoint_that_is_shown_is_one(body: str) -> None:
    assert Endpoint.model_validate(yaml.safe_load(body)).address


@pytest.mark.parametrize("body", blocks("python"))
def test_python_that_is_shown_runs(body: str) -> None:
    exec(compile(body, "docs", "exec"), {})


def test_importing_the_techniques_stays_light() -> None:
    import subprocess
    import sys

    program = "import sys, luthier.techniques; print([m for m in ('pandas', 'sklearn', 'mlflow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
