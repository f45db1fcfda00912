"""luthier try: one row and the end, and a terminal that goes on asking whatever is mistyped."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import luthier as lt
from luthier_local import LocalServer
from tests.cli.conftest import Run, run
from tests.conftest import priced, reviews, stars
from tests.patience import PATIENCE_SECONDS

__all__ = ["run"]

SUPERB = "The soup was great wonderful amazing"


@pytest.fixture
def spec(server: LocalServer, tmp_path: Path) -> Path:
    """A spec file that asks the server, and `rows.csv` beside it."""
    reviews(20).to_csv(tmp_path / "rows.csv", index=False)
    made = lt.Prompt(stars(), "Stars for: {{ text }}", answer="score", endpoint=priced(server), name="words")
    (tmp_path / "words.yaml").write_text(yaml.safe_dump(made.document()))
    return tmp_path / "words.yaml"


def test_one_text_is_asked_and_shown(run: Run, spec: Path) -> None:
    ended = run("try", spec, "--text", SUPERB, "--yes")
    assert ended.code == 0, ended.err
    assert f"[user] Stars for: {SUPERB}" in ended.out and "stars-model answered" in ended.out
    assert re.search(r"^stars-model +5 +\d+ +1 +0\.\d+ .* now$", ended.out, re.MULTILINE)
    assert "1 call, about" in ended.err and "spent so far: $0.0" in ended.out


def test_json_has_what_was_sent_and_what_came_back(run: Run, spec: Path, tmp_path: Path) -> None:
    edited = ("--template", "Rating of: {{ text }}", "--save", tmp_path / "new.yaml")
    ended = run("try", spec, "--rows", tmp_path / "rows.csv", "--row", 2, "--yes", "--json", *edited)
    document = json.loads(ended.out)
    assert document["row"] == 2 and document["truth"] == str(reviews(20)["stars"][1])
    assert [one["wording"] for one in document["answers"]] == ["before", "after"]
    for one in document["answers"]:
        assert one["sent"][-1]["role"] == "user" and reviews(20)["text"][1] in one["sent"][-1]["text"]
        assert one["probabilities"].keys() == {"1", "2", "3", "4", "5"} and one["cost_usd"] > 0
        assert one["calls"][0]["body"]["max_tokens"] == 1
    assert document["spent_usd"] > 0 and lt.read_spec(document["saved"]).name == "new"


def test_a_dry_run_sends_nothing(run: Run, spec: Path, server: LocalServer) -> None:
    ended = run("try", spec, "--text", SUPERB, "--dry-run", "--json")
    assert ended.code == 0 and json.loads(ended.out)["calls"]["high"] == 1
    assert "nothing was sent" in ended.err and not server.received.requests


def test_an_unknown_price_is_not_agreed_to_without_a_terminal(run: Run, spec: Path) -> None:
    document = yaml.safe_load(spec.read_text())
    del document["endpoint"]["price"]
    spec.write_text(yaml.safe_dump(document))
    ended = run("try", spec, "--text", SUPERB)
    assert ended.code == 2 and "--yes" in ended.err
    assert "unknown" in run("try", spec, "--text", SUPERB, "--yes").out


def test_without_a_terminal_a_row_must_be_named_or_there_is_a_table(run: Run, spec: Path, tmp_path: Path) -> None:
    ended = run("try", spec)
    assert ended.code == 2 and "--text" in ended.err
    assert "row 1: " in run("try", spec, "--rows", tmp_path / "rows.csv", "--yes").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--row", "3"), "--rows"),
        (("--text", "a", "--rows", "rows.csv", "--row", "1"), "not both"),
        (("--rows", "rows.csv", "--row", "21"), "no row 21"),
        (("--text", "a", "--template", "{{ text"), "template"),
        (("--text", "a", "--template", "{{ chef }}"), "chef"),
        (("--text", "a", "--edit", "missing.txt"), "missing.txt"),
        (("--text", "a", "--template", "{{ text }}", "--edit", "rows.csv"), "not both"),
        (("--text", "a", "--model", "no-such-model"), "no-such-model"),
        (("--text", "a", "--save", "words.yaml", "--template", "{{ text }}"), "something else"),
    ],
)
def test_a_mistake_is_one_plain_line(run: Run, spec: Path, words: tuple[str, ...], said: str) -> None:
    before = spec.read_text()
    ended = run("try", spec, *words, "--yes")
    assert ended.code == 2 and said in ended.err and "Traceback" not in ended.err
    assert spec.read_text() == before


def test_a_file_that_cannot_be_saved_to_is_refused_before_anything_is_sent(
    run: Run, spec: Path, server: LocalServer
) -> None:
    ended = run("try", spec, "--text", SUPERB, "--template", "{{ text }}", "--save", "nowhere/new.yaml", "--yes")
    assert ended.code == 2 and "nowhere" in ended.err and not server.received.requests


def test_the_key_is_never_shown(run: Run, spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STARS_KEY")
    ended = run("try", spec, "--text", SUPERB, "--yes")
    assert ended.code == 2 and "STARS_KEY" in ended.err


class Terminal:
    """A command in a terminal of its own: lines are typed, and what it shows is read up to its next prompt."""

    def __init__(self, *words: object, **variables: str) -> None:
        self.screen, behind = pty.openpty()
        command = [sys.executable, "-m", "luthier", *map(str, words)]
        environment = {**os.environ, "TERM": "dumb", "COLUMNS": "100", **variables}
        self.process = subprocess.Popen(
            command,
            stdin=behind,
            stdout=behind,
            stderr=behind,
            env=environment,
            # A terminal of its own, so that Ctrl-C is a signal to it and to nothing else.
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(behind)

    def read(self, until: str = "try> ", seconds: float = PATIENCE_SECONDS) -> str:
        """What is shown up to the prompt; up to the end where `until` is empty."""
        shown, deadline = b"", time.monotonic() + seconds
        while time.monotonic() < deadline and not (until and shown.decode(errors="replace").endswith(until)):
            if select.select([self.screen], [], [], 0.1)[0]:
                try:
                    shown += os.read(self.screen, 65536)
                except OSError:  # what the other side closed
                    break
        text = shown.decode(errors="replace").replace("\r\n", "\n")
        assert not until or text.endswith(until), text
        return text

    def type(self, line: str, until: str = "try> ") -> str:
        os.write(self.screen, line.encode() + b"\n")
        return self.read(until)

    def leave(self, key: bytes) -> int:
        os.write(self.screen, key)
        return self.process.wait(PATIENCE_SECONDS)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    """Those that a test opened; closed at its end."""
    opened: list[Terminal] = []
    yield opened
    for one in opened:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        os.close(one.screen)


@pytest.mark.slow
def test_in_a_terminal_rows_are_asked_edited_and_saved(spec: Path, terminals: list[Terminal], tmp_path: Path) -> None:
    terminals.append(terminal := Terminal("try", spec, "--rows", tmp_path / "rows.csv"))
    assert "20 rows" in terminal.read()
    assert "now" in (first := terminal.type(SUPERB)) and "1 call, about" in first
    assert "1 call, about" not in (following := terminal.type(":next")) and "row 1: " in following
    assert "row 3: " in terminal.type(":row 3")
    both = terminal.type(r":edit Rating of: {{ text }}\nStars:")
    assert "+ Rating of: {{ text }}" in both and "+ Stars:" in both and "after answered" in both
    assert re.search(r"^before .* from the journal$", both, re.MULTILINE)
    for mistake in (
        ":edit {{ text",
        ":edit {{ chef }}",
        ":row 99",
        ":row x",
        ":jump",
        ":model no-such",
        ":save",
        ":show x",
    ):
        said = terminal.type(mistake)
        assert ("Traceback" not in said and "luthier: " in said) or mistake == ":show x", said
    assert "written: new.yaml" in terminal.type(":save new.yaml")
    assert terminal.leave(b"\x04") == 0
    saved = lt.read_spec(tmp_path / "new.yaml")
    assert isinstance(saved, lt.Prompt) and saved.prompt.template == "Rating of: {{ text }}\nStars:"


@pytest.mark.slow
def test_an_editor_changes_the_template_and_a_pasted_text_is_one_text(
    spec: Path, terminals: list[Terminal], tmp_path: Path
) -> None:
    editor = tmp_path / "editor.py"
    editor.write_text("import sys, pathlib\nf = pathlib.Path(sys.argv[1])\nf.write_text('Now: ' + f.read_text())\n")
    terminals.append(terminal := Terminal("try", spec, EDITOR=f"{sys.executable} {editor}", VISUAL=""))
    terminal.read()
    shown = terminal.type("first line\nsecond line\nthird line")
    assert "[user] Stars for: first line\n  second line\n  third line" in shown
    assert shown.count("stars-model answered") == 1
    edited = terminal.type(":edit")
    assert "+ Now: Stars for: {{ text }}" in edited
    assert "nothing would change" in terminal.type(":system -")
    assert "before answered" not in terminal.type(":undo") and "after" not in terminal.type(":again")
    terminal.type(":system Be brief.")
    # A signal that comes just as Python begins to wait for a line is lost to it; a person presses the keys again.
    last = ""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while terminal.process.poll() is None:
        assert time.monotonic() < deadline, last
        os.write(terminal.screen, b"\x03")
        os.write(terminal.screen, b"\n")
        last += terminal.read("", seconds=5)
    assert "is in no file" in last
    assert "Be brief." in last
    assert terminal.process.wait(PATIENCE_SECONDS) == 0
