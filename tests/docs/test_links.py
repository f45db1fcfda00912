"""Links lead somewhere, and what the pages tell people to type exists."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from luthier.endpoints import Endpoint
from luthier.tasks.task import Task
from luthier.techniques import read_endpoint
from tests.docs.pages import PAGES, REPOSITORY, anchors, blocks, commands, named, prose

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@cache
def verbs() -> dict[str, Any]:
    import typer

    from luthier.cli.main import app

    found: dict[str, Any] = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found |= {f"{name} {word}": one for word, one in inner.items()} if inner else {name: command}
        # Verbs that take a spec or a model themselves.
        for own in ("submit", "start", "run"):
            if inner and own in inner:
                found[name] = inner[own]
    return found


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{named(page)} links to {target}"
        assert file.is_relative_to(REPOSITORY), f"{named(page)} links out of the repository: {target}"
        if anchor:
            assert anchor in anchors(file), f"{named(page)} links to {target}; headings: {sorted(anchors(file))}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name != "reference"], ids=named)
def test_commands_that_are_shown_exist(page: Path) -> None:
    for words in commands(page):
        if words[0] != "luthier":
            continue
        both = " ".join(words[1:3])
        name = both if both in verbs() else words[1]
        assert name in verbs(), f"{named(page)}: luthier has no verb {both}"
        parameters = verbs()[name].params
        options = {option for parameter in parameters for option in (*parameter.opts, *parameter.secondary_opts)}
        for word in words[2:]:
            if word.startswith("-") and not re.fullmatch(r"-?[\d.]+", word):
                assert word.split("=")[0] in options, f"{named(page)}: luthier {name} has no {word}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_scripts_that_are_shown_exist(page: Path) -> None:
    for words in commands(page):
        if words[0].startswith(("scripts/", ".ci/")):
            assert (REPOSITORY / words[0]).is_file(), f"{named(page)}: no {words[0]}"


def test_endpoints_that_are_shown_are_some() -> None:
    page = REPOSITORY / "docs" / "endpoints.md"
    for body in blocks(page, "yaml endpoint"):
        assert Endpoint.model_validate(yaml.safe_load(body)).address
    for body in blocks(page, "yaml overrides"):
        Path("overrides.yaml").write_text(body)
        assert read_endpoint("overrides.yaml")["endpoint"]["provider"] == "openai"


def test_the_task_that_is_shown_is_one() -> None:
    shown = blocks(REPOSITORY / "docs" / "start.md", "yaml")
    assert Task(**yaml.safe_load(shown[0])).labels == ("negative", "neutral", "positive")


def test_endpoint_blocks_of_the_table_are_there() -> None:
    names = re.findall(r"`([a-z-]+\.yaml)` \|", (REPOSITORY / "README.md").read_text(encoding="utf-8"))
    assert {f"models/endpoints/{name}" for name in names} == {
        str(file.relative_to(REPOSITORY)) for file in (REPOSITORY / "models" / "endpoints").glob("*.yaml")
    }


def test_the_picture_is_light() -> None:
    assert 10_000 < (REPOSITORY / "docs" / "images" / "leaderboard.png").stat().st_size < 200_000


def test_the_floors_that_are_shown_are_the_ones_held() -> None:
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("house", REPOSITORY / "tests" / "test_house.py")
    assert spec is not None and spec.loader is not None
    house = module_from_spec(spec)
    spec.loader.exec_module(house)
    page = (REPOSITORY / "docs" / "house.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| (\d+) \| (.+) \|$", page, re.M)
    floors = [
        {room.strip("` ") for room in rooms.split(",")} for _, rooms in sorted(shown, key=lambda row: int(row[0]))
    ]
    assert floors == house.FLOORS


def test_the_first_spec_of_the_fine_tuning_page_is_planned_as_printed() -> None:
    from luthier.techniques import read_spec
    from luthier.tuning.tuning_plan import plan_tuning
    from tests.conftest import reviews

    shown = blocks(REPOSITORY / "docs" / "tune.md", "yaml")[0]
    Path("task.yaml").write_bytes((REPOSITORY / "models" / "task.yaml").read_bytes())
    Path("stars-ft.yaml").write_text(shown)
    plan = plan_tuning(read_spec("stars-ft.yaml"), reviews(80, seed=1), reviews(20, seed=2), ask=False)
    plan.check.need_clean()
    assert plan.check.cost_usd == 0
