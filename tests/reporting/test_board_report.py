from __future__ import annotations

import json
import os
import re
import resource
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from luthier.errors import DataError
from luthier.evaluation.leaderboard import Leaderboard
from luthier.reporting.board_report import board_page, board_sections
from luthier.reporting.html import fragment, page_text, write_page
from luthier.tasks.task import Rows, Task

Boards = Callable[..., tuple[Leaderboard, Rows]]

MARK = "document.documentElement.setAttribute('data-pwned','yes')"
HOSTILE = (
    f"</script><script>{MARK}</script>",
    f'<img src=x onerror="{MARK}">',
    f'--></style></title></textarea><svg onload="{MARK}">',
    f'"\'><iframe srcdoc="<script>parent.{MARK}</script>"></iframe>',
    "`${" + MARK + "}` {{ 7 * 7 }} {% raw %}",
    f'<a href="javascript:{MARK}">click</a><base href="http://127.0.0.1:9/">',
    "\u2028\u2029\u202eturned\x00null \ud800half",
    "]]><!--<script>",
)


def hostile_board(boards: Boards, url: str = "http://127.0.0.1:9") -> tuple[Leaderboard, Rows]:
    """A leaderboard where every string that can come from outside attacks the page."""
    calls_home = f'<img src="{url}/a"><link rel=stylesheet href="{url}/b"><script src="{url}/c"></script>'
    attacks = [*HOSTILE, calls_home]
    labels = [f'<img src=x onerror="{MARK}">', f"</script><script>{MARK}</script>", "plain"]
    task = Task("stars", type="rating", text="text", label="stars", labels=labels, raters=["ann"])
    board, rows = boards(task, [attacks[i % len(attacks)] for i in range(60)], raw="".join(attacks), error=attacks[1])
    entries = tuple(
        replace(
            entry,
            candidate=replace(
                entry.candidate,
                name=attacks[i] + str(i),
                model=attacks[i + 1],
                technique=attacks[0],
                notes=(calls_home,),
            ),
        )
        for i, entry in enumerate(board.entries)
    )
    names = {old.name: new.name for old, new in zip(board.entries, entries, strict=True)}
    pairs = tuple(replace(pair, first=names[pair.first], second=names[pair.second]) for pair in board.pairs)
    assert board.plan is not None
    plan = replace(board.plan, first=names[board.plan.first], second=names[board.plan.second])
    return replace(board, entries=entries, pairs=pairs, plan=plan), rows


@pytest.mark.slow
@pytest.mark.parametrize("policy", [True, False], ids=["with its policy", "by escaping alone"])
def test_hostile_texts_run_nothing_and_ask_nobody(
    boards: Boards, chromium: Any, tmp_path: Path, witness: tuple[str, list[str]], policy: bool
) -> None:
    url, asked = witness
    board, rows = hostile_board(boards, url)
    file = write_page(board_page(board, rows, examples=60), tmp_path / "page.html")
    if not policy:
        text = file.read_text("utf-8")
        bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
        assert bare != text
        file.write_text(bare, "utf-8")
    opened = chromium(file)
    assert 'data-drawn="yes"' in opened.document
    assert "data-pwned" not in opened.document.split(">", 2)[1]
    assert not asked
    assert not opened.console


@pytest.mark.slow
def test_the_browser_would_have_noticed(chromium: Any, tmp_path: Path, witness: tuple[str, list[str]]) -> None:
    url, asked = witness
    file = tmp_path / "bad.html"
    file.write_text(f"<!doctype html><html><body><img src='{url}/x'>{HOSTILE[1]}</body></html>")
    opened = chromium(file)
    assert "data-pwned" in opened.document.split(">", 2)[1]
    assert asked


@pytest.mark.slow
def test_the_page_opens_from_disk_and_draws_every_figure(
    boards: Boards, stars: Task, chromium: Any, tmp_path: Path
) -> None:
    board, rows = boards(stars, [f"text {i}" for i in range(100)])
    opened = chromium(write_page(board_page(board, rows), tmp_path / "page.html"))
    # Intervals and cost.
    assert opened.document.count('class="lu-plot"') >= 2
    assert opened.document.count('class="lu-confusion large"') == len(board.entries)
    assert not opened.console


