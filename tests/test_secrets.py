"""A planted key is found nowhere: not in a file that was written, not in anything that was said."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import zlib
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pytest

from luthier.cli.main import main
from luthier_local import Fault, LocalServer, ModelCard
from tests.conftest import KEY
from tests.patience import PATIENCE_SECONDS
from tests.scripted_server import Refused, serving

pytestmark = [pytest.mark.usefixtures("store"), pytest.mark.slow]


BARE = KEY.removeprefix("sk-")
ESCAPED = "".join(f"\\u{ord(character):04x}" for character in KEY)
SPELLINGS = (KEY, BARE, ESCAPED, ESCAPED.replace("\\", "\\\\"), quote(KEY).replace("-", "%2D"))
"""The key, a part of it, and spellings that a reader of JSON or of addresses turns into it."""


def echoing(sent: bytes) -> str:
    """An upstream that repeats the key in every spelling: in an answer, in an error, and as its model's name."""
    asked = sent.decode()
    if "visit 7" in asked:
        raise Refused(400, f'{{"error": {{"message": "bad key {ESCAPED}", "code": "{KEY}"}}}}')
    if "visit 8" in asked:
        raise Refused(400, f"<html>key {''.join(f'&#{ord(character)};' for character in KEY)}</html>")
    content = f"4 \\\\u0073k-{BARE}" if "visit 9" in asked else f"4 {ESCAPED} and {quote(KEY).replace('-', '%2D')}"
    return (
        f'{{"model": "m-{ESCAPED}", "choices": [{{"message": {{"content": "{content}"}}, "finish_reason": "stop"}}], '
        '"usage": {"prompt_tokens": 9, "completion_tokens": 3}}'
    )


def typed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command says that is run in this process: others load MLflow for each."""
    with pytest.MonkeyPatch.context() as here, pytest.raises(SystemExit):
        here.setattr(sys, "argv", ["luthier", *words])
        main()
    said, more = capsys.readouterr()
    return said + more


def in_a_process(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "luthier.cli.main", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def unpacked(cell: object) -> object:
    """A cell as it was before it was packed."""
    if isinstance(cell, bytes):
        with contextlib.suppress(zlib.error):
            return zlib.decompress(cell)
    return cell


def test_no_byte_on_disk_and_no_word_said_holds_the_key(
    server: LocalServer, table: pd.DataFrame, train: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    luthier = partial(typed, capsys)
    # A service that repeats the key in its errors is the worst case.
    server.faults.add(Fault("status", status=400, message=f"bad request with key {KEY}", contains="visit 7"))
    table.to_csv("test.csv", index=False)
    train.to_csv("train.csv", index=False)
    Path("task.yaml").write_text("name: stars\ntype: rating\nlabel: stars\nlabels: [1, 2, 3, 4, 5]\n")
    Path("zero.yaml").write_text(
        'technique: prompt\nprompt: {template: "Stars for: {{ text }}"}\nanswer: {method: score}\n'
        f"endpoint: {{provider: compatible, base_url: '{server.base_url}', model: stars-model, api_key_env: STARS_KEY, "
        "price: {input_usd_per_million: 1, output_usd_per_million: 2}}\n"
    )
    server.put_model(ModelCard("embedder", embeddings=True))
    endpoint = f"endpoint: {{provider: compatible, base_url: '{server.base_url}', api_key_env: STARS_KEY, model: "
    price = ", price: {input_usd_per_million: 1, output_usd_per_million: 2}}\n"
    Path("near.yaml").write_text(f"technique: embedding\n{endpoint}embedder{price}")
    Path("decided.yaml").write_text(f"technique: decision\n{endpoint}stars-model{price}")
    with serving(200, echoing) as echo:
        Path("echo.yaml").write_text(
            'technique: prompt\nprompt: {template: "Stars for: {{ text }}"}\nanswer: {method: text}\n'
            f"endpoint: {{provider: compatible, base_url: '{echo}', model: m, api_key_env: STARS_KEY}}\n"
        )
        echoed = [
            in_a_process("compare", "echo.yaml", "--test", "test.csv", "--yes"),
            luthier("log", "echo.yaml", "--register", "echo", "--alias", "champion"),
            luthier("score", "models:/echo@champion", "test.csv", "echo.csv", "--yes"),
        ]
    assert "[key]" in Path("echo.csv").read_text(), echoed
    said = [
        *echoed,
        luthier("check", "zero.yaml", "near.yaml", "decided.yaml"),
        luthier("compare", "near.yaml", "decided.yaml", "--test", "test.csv", "--train", "train.csv", "--yes"),
        luthier("fit", "near.yaml", "--train", "train.csv", "--to", "fitted", "--yes"),
        luthier("log", "near.yaml", "--train", "train.csv", "--yes"),
        luthier("compare", "zero.yaml", "--test", "test.csv", "--yes"),
        luthier("log", "zero.yaml", "--register", "stars", "--alias", "champion"),
        in_a_process("score", "models:/stars@champion", "test.csv", "out.csv", "--yes"),
        luthier("compare", "zero.yaml", "--test", "missing.csv"),
    ]
    assert Path("out.csv").exists() and Path("fitted/spec.yaml").exists(), said
    assert not any(spelling in "".join(said) for spelling in SPELLINGS)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "journal.db" for path in files)
    holding = [
        str(path.relative_to(tmp_path))
        for path in files
        if any(spelling.encode() in path.read_bytes() for spelling in SPELLINGS)
    ]
    assert holding == []
    # The journal packs large answers, so its rows are read back too.
    with sqlite3.connect(tmp_path / "home" / "journal.db") as journal:
        rows = journal.execute("SELECT * FROM answers").fetchall()
    assert rows
    read = [repr([unpacked(cell) for cell in row]) for row in rows]
    assert not [row for row in read if any(spelling in row for spelling in SPELLINGS)]
