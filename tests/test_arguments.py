"""What a notebook may pass by mistake is one sentence that says what to pass, never an error from within."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import luthier as lt
from tests.conftest import reviews, stars

TASK = stars()
TABLE = reviews(60)
SPEC = lt.Prompt(TASK, "Review: {{ text }}", endpoint=lt.compatible("m", "http://127.0.0.1:1/v1"), name="s")
ANSWERS = pd.DataFrame({"answer": ["fine", "dull"]})
QUALITY = lt.Task("quality", type="rating", text="answer", label="rating", labels=[1, 2, 3])
JUDGE = lt.Prompt(QUALITY, "Rate: {{ answer }}", endpoint=lt.compatible("m", "http://127.0.0.1:1/v1"), name="judge")
ANY: Any = lt

MISTAKES: dict[str, Callable[[], Any]] = {
    "read_table": lambda: ANY.read_table(5),
    "read_table of nothing": lambda: ANY.read_table(None),
    "read_spec": lambda: ANY.read_spec(5),
    "read_specs": lambda: ANY.read_specs(5),
    "read_specs of several": lambda: ANY.read_specs([5]),
    "load": lambda: ANY.load(5),
    "load elsewhere": lambda: ANY.load("folder", 5),
    "compare a text": lambda: ANY.compare("spec.yaml", TABLE),
    "compare a number": lambda: ANY.compare(5, TABLE),
    "compare several": lambda: ANY.compare([SPEC, 5], TABLE),
    "compare on nothing": lambda: ANY.compare(SPEC, None),
    "engine": lambda: ANY.compare(SPEC, TABLE, engine=5),
    "limit": lambda: ANY.compare(SPEC, TABLE, limit=True),
    "rank_by": lambda: ANY.compare(SPEC, TABLE, rank_by=5),
    "budget": lambda: ANY.compare(SPEC, TABLE, budget_usd="x"),
    "check": lambda: ANY.check(5),
    "fit": lambda: ANY.fit("spec.yaml"),
    "log": lambda: ANY.log(5),
    "preview": lambda: ANY.preview(5, TABLE),
    "preview of no rows": lambda: ANY.preview(SPEC, 5),
    "a spec's preview": lambda: ANY.Prompt.preview(SPEC, 5),
    "score": lambda: ANY.score(5, TABLE),
    "tune": lambda: ANY.tune(5, TABLE),
    "audit": lambda: ANY.audit(5, TABLE),
    "attach_job": lambda: ANY.attach_job(5),
    "compare_checkpoints": lambda: ANY.compare_checkpoints(5, TABLE),
    "import_from": lambda: ANY.import_from(5),
    "import_from a task": lambda: ANY.import_from("local", task=5),
    "import_from since": lambda: ANY.import_from("local", since=5),
    "import_from a name": lambda: ANY.import_from("local", name=5),
    "adopt": lambda: ANY.adopt(5, task=TASK),
    "rank_models": lambda: ANY.rank_models(5, task=TASK),
    "rank_models of a task": lambda: ANY.rank_models(TABLE, task=5),
    "rank_models of a spec": lambda: ANY.rank_models(TABLE, spec=5),
    "rank_models by name": lambda: ANY.rank_models(TABLE, task=TASK, models=5),
    "rank_models at most": lambda: ANY.rank_models(TABLE, task=TASK, most="x"),
    "try_out": lambda: ANY.try_out(5),
    "try_out of rows": lambda: ANY.try_out(SPEC, 5),
    "try_out of models": lambda: ANY.try_out(SPEC, models=5),
    "try_out within": lambda: ANY.try_out(SPEC, budget_usd="x"),
    "try_out of an engine": lambda: ANY.try_out(SPEC, engine=5),
    "try_out of no row": lambda: ANY.try_out(SPEC).ask(2.5),
    "try_out of a template": lambda: ANY.try_out(SPEC).edit(template=5),
    "improve": lambda: ANY.improve("spec.yaml", TABLE, TABLE),
    "improve on nothing": lambda: ANY.improve(SPEC, None, TABLE),
    "improve with a writer": lambda: ANY.improve(SPEC, TABLE, reviews(30, seed=9), writer=5),
    "improve by a name": lambda: ANY.improve(SPEC, TABLE, reviews(30, seed=9), by="rewrite"),
    "improve in rounds": lambda: ANY.improve(SPEC, TABLE, reviews(30, seed=9), rounds="x"),
    "judge a number": lambda: ANY.judge(5, SPEC),
    "judge by a text": lambda: ANY.judge(ANSWERS, "judge.yaml"),
    "judge by another spec": lambda: ANY.judge(ANSWERS, SPEC),
    "judge beside a number": lambda: ANY.judge(ANSWERS, JUDGE, human=5),
    "judge beside numbers": lambda: ANY.judge(ANSWERS, JUDGE, human=[5]),
    "judge of specs": lambda: ANY.judge(ANSWERS, JUDGE, specs=5),
    "judge at most": lambda: ANY.judge(ANSWERS, JUDGE, limit="x"),
    "judge with traces": lambda: ANY.judge(ANSWERS, JUDGE, traces="x"),
    "judge in a mode": lambda: ANY.judge(ANSWERS, JUDGE, mode="spark"),
    "judge within": lambda: ANY.judge(ANSWERS, JUDGE, budget_usd="x"),
    "catalogue": lambda: ANY.catalogue(5),
    "catalogue of a provider": lambda: ANY.catalogue(provider=5),
    "catalogue within a price": lambda: ANY.catalogue(most_usd="x"),
    "describe_model": lambda: ANY.describe_model(5),
    "retiring": lambda: ANY.retiring("x"),
    "promote": lambda: ANY.promote(5, alias="x"),
    "Engine": lambda: ANY.Engine(5),
    "Endpoint": lambda: ANY.Endpoint(),
    "Task": lambda: ANY.Task(),
    "Task by names": lambda: ANY.Task(name="x", labels=5),
    "Task.read": lambda: ANY.Task.read(5),
    "rows": lambda: TASK.rows(5),
    "seed": lambda: ANY.Task.split(TASK, TABLE, seed="x"),
    "negative seed": lambda: TASK.split(TABLE, seed=-1),
    "group": lambda: ANY.Task.split(TASK, TABLE, group=5),
    "few texts": lambda: TASK.split(pd.DataFrame({"text": ["a", "b"] * 10, "stars": [1, 2] * 10})),
}


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_a_user_error(mistake: Callable[[], Any]) -> None:
    with pytest.raises(lt.UserError):
        mistake()


def test_what_is_given_is_said_and_what_is_wanted() -> None:
    with pytest.raises(lt.UserError, match=r"'spec.yaml' \(str\).*read_spec\('spec.yaml'\)"):
        ANY.compare("spec.yaml", TABLE)
    with pytest.raises(lt.UserError, match=r"table.*5 \(int\).*Path"):
        ANY.read_table(5)


def test_help_and_completion_show_every_keyword_of_a_verb() -> None:
    verbs = [verb for name in lt._ROOMS["luthier.api"] if inspect.isfunction(verb := getattr(lt, name))]
    kinds = {verb.__name__: {p.kind for p in inspect.signature(verb).parameters.values()} for verb in verbs}
    assert {"compare_checkpoints", "score", "promote"} <= set(kinds)
    assert [name for name, found in kinds.items() if inspect.Parameter.VAR_KEYWORD in found] == []


def test_a_seed_of_numpy_is_one() -> None:
    tables = ANY.Task.split(TASK, TABLE, seed=np.int64(3))
    assert [len(each) for each in tables] == [len(each) for each in TASK.split(TABLE, seed=3)]


def test_one_folder_of_specs_need_not_be_in_a_list(tmp_path: Any) -> None:
    (tmp_path / "a.yaml").write_text("technique: baseline\ntask: {name: t, labels: [x, y]}\n")
    assert (
        [spec.name for spec in lt.read_specs(tmp_path)] == [spec.name for spec in lt.read_specs(str(tmp_path))] == ["a"]
    )
