"""One row's way: files and functions of luthier that compare, score and pyfunc.predict enter for it.

    python benchmarks/row_trace.py [--list]

Each verb runs in a process of its own and sends one row through a `Prompt` to the embedded server's deterministic
model, over HTTP, with a tracking store of its own. Counted are distinct functions with a name in `src/luthier` that
any thread enters, and the files they are in. Lambdas, comprehensions and the bodies of modules and classes, which run
at an import, are not counted; neither is the server. `score` and `predict`
are counted from the logged model on: neither fitting nor loading is part of them. `--list` prints what was entered.
"""

from __future__ import annotations

import argparse
import inspect
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType

VERBS = ("compare", "score", "predict")


class Trace:
    """Notes what is entered while it is on; in threads that start after it was made, and in this one."""

    def __init__(self) -> None:
        self.entered: set[CodeType] = set()
        self.on = False
        threading.setprofile(self._note)
        sys.setprofile(self._note)

    def _note(self, frame: FrameType, event: str, argument: object) -> None:
        if self.on and event == "call":
            self.entered.add(frame.f_code)

    @contextmanager
    def counting(self) -> Iterator[None]:
        self.on = True
        try:
            yield
        finally:
            self.on = False

    def functions(self, source: Path) -> list[str]:
        """`file: function` for each that was entered."""
        return sorted(
            f"{Path(code.co_filename).relative_to(source)}: {code.co_qualname} ({code.co_firstlineno})"
            for code in self.entered
            if code.co_flags & inspect.CO_OPTIMIZED
            and not code.co_name.startswith("<")
            and source in Path(code.co_filename).parents
        )


def traced(verb: str) -> list[str]:
    """Runs a verb on one row; what it entered."""
    trace = Trace()
    import mlflow
    import pandas as pd

    import luthier as lt
    from luthier_local import LocalServer, ModelCard

    mlflow.set_tracking_uri(f"sqlite:///{Path.cwd()}/mlflow.db")
    os.environ |= {"LUTHIER_HOME": str(Path.cwd() / "home"), "STARS_KEY": "sk-stars"}
    row = pd.DataFrame({"text": ["The soup was great"], "stars": [5]})
    with LocalServer(models=[ModelCard("stars-model")], api_key="sk-stars") as server:
        task = lt.Task("stars", type="rating", text="text", label="stars", labels=[1, 2, 3, 4, 5])
        endpoint = lt.Endpoint(
            provider="compatible", base_url=server.base_url, model="stars-model", api_key_env="STARS_KEY"
        )
        spec = lt.Prompt(task, "Stars for: {{ text }}", answer="score", endpoint=endpoint, name="prompt")
        if verb == "compare":
            with trace.counting():
                lt.compare([spec], row)
        elif verb == "score":
            model = lt.log(spec)
            with trace.counting():
                scored = model.score(row[["text"]])
            assert scored["state"].tolist() == ["ok"]
        else:
            loaded = mlflow.pyfunc.load_model(lt.log(spec).uri)
            with trace.counting():
                scored = loaded.predict(row[["text"]])
            assert scored["state"].tolist() == ["ok"]
    return trace.functions(Path(lt.__file__).parent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="print the functions")
    parser.add_argument("--verb", choices=VERBS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.verb:
        print("\n".join(traced(options.verb)))
        return
    for verb in VERBS:
        with tempfile.TemporaryDirectory() as folder:
            said = subprocess.run(
                [sys.executable, Path(__file__).resolve(), "--verb", verb],
                cwd=folder, capture_output=True, text=True, check=False,
            )  # fmt: skip
        if said.returncode:
            sys.exit(said.stderr)
        entered = [line for line in said.stdout.splitlines() if ".py: " in line]
        files = {line.partition(":")[0] for line in entered}
        print(f"{verb:8} {len(files):4} files {len(entered):5} functions")
        if options.list:
            print("\n".join(f"    {line}" for line in entered))


if __name__ == "__main__":
    main()
