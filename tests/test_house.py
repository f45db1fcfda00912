"""The house: imports run downwards, public names are what they say, starting is quick."""

from __future__ import annotations

import ast
import functools
import graphlib
import subprocess
import sys
import tomllib
from collections.abc import Container
from pathlib import Path

import yaml

import luthier
from tests.conftest import REPOSITORY

SOURCE = Path(luthier.__file__).parent

# Lowest first. Rooms on one floor do not import each other.
FLOORS: list[set[str]] = [
    {"errors"},
    {"home", "on_demand", "processes", "truncation"},
    {"documents", "journal", "outputs", "terminals"},
    {"tables"},
    {"tasks", "model_names"},
    {"providers", "evaluation"},
    {"replies"},
    {"accounts", "engine"},
    {"batches", "model_catalogue"},
    {"endpoints", "estimator"},
    {"spec"},
    {"techniques", "reporting"},
    {"plans"},
    {"tracking"},
    {"packaging"},
    {"serving"},
    {"scoring"},
    {"experiments"},
    {"tuning"},
    {"auditing", "importing", "improving", "judging", "sweeps"},
    {"deployments", "history", "responsible_ai"},
    {"model_choice"},
    {"api"},
    {"starting"},
    {"cli"},
]
ENTRIES = {SOURCE / "__init__", SOURCE / "__main__"}
"""What is imported and run from outside: they stand on no floor."""

FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

# The embedded server is a package of its own: reached over HTTP only, so that it could be any server.
SERVER = SOURCE.parent / "luthier_local"
SERVER_MAY_IMPORT = {"errors", "home", "outputs", "processes"}
MAY_IMPORT_SERVER = {"cli"}


def room_of(file: Path) -> str:
    if file.is_relative_to(SERVER):
        return "luthier_local"
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


def modules() -> list[Path]:
    return [
        file
        for package in (SOURCE, SERVER)
        for file in sorted(package.rglob("*.py"))
        if file.parent / file.stem not in ENTRIES and "bundled" not in file.parts
    ]


@functools.cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imported_rooms(file: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(tree_of(file)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "luthier" else [node.module]
            )
        for name in names:
            parts = name.split(".")
            if parts[0] == "luthier_local":
                rooms.add("luthier_local")
            elif parts[0] == "luthier" and len(parts) > 1:
                rooms.add(parts[1])
    return rooms - {"__version__"}


def lies_below(other: str, room: str) -> bool:
    if room == "luthier_local":
        return other in SERVER_MAY_IMPORT
    if other == "luthier_local":
        return room in MAY_IMPORT_SERVER
    return FLOOR_OF[other] < FLOOR_OF[room]


def test_imports_run_downwards() -> None:
    upwards = [
        f"{file.relative_to(SOURCE.parent)} imports {other}"
        for file in modules()
        for other in sorted(imported_rooms(file) - {room_of(file)})
        if not lies_below(other, room_of(file))
    ]
    assert not upwards


def parsed() -> dict[str, ast.Module]:
    """Every module of both packages by its dotted name."""
    return {
        ".".join(file.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__"): tree_of(file)
        for package in (SOURCE, SERVER)
        for file in sorted(package.rglob("*.py"))
        if "bundled" not in file.parts
    }


def imported_modules(tree: ast.Module, known: Container[str]) -> set[str]:
    """Modules that a module imports anywhere: at its top, in a function, for type checkers alone."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the whole path"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else str(node.module) for name in inner}
    return {name for name in found if name in known}


def test_no_modules_import_each_other_in_a_circle() -> None:
    modules = parsed()
    graph = {name: imported_modules(tree, modules) - {name} for name, tree in modules.items()}
    list(graphlib.TopologicalSorter(graph).static_order())


def test_no_class_name_is_in_two_modules() -> None:
    places: dict[str, list[str]] = {}
    for name, tree in parsed().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(name)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_every_room_has_a_floor() -> None:
    assert {room_of(file) for file in modules()} - {"luthier_local"} == set(FLOOR_OF)


COMMANDS_MAY_IMPORT = {
    "api",
    "cli",
    "endpoints",  # the users' own way to engine, journal and options
    "errors",
    "starting",  # tells its story by means of api, so it stands above it
    "terminals",
    "__version__",
}


def test_every_room_is_where_a_newcomer_looks_for_it() -> None:
    floors = (REPOSITORY / "docs" / "house.md").read_text(encoding="utf-8")
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8").partition("## What is where")[2]
    folders = {f"{room}/" for room in FLOOR_OF if (SOURCE / room).is_dir()}
    assert {room for room in FLOOR_OF if f"`{room}`" not in floors} == set()
    assert {room for room in folders if f"\n  {room} " not in readme} == set()


def test_the_command_line_calls_what_a_notebook_can_call() -> None:
    behind = {
        f"{file.name} imports {other}"
        for file in modules()
        if room_of(file) == "cli"
        for other in imported_rooms(file) - COMMANDS_MAY_IMPORT - {"luthier_local"}
    }
    assert behind == set()


def test_every_public_name_is_there() -> None:
    assert [name for name in luthier.__all__ if getattr(luthier, name, None) is None] == []


def test_every_public_name_is_listed_by_its_room() -> None:
    import importlib

    for room, names in luthier._ROOMS.items():
        listed = importlib.import_module(room).__all__
        assert set(names) <= set(listed), room


def test_modules_stay_readable() -> None:
    long = {str(f.relative_to(SOURCE.parent)): n for f in modules() if (n := len(f.read_text().splitlines())) > 500}
    assert not long


def test_help_needs_neither_mlflow_nor_pandas() -> None:
    program = (
        "import sys; sys.argv = ['luthier', '--help']\n"
        "from luthier.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'mlflow', 'pandas', 'numpy', 'openai', 'sklearn', 'pydantic', 'rich', 'aiohttp'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "compare" in done.stdout


def test_mlflow_run_installs_what_the_package_needs() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    # Spark is 400 MB, and a cluster that has it brings its own; `mlflow run` shows no notebook.
    needed = [parts for name, parts in extras.items() if name not in ("spark", "notebook")]
    wanted = project["dependencies"] + [part for parts in needed for part in parts]
    listed = yaml.safe_load((REPOSITORY / "conda.yaml").read_text())["dependencies"][-1]["pip"]
    assert sorted(listed) == sorted(wanted)


def test_no_public_name_is_that_of_a_room() -> None:
    # `import luthier.deployments` anywhere would put the room in the place of the name.
    assert not set(luthier.__all__) & FLOOR_OF.keys() - {"estimator"}
