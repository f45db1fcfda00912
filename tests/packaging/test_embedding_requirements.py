"""What a packaged embedding model needs where it is served: no more than what it carries."""

from __future__ import annotations

import pytest

from luthier.packaging.flavor import requirements
from luthier.spec import Fitted
from luthier.tasks.task import Task
from luthier.techniques import Embedding
from luthier.techniques.heads.learners import LIGHTGBM_FILE, XGBOOST_FILE
from tests.conversing import ENDPOINT

NOT_SERVING = {"flaml", "scikit-learn", "lightgbm", "xgboost-cpu", "xgboost"}


@pytest.mark.parametrize(
    ("files", "wanted"),
    [({}, set()), ({LIGHTGBM_FILE: b""}, {"lightgbm"}), ({XGBOOST_FILE: b""}, {"xgboost-cpu"})],
)
def test_only_what_won_is_needed(files: dict[str, bytes], wanted: set[str]) -> None:
    fitted = Fitted(Embedding(Task("mood", labels=["good", "bad"]), endpoint=ENDPOINT), files=files)
    names = {line.split("==")[0] for line in requirements(fitted)}
    assert names & NOT_SERVING == wanted