@pytest.mark.slow
def test_a_notebook_cell_with_hostile_names_runs_nothing(boards: Boards, chromium: Any, tmp_path: Path) -> None:
    file = tmp_path / "cell.html"
    html = fragment(*board_sections(hostile_board(boards)[0]))
    file.write_bytes(f"<!doctype html><html><body>{html}</body></html>".encode("utf-8", "replace"))
    opened = chromium(file)
    assert "data-pwned" not in opened.document.split(">", 2)[1]
    assert "luthier-board" in opened.document


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def tags(html: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(html)
    return parser.found


def test_strangers_texts_bring_no_tag_and_no_attribute(boards: Boards, stars: Task) -> None:
    board, rows = hostile_board(boards)
    found = tags(page_text(board_page(board, rows, examples=60)))
    assert not {tag for tag, _ in found} & {"img", "iframe", "base", "link", "object", "form", "embed"}
    for _, attributes in found:
        assert not any(name.startswith("on") for name in attributes)
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")
    harmless = tags(page_text(board_page(*boards(stars, [f"text {i}" for i in range(60)]))))
    assert sum(tag == "script" for tag, _ in found) == sum(tag == "script" for tag, _ in harmless)


def test_the_notebook_cell_has_no_script_and_names_nothing_outside(boards: Boards) -> None:
    html = fragment(*board_sections(hostile_board(boards)[0]))
    found = tags(html)
    assert not {tag for tag, _ in found} & {"script", "img", "link", "iframe"}
    assert not any("href" in attributes or "src" in attributes for _, attributes in found)
    assert len(html) < 60_000


def test_the_page_says_what_the_terminal_says(boards: Boards, stars: Task) -> None:
    board, rows = boards(stars, [f"text {i}" for i in range(100)])
    html = page_text(board_page(board, rows))
    for words in (
        "cannot be told apart",
        "takes about",
        "always",
        "human raters",
        "is wrong on",
        "Quadratic weighted kappa",
    ):
        assert words in html
    assert html.count("text 0</blockquote>") <= len(board.entries)


def test_a_page_without_rows_has_everything_but_the_examples(board: Leaderboard) -> None:
    read = Leaderboard.from_document(json.loads(json.dumps(board.to_document())))
    html = page_text(board_page(read))
    assert "made without the rows" in html
    assert html.count("lu-confusion large") == len(board.entries)


def test_rows_of_another_table_are_refused(board: Leaderboard, boards: Boards, stars: Task) -> None:
    with pytest.raises(DataError, match="not the rows"):
        page_text(board_page(board, boards(stars, ["other"] * 5)[1]))


def test_the_page_is_written_whole_or_not_at_all(board: Leaderboard, tmp_path: Path) -> None:
    file = tmp_path / "new" / "page.html"
    write_page(board_page(board), file)
    before = file.read_bytes()
    umask = os.umask(0)
    os.umask(umask)
    assert file.stat().st_mode & 0o777 == 0o666 & ~umask

    before_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before_limit[1]))
    try:
        with pytest.raises(DataError, match="cannot write"):
            write_page(board_page(board), file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before_limit)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["page.html"]


def test_a_place_that_cannot_be_written_is_said(board: Leaderboard, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot write"):
        write_page(board_page(board), tmp_path / "file" / "page.html")


def test_one_spec_two_labels_and_no_probabilities_make_a_page_and_a_cell(boards: Boards) -> None:
    task = Task("mood", label="mood", labels=["bad", "good"])
    board, rows = boards(task, ["a", "b", "c"], names=["one"], scores=None, cost_usd=None, latency_seconds=None)
    html = page_text(board_page(board, rows))
    assert "Calibration</bdi></h2>" not in html
    assert "Pairs</bdi></h2>" not in html
    assert "$ / 1,000" not in fragment(*board_sections(board))


@pytest.mark.slow
def test_255_labels_make_a_page_of_bearable_size(boards: Boards) -> None:
    task = Task("code", type="rating", label="code", labels=list(range(255)))
    board, rows = boards(task, [f"t{i}" for i in range(300)], names=["one", "two"])
    assert len(page_text(board_page(board, rows))) < 20_000_000


@pytest.mark.skipif(
    not (Path(__file__).parents[3] / "shared" / "data" / "yelp").is_dir(), reason="the Yelp tables are not here"
)
def test_real_reviews_are_on_the_page_word_for_word(boards: Boards, stars: Task, yelp: Path) -> None:
    import html

    import pandas as pd

    texts = [text for text in pd.read_csv(yelp / "test.csv")["text"] if len(text) < 500][:100]
    board, rows = boards(stars, texts)
    page = html.unescape(page_text(board_page(board, rows, examples=100)))
    assert sum(text in page for text in texts) > 50
