"""What a packaged model of the embedded server needs where it is served: the server starts there."""

from __future__ import annotations

import ast
import sys
from importlib import metadata
from pathlib import Path

import luthier_local
from luthier.packaging.flavor import requirements
from luthier.providers.endpoint import Endpoint
from luthier.spec import Fitted
from luthier.tasks.task import Task
from luthier.techniques import FineTune


def test_every_package_that_the_embedded_server_imports_is_required() -> None:
    imported: set[str] = set()
    for path in Path(str(luthier_local.__file__)).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(str(node.module).partition(".")[0])
    distributions = metadata.packages_distributions()
    foreign = imported - sys.stdlib_module_names - {"luthier", "luthier_local"}
    needed = {distributions[module][0].lower() for module in foreign}

    endpoint = Endpoint(provider="local", model="ft:wordllama-tunable:luthier::12345678")
    fitted = Fitted(FineTune(Task("mood", labels=["good", "bad"]), "Mood of: {{ text }}", endpoint=endpoint))
    assert {"numpy", "scipy", "xllamacpp"} <= needed
    assert needed <= {line.split("==")[0] for line in requirements(fitted)}
