"""`endpoints:` in a spec or an endpoint file: several endpoints of one model, which everything else sees as one."""

from __future__ import annotations

from pathlib import Path

import pytest

import luthier as lt
from luthier.endpoints import Engine, RunOptions
from luthier.packaging.model import endpoint_settings, relocated
from luthier.plans import plan_rows
from luthier.spec.digests import answering_settings
from luthier.techniques import read_endpoint, read_specs
from tests.conftest import reviews

FIRST = {"provider": "openai", "model": "gpt-4.1-mini"}
SECOND = {"provider": "azure", "model": "mini", "base_url": "https://east.openai.azure.com", "weight": 2}
POOL = """
endpoints:
  - {provider: openai, model: gpt-4.1-mini}
  - {provider: azure, model: mini, base_url: "https://east.openai.azure.com", weight: 2}
"""


def pooled(task: lt.Task) -> lt.Prompt:
    return lt.Prompt(task, "{{ text }}", endpoints=[FIRST, SECOND], name="pooled")


def test_the_first_endpoint_is_the_one_that_everything_else_sees(task: lt.Task) -> None:
    spec = pooled(task)
    assert spec.endpoint is not None
    assert (spec.endpoint.label, [one.weight for one in spec.endpoint.others]) == ("openai/gpt-4.1-mini", [2])
    assert len(spec.endpoints) == 1
    assert [one.label for one in spec.all_endpoints] == ["openai/gpt-4.1-mini", "azure/mini"]


def test_others_change_no_answer_and_no_digest(task: lt.Task) -> None:
    alone = lt.Prompt(task, "{{ text }}", endpoint=FIRST)
    assert pooled(task).digest == alone.digest


def test_a_spec_of_one_endpoint_is_written_as_before_there_were_pools(task: lt.Task) -> None:
    settings = lt.Prompt(task, "{{ text }}", endpoint=FIRST).settings()
    assert not {"weight", "others"} & set(settings["endpoint"])
    assert not {"weight", "others"} & set(answering_settings(pooled(task).settings())["endpoint"])


def test_a_pool_is_written_and_read_again(task: lt.Task) -> None:
    spec = pooled(task)
    document = {name: value for name, value in spec.document().items() if name != "schema"}
    assert lt.Prompt.make(document) == spec


def test_objects_may_be_listed_in_python(task: lt.Task) -> None:
    there = lt.azure("mini", "https://east.openai.azure.com", weight=2)
    assert lt.Prompt(task, "{{ text }}", endpoints=[lt.openai("gpt-4.1-mini"), there], name="pooled") == pooled(task)


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ([], "endpoints holds a list"),
        (FIRST, "endpoints holds a list"),
        ([FIRST, {"provider": "openai"}], "endpoint 2: model: is missing"),
        ([FIRST, FIRST], "endpoint 2 .* is listed twice"),
        ([FIRST, SECOND | {"weight": 0}], "endpoint 2: weight: should be greater than 0"),
        ([FIRST, SECOND | {"extra_body": {"seed": 1}}], "endpoint 2 .* another extra_body"),
        ([FIRST, SECOND | {"identity": "mini"}], "endpoint 2 .* the identity 'mini'"),
        ([FIRST, SECOND | {"others": [FIRST]}], "endpoint 2 .* others of its own"),
    ],
)
def test_a_list_that_cannot_be_used_says_which_endpoint_is_at_fault(task: lt.Task, listed: object, said: str) -> None:
    with pytest.raises(lt.SpecError, match=said):
        lt.Prompt(task, "{{ text }}", endpoints=listed)


def test_endpoint_and_endpoints_together_are_refused(task: lt.Task) -> None:
    with pytest.raises(lt.SpecError, match="either endpoint: or endpoints:"):
        lt.Prompt(task, "{{ text }}", endpoint=FIRST, endpoints=[FIRST, SECOND])


def test_a_tuned_model_answers_at_one_endpoint(task: lt.Task) -> None:
    with pytest.raises(lt.SpecError, match="write endpoint: with it"):
        lt.FineTune(task, "{{ text }}", endpoints=[FIRST, SECOND])


def test_accounts_of_one_address_are_told_apart_by_their_keys() -> None:
    pool = lt.openai("m", others=[lt.openai("m", api_key_env="SECOND_KEY")])
    assert [name.rpartition(" ")[2] for name in pool.pool_names] == ["OPENAI_API_KEY", "SECOND_KEY"]


def test_an_endpoint_file_lists_endpoints_too(tmp_path: Path) -> None:
    file = tmp_path / "both.yaml"
    file.write_text(POOL)
    assert read_endpoint(file)["endpoint"]["others"] == [SECOND]
    file.write_text(POOL + "  - {provider: openai}\n")
    with pytest.raises(lt.SpecError, match=r"both\.yaml: endpoint 3: model: is missing"):
        read_endpoint(file)


def test_an_endpoint_file_takes_the_place_of_a_list(tmp_path: Path) -> None:
    (tmp_path / "pooled.yaml").write_text(
        "name: pooled\ntask: {name: mood, labels: [good, bad], text: text, label: label}\ntechnique: prompt\n"
        "prompt: {template: '{{ text }}'}\n" + POOL
    )
    (moved,) = read_specs([tmp_path / "pooled.yaml"], overrides={"endpoint": {"provider": "openai", "model": "other"}})
    assert [one.label for one in moved.all_endpoints] == ["openai/other"]
    (read,) = read_specs([tmp_path / "pooled.yaml"])
    assert len(read.all_endpoints) == 2


def test_a_packaged_pool_stays_until_the_model_is_moved() -> None:
    pool = lt.openai("m", others=[lt.azure("mini", "https://east.openai.azure.com")])
    assert relocated(pool, endpoint_settings(pool)) == pool
    fewer = relocated(pool, {"concurrency": 3, "extra_body": {"seed": 1}, "identity": "m-of-may"})
    assert fewer is not None
    assert [one.extra_body for one in fewer.pool] == [{"seed": 1}] * 2
    moved = relocated(pool, {"base_url": "https://elsewhere.example/v1"})
    assert moved is not None
    assert moved.others == ()


def test_the_key_of_each_is_looked_for_before_anything_is_sent(task: lt.Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a key")
    with pytest.raises(lt.EndpointError, match="AZURE_OPENAI_API_KEY"):
        lt.fit(pooled(task))


def test_a_plan_says_who_shares_the_work(task: lt.Task, engine: Engine) -> None:
    rows = task.rows(reviews(5))
    planned = plan_rows(pooled(task), rows, None, RunOptions(engine=engine))
    assert str(planned).splitlines()[1] == (
        "  shared by gpt-4.1-mini at https://api.openai.com/v1, weight 1; "
        "mini at https://east.openai.azure.com/openai/v1, weight 2"
    )
