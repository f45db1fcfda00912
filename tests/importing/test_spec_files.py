"""Imported specs as files: written once, read afterwards, and never replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

import luthier as lt
from luthier.errors import UserError
from luthier.importing.spec_files import write_imported_spec
from luthier.techniques import read_spec
from luthier.techniques.finetune import Tuned


def tuned(task: lt.Task, model: str = "ft:gpt:me:stars:abc", template: str = "Stars for: {{ text }}") -> lt.FineTune:
    result = Tuned(model=model, job="ftjob-1", base_model="gpt", run_id="r1")
    return lt.FineTune(task, template, answer="score", endpoint=lt.openai("gpt"), tuned=result)


FOLDER = Path("models/imported")


def test_a_spec_and_its_task_are_written_and_read_back(task: lt.Task) -> None:
    found = write_imported_spec(tuned(task), FOLDER, "stars", "job ftjob-1")
    assert (found.path, found.happened, found.note) == (FOLDER / "stars.yaml", "new", "")
    assert lt.Task.read(FOLDER / "task.yaml") == task
    read = read_spec(found.path)
    assert (read.digest, read.name) == (tuned(task).digest, "stars")
    assert "task: task.yaml" in found.path.read_text()
    assert found.path.read_text().startswith("# Written by luthier import: job ftjob-1.")


def test_the_same_import_writes_nothing_a_second_time(task: lt.Task) -> None:
    first = write_imported_spec(tuned(task), FOLDER, "stars", "job ftjob-1")
    before = {path: path.read_bytes() for path in FOLDER.rglob("*")}
    again = write_imported_spec(tuned(task), FOLDER, "stars", "job ftjob-1")
    assert (again.path, again.happened, again.note) == (first.path, "unchanged", "")
    assert {path: path.read_bytes() for path in FOLDER.rglob("*")} == before


def test_another_model_of_the_same_name_gets_a_number(task: lt.Task) -> None:
    write_imported_spec(tuned(task), FOLDER, "stars", "job ftjob-1")
    other = write_imported_spec(tuned(task, "ft:gpt:me:stars:def"), FOLDER, "stars", "job ftjob-2")
    assert other.path == FOLDER / "stars-2.yaml"
    assert write_imported_spec(tuned(task, "ft:gpt:me:stars:def"), FOLDER, "stars", "job 2").path == other.path


def test_a_file_that_was_edited_is_kept_and_counts(task: lt.Task) -> None:
    path = write_imported_spec(tuned(task), FOLDER, "stars", "job ftjob-1").path
    path.write_text(path.read_text().replace("Stars for:", "Rate:"))
    edited = path.read_bytes()
    again = write_imported_spec(tuned(task), FOLDER, "stars", "job ftjob-1")
    assert path.read_bytes() == edited
    assert isinstance(again.spec, lt.FineTune)
    assert again.spec.prompt.template == "Rate: {{ text }}"
    assert "was edited" in again.note


def test_a_file_that_was_broken_by_hand_is_named_and_kept(task: lt.Task) -> None:
    path = write_imported_spec(tuned(task), FOLDER, "stars", "job ftjob-1").path
    path.write_text(path.read_text().replace("prompt:", "promt:"))
    with pytest.raises(UserError, match="promt"):
        write_imported_spec(tuned(task), FOLDER, "stars", "job ftjob-1")
    assert not (FOLDER / "stars-2.yaml").exists()


def test_files_of_someone_else_are_left_alone(task: lt.Task) -> None:
    FOLDER.mkdir(parents=True)
    (FOLDER / "stars.yaml").write_text("just: notes\n")
    assert write_imported_spec(tuned(task), FOLDER, "stars", "job ftjob-1").path == FOLDER / "stars-2.yaml"
    assert (FOLDER / "stars.yaml").read_text() == "just: notes\n"


def test_each_task_has_a_folder_whose_specs_can_be_compared(task: lt.Task) -> None:
    mood = lt.Task("mood", labels=["good", "bad"])
    other = lt.Task("mood", labels=["good", "bad", "so-so"])
    write_imported_spec(tuned(task), FOLDER, "a", "job 1")
    paths = [write_imported_spec(tuned(one, f"ft:{one.labels}"), FOLDER, "b", "job") for one in (mood, other)]
    assert [found.path for found in paths] == [FOLDER / "mood" / "b.yaml", FOLDER / "mood-2" / "b.yaml"]
    again = write_imported_spec(tuned(mood, f"ft:{mood.labels}"), FOLDER, "b", "job")
    assert again.path == FOLDER / "mood" / "b.yaml"


@pytest.mark.parametrize("stem", ["../../etc/passwd", "stars/prod: v2", "日本", "a" * 300, ""])
def test_names_from_a_service_never_leave_the_folder(task: lt.Task, stem: str) -> None:
    path = write_imported_spec(tuned(task), FOLDER, stem, "job ftjob-1").path
    assert path.parent == FOLDER
    assert read_spec(path).name
