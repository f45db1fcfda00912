"""Grids: what stands for many specs is counted, named and refused before anything is built."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import luthier as lt
from luthier.errors import SpecError
from luthier.tasks.task import NAME_PATTERN
from luthier.techniques import read_endpoint

SPEC: dict[str, Any] = {
    "technique": "prompt",
    "task": {"name": "stars", "type": "rating", "label": "stars", "labels": [1, 2, 3, 4, 5]},
    "prompt": {"template": "Stars for {{ text }}", "examples": 3},
    "endpoint": {"provider": "compatible", "base_url": "http://127.0.0.1:9/v1", "model": "m"},
    "answer": "score",
}


def write(grid: Any, name: str = "few.yaml", **more: Any) -> str:
    Path(name).write_text(yaml.safe_dump({**SPEC, **more, "grid": grid}, sort_keys=False), encoding="utf-8")
    return name


def base() -> lt.Spec:
    Path("base.yaml").write_text(yaml.safe_dump(SPEC), encoding="utf-8")
    return lt.read_spec("base.yaml")


def test_a_grid_is_the_product_of_its_lists() -> None:
    specs = lt.read_specs([write({"prompt.examples.count": [1, 3], "decoding.temperature": [0, 0.7]})])
    assert [spec.name for spec in specs] == [
        "few.count-1.temperature-0",
        "few.count-1.temperature-0.7",
        "few.count-3.temperature-0",
        "few.count-3.temperature-0.7",
    ]
    assert [spec.prompt.examples.count for spec in specs] == [1, 1, 3, 3]  # type: ignore[attr-defined]


def test_a_grid_in_python_gives_the_same_specs() -> None:
    options: dict[str, Any] = {"prompt.examples.count": [1, 3], "prompt.template": ["A {{ text }}", "B {{ text }}"]}
    by_hand = lt.grid(base(), options)
    read = lt.read_specs([write(options, "base.yaml")])
    assert [(s.name, s.digest) for s in by_hand] == [(s.name, s.digest) for s in read]


def test_an_expanded_spec_is_the_spec_one_would_write_by_hand() -> None:
    [expanded] = lt.grid(base(), {"prompt.examples.count": [5]})
    Path("own.yaml").write_text(yaml.safe_dump({**SPEC, "prompt": {**SPEC["prompt"], "examples": 5}}))
    assert expanded.digest == lt.read_spec("own.yaml").digest
    assert "grid" not in expanded.document()


def test_a_longer_list_keeps_the_names_it_had() -> None:
    templates = ["Stars for: {{ text }}", "Rate: {{ text }}"]
    short = lt.grid(base(), {"prompt.template": templates, "endpoint.model": ["a", "org/b", "2"]})
    longer = lt.grid(
        base(), {"prompt.template": [*templates, "{{ text }}"], "endpoint.model": ["a", "org/b", "2", "c"]}
    )
    assert {spec.name: spec.digest for spec in short}.items() <= {spec.name: spec.digest for spec in longer}.items()


def test_names_are_distinct_valid_and_short_however_much_varies() -> None:
    options: dict[str, Any] = {
        "prompt.examples.seed": [1, 2, 3],
        "decoding.seed": [1, 2, 3],
        "endpoint.model": [f"a-long-model-name-{n}" for n in range(3)],
        "decoding.temperature": [0, 0.25, 1],
    }
    names = [spec.name for spec in lt.grid(base(), options)]
    assert len(set(names)) == 81
    assert all(len(name) <= 64 and re.match(NAME_PATTERN, name) for name in names)


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ({"prompt.examples.cout": [1]}, r"prompt\.examples\.cout.*'cout' in prompt\.examples; allowed: count.*seed"),
        ({"foo": [1]}, r"grid path foo.*top of the spec; allowed: answer, decoding, endpoint"),
        ({"prompt.template.x": ["a"]}, r"prompt\.template is one value"),
        ({"decoding.temperature": []}, "empty list"),
        ({"decoding.temperature": 0.5}, "is no list"),
        ({"prompt.template": "abc"}, "is no list"),
        ({"name": ["a"]}, "cannot vary name"),
        ({"task": ["a"]}, "cannot vary task"),
        ({"task.labels": [["a"]]}, "cannot vary task"),
        ({"technique": ["prompt"]}, "cannot vary technique"),
        ({"decoding.temperature": [1, 1.0]}, "twice"),
        ({"endpoint.limits.concurrency": [1, 2]}, "would ask the same"),
        ({"decoding": [{"seed": 1}], "decoding.seed": [1]}, "lies within decoding"),
        ({}, "dotted paths"),
        ([1], "dotted paths"),
        ({"decoding.temperature": [3]}, r"few\.temperature-3.*less than or equal to 2"),
    ],
)
def test_what_is_no_grid_is_refused_with_a_reason(grid: Any, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        lt.read_specs([write(grid)])


def test_a_grid_of_ten_thousand_specs_is_refused_with_what_to_do() -> None:
    with pytest.raises(SpecError, match=r"10,000 specs.*holds 500.*select: searched"):
        lt.read_specs([write({"seed": list(range(100)), "decoding.seed": list(range(100))})])


def test_a_billion_combinations_are_refused_at_once() -> None:
    with pytest.raises(SpecError, match="1,000,000,000,000 specs"):
        lt.grid(base(), {"seed": range(10**6), "decoding.seed": range(10**6)})


def test_one_spec_of_a_grid_is_taken_by_its_name() -> None:
    file = write({"prompt.examples.count": [1, 3]})
    with pytest.raises(SpecError, match=r"few\.count-1, few\.count-3.*few\.yaml#few\.count-1"):
        lt.read_spec(file)
    assert lt.read_spec(f"{file}#few.count-3").prompt.examples.count == 3  # type: ignore[attr-defined]
    with pytest.raises(SpecError, match=r"no spec 'few\.count-9'"):
        lt.read_spec(f"{file}#few.count-9")


def test_an_endpoint_file_gives_way_only_to_what_the_grid_names() -> None:
    Path("other.yaml").write_text("provider: compatible\nbase_url: http://127.0.0.1:10/v1\nmodel: other\n")
    file = write({"endpoint.model": ["a", "b"]})
    specs = lt.read_specs([file], read_endpoint("other.yaml"))
    assert [(s.endpoint.model, s.endpoint.base_url) for s in specs if s.endpoint] == [
        ("a", "http://127.0.0.1:10/v1"),
        ("b", "http://127.0.0.1:10/v1"),
    ]


def test_an_endpoint_in_python_may_be_an_endpoint() -> None:
    specs = lt.grid(base(), {"endpoint": [lt.openai("a"), lt.openai("b")]})
    assert [spec.base_model for spec in specs] == ["a", "b"]
    assert [spec.name for spec in specs] == ["base.endpoint-1", "base.endpoint-2"]
