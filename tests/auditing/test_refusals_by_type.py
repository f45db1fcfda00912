"""What an audit says of jobs whose answers are no single labels."""

from __future__ import annotations

import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint
from luthier.errors import SpecError
from luthier_local import LocalServer
from tests.tuning.conftest import BASE, server  # noqa: F401


@pytest.mark.usefixtures("store")
def test_an_audit_of_scores_says_how_else_they_are_measured(server: LocalServer) -> None:  # noqa: F811
    task = lt.Task("alike", type="similarity", other="other", scale=[0, 5])
    rows = [{"text": f"Lamp {n}", "other": f"Lamp {n % 7}", "label": n % 6} for n in range(40)]
    endpoint = Endpoint(provider="compatible", base_url=server.base_url, model=BASE, api_key_env="STARS_KEY")
    template = "{{ text }}\n{{ other }}"
    spec = lt.FineTune(task, template, name="tuned", answer="json", endpoint=endpoint, tuning={"epochs": 1})
    job = lt.tune(spec, pd.DataFrame(rows[:30]))
    with pytest.raises(SpecError, match="an audit compares how single labels are asked.*luthier compare SPEC"):
        lt.audit(job, test=pd.DataFrame(rows[30:]))
