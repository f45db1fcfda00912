"""What `luthier try` does in a terminal: a text asks it, a command begins with a colon; mistakes are said in a line."""

from __future__ import annotations

import os
import re
import select
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from luthier.cli.spending import agree_to
from luthier.errors import Interrupted, LuthierError, UserError
from luthier.terminals import visible

if TYPE_CHECKING:
    from luthier.api import TryOut
    from luthier.endpoints import Engine

__all__ = ["TryLoop"]

HELP = """\
a text            ask it (one that begins with a colon: put a space before it)
:row N            ask row N of the table given with --rows
:next             ask the next row of the table
:again            ask the same row again
:edit [TEXT]      change the template: in $EDITOR, or to TEXT (\\n is a line break); then both wordings are asked
:system [TEXT]    the same for the system turn; :system - takes it out
:keep             go on with the new wording alone
:undo             go back to the wording before the edit
:model [NAME...]  ask these models side by side; without a name the spec's own
:show             show the last prompts and answers whole
:save FILE [NAME] write the spec as it is now; NAME where several models are asked
:quit             leave, as Ctrl-D does"""

PASTE_SECONDS = 0.05
"""Lines that are there within so many seconds were pasted with the one before, and belong to the same text."""


class TryLoop:
    """Reads lines from the terminal until it ends.

    Args:
        trial: what is asked and edited.
        engine: asks the models; a signal while it does ends the call, not the loop.
        yes: whether prices are agreed to without asking.
        whole: whether long prompts and answers are shown whole.
    """

    def __init__(self, trial: TryOut, engine: Engine, *, yes: bool = False, whole: bool = False) -> None:
        self._trial, self._engine, self._yes, self._whole = trial, engine, yes, whole
        self._place = 0
        self._commands: dict[str, Callable[[str], None]] = {
            "row": self._row,
            "next": self._next,
            "again": lambda _: self._ask(None),
            "edit": self._edit,
            "system": self._system,
            "keep": lambda _: self._trial.keep(),
            "undo": lambda _: self._trial.undo(),
            "model": self._model,
            "show": self._show,
            "save": self._save,
            "help": lambda _: print(HELP),
        }

    def run(self) -> None:
        """Asks until the person leaves."""
        _line_editing()
        about = f", {self._trial.row_count:,} rows (:row N, :next)" if self._trial.row_count else ""
        print(visible(f"{', '.join(one.base_model for one in self._trial.specs)}{about}"))
        print("Type a text to ask it, :edit to change the template, :help for all commands, :quit to leave.")
        while True:
            try:
                line = self._read()
            except (EOFError, KeyboardInterrupt):
                print()
                self._leave()
                return
            except UnicodeDecodeError as error:
                self._say(f"the terminal sent what is no {error.encoding}; type it again.")
                continue
            found = re.fullmatch(r":([a-z]+)(?:\s+(.*))?", line, re.DOTALL)
            if found and found[1] in ("quit", "q", "exit"):
                self._leave()
                return
            try:
                if found:
                    self._command(found[1], (found[2] or "").strip())
                elif line.strip():
                    self._ask(line.strip())
            except Interrupted:
                self._say("stopped; what was answered is kept.")
            except LuthierError as error:
                # A mistake ends a command, and here the line that it is in.
                self._say(str(error))
            except (typer.Exit, typer.Abort, KeyboardInterrupt):
                self._say("not asked.")

    def _leave(self) -> None:
        if self._trial.unsaved:
            print(visible(f"The edited prompt is in no file. It was:\n{self._trial.unsaved}"))

    def _read(self) -> str:
        line = input("try> ")
        # Where the terminal marks no pastes, each line of a pasted text would be asked, and paid, alone.
        while line.strip() and not line.startswith(":") and _more_waits():
            line += "\n" + input()
        return line

    def _command(self, name: str, given: str) -> None:
        command = self._commands.get(name)
        if command is None:
            raise UserError(f"no command :{name}; :help lists them. To ask it as a text, put a space before it.")
        command(given)

    def _ask(self, row: str | int | None) -> None:
        from luthier.endpoints import draining

        plan = self._trial.price_to_show(row)
        if plan is not None:
            agree_to(plan, yes=self._yes, dry_run=False)
            self._trial.agree_to(plan)
        with draining(self._engine):
            tried = self._trial.ask(row)
        print()
        print(tried.whole() if self._whole else tried)
        print()

    def _row(self, given: str) -> None:
        if not given.isdecimal():
            raise UserError(f"give the number of a row, as in :row 3; given: {given!r}.")
        self._ask(int(given))
        self._place = int(given)

    def _next(self, given: str) -> None:
        self._ask(self._place + 1)
        self._place += 1

    def _edit(self, given: str) -> None:
        self._reword(template=self._worded(given, self._trial.wording["template"], "template"))

    def _system(self, given: str) -> None:
        now = self._trial.wording["system"]
        self._reword(system="" if given == "-" else self._worded(given, now, "system turn"))

    def _reword(self, **given: str) -> None:
        self._trial.reword(**given)
        if self._trial.last is not None:
            self._ask(None)
        else:
            print(visible(self._trial.diff))

    def _worded(self, given: str, now: str, what: str) -> str:
        """The new text: what was typed after the command, else what an editor or a line gives."""
        editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
        if not given and editor:
            return _edited(editor, now)
        if not given:
            print(visible(f"now: {now}"))
            given = input(f"new {what}, \\n is a line break: ").strip()
            if not given:
                raise UserError(f"the {what} stays as it is.")
        return given.replace("\\n", "\n")

    def _model(self, given: str) -> None:
        self._trial.use(*given.replace(",", " ").split())
        if self._trial.last is not None:
            self._ask(None)
        else:
            print(visible(f"asked from now on: {', '.join(self._trial.models)}"))

    def _show(self, given: str) -> None:
        if self._trial.last is None:
            raise UserError("nothing was asked yet.")
        print(self._trial.last.whole())

    def _save(self, given: str) -> None:
        try:
            words = shlex.split(given)
        except ValueError as error:
            raise UserError(f"{given!r} is no file name: {error}.") from error
        if not 1 <= len(words) <= 2:
            raise UserError("give a file, as in :save models/new.yaml.")
        print(visible(f"written: {self._trial.save(*words)}"))

    def _say(self, text: str) -> None:
        print(visible(f"luthier: {text}"), file=sys.stderr)


def _edited(editor: str, text: str) -> str:
    """What a person makes of a text in an editor of theirs."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "template.jinja"
        file.write_text(text + "\n", encoding="utf-8")
        try:
            ended = subprocess.run([*shlex.split(editor), str(file)], check=False)
        except (OSError, ValueError) as error:
            raise UserError(f"the editor {editor!r} could not be started: {error}. Set EDITOR.") from error
        if ended.returncode:
            raise UserError(f"the editor {editor!r} ended with {ended.returncode}; the text stays as it is.")
        try:
            # Editors end a file with a line break, which no one typed.
            return file.read_text(encoding="utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"what the editor wrote cannot be read: {error}.") from error


def _more_waits() -> bool:
    try:
        return bool(select.select([sys.stdin], [], [], PASTE_SECONDS)[0])
    except OSError:  # Windows asks sockets only
        return False


def _line_editing() -> None:
    try:
        import readline  # noqa: F401  # `input` uses it once it is there
    except ImportError:
        return
