from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from luthier.evaluation.leaderboard import Leaderboard
from luthier.evaluation.ranking import build_leaderboard
from luthier.reporting.board_report import board_sections
from luthier.reporting.board_sentences import sentences
from luthier.reporting.short_names import short_names
from luthier.reporting.terminal import show
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task
from tests.evaluation.answering import candidate, table

Boards = Callable[..., tuple[Leaderboard, Rows]]


def printed(board: Leaderboard, width: int = 80, encoding: str = "utf-8", *, terminal: bool = False) -> str:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    console = Console(file=out, width=width, force_terminal=terminal, legacy_windows=False)
    show(*board_sections(board), console=console)
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("width", [80, 120, 160])
def test_every_line_fits_and_no_number_is_cut(board: Leaderboard, width: int) -> None:
    text = printed(board, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for entry in board.entries:
        assert entry.name in text
        assert f"{entry.metrics['qwk'].value:.2f}".replace("0.", ".") in text
        assert "technique" in text or width == 80


def test_names_of_many_tied_specs_get_the_room_of_a_metric(board: Leaderboard) -> None:
    def tied(letters: str) -> str:
        return printed(replace(board, entries=tuple(replace(entry, group=letters) for entry in board.entries)))

    assert "accuracy" in tied("a").splitlines()[1]
    assert "accuracy" not in tied("abcdefgh").splitlines()[1]


def test_the_majority_and_the_people_stand_beneath_without_a_rank(board: Leaderboard) -> None:
    lines = printed(board, 120).splitlines()
    places = [next(i for i, line in enumerate(lines) if name in line) for name in ("weak", "always", "human raters")]
    assert places == sorted(places)
    assert not lines[places[1]].split("always")[0].strip()


def test_what_is_no_terminal_gets_no_colours(board: Leaderboard) -> None:
    assert "\x1b" not in printed(board)
    assert "\x1b" in printed(board, terminal=True)


def test_lines_of_a_log_file_end_with_their_last_word(board: Leaderboard) -> None:
    assert [line for line in printed(board).split("\n") if line != line.rstrip()] == []


def test_an_ascii_terminal_gets_ascii(board: Leaderboard) -> None:
    assert "QWK" in printed(board, encoding="ascii")
    assert "?" not in printed(board, encoding="ascii")


def test_rates_are_shown_only_where_a_row_was_lost(board: Leaderboard, stars: Task, boards: Boards) -> None:
    assert "lost" in printed(board)
    assert "refused" in printed(board)
    clean = boards(stars, [f"t{i}" for i in range(50)], names=["one"])[0]
    assert "lost" not in printed(clean)


def test_what_a_failed_row_was_told_is_said(stars: Task) -> None:
    told = [Prediction(None, "failed", error=f"status {status}: no such thing") for status in (400, 400, 413)]
    rows = table(stars, ["1", "2", "3", "4"])
    board = build_leaderboard(stars, rows, [candidate("one", [*told, Prediction("4", "ok")])], resamples=50)
    [said] = [line for line in sentences(board) if "no label for" in line]
    assert said.endswith("count as wrong. The most frequent error: status 400: no such thing")


def test_what_cannot_be_told_apart_is_said_with_the_rows_it_would_take(board: Leaderboard) -> None:
    said = " ".join(sentences(board))
    assert "cannot be told apart from" in said
    assert "takes about" in said
    assert "80% power" in said
    assert "better than “always" in said


def test_a_rare_label_is_named_where_the_ranking_is_a_mean_over_labels(stars: Task) -> None:
    rows = table(stars, ["1"] * 30 + ["2"] * 30 + ["3"] * 30 + ["4"] * 30 + ["5"] * 2)
    specs = [candidate("one", [Prediction(label, "ok") for label in rows.labels])]
    macro = build_leaderboard(stars, rows, specs, rank_by="macro_f1", resamples=50)
    usual = build_leaderboard(stars, rows, specs, resamples=50)
    assert "Fewer than 5 test rows have the label 5" in " ".join(sentences(macro))
    assert "Fewer than 5" not in " ".join(sentences(usual))


def test_one_spec_alone_has_no_ties(stars: Task, boards: Boards) -> None:
    text = printed(boards(stars, [f"t{i}" for i in range(50)], names=["one"])[0], 120)
    assert "tie" not in text
    assert "told apart" not in text


def test_a_clear_winner_is_said_to_be_one(stars: Task, boards: Boards) -> None:
    board = boards(stars, [f"t{i}" for i in range(200)], names=["one", "two"])[0]
    weak = replace(board.entries[1].candidate, predictions=(Prediction("3", "ok"),) * 200, name="constant")
    rows = Rows(
        tuple({"text": f"t{i}"} for i in range(200)),
        tuple("12345"[line] for line, cells in enumerate(board.best.plots.confusion) for _ in range(sum(cells))),
        "text",
    )
    strong = replace(weak, name="perfect", predictions=tuple(Prediction(label, "ok") for label in rows.labels))
    said = sentences(build_leaderboard(stars, rows, [weak, strong]))
    assert said[0].startswith("perfect leads with QWK 1.00")
    assert said[1] == "It is better than constant."
    assert not any("takes about" in line for line in said)


def test_a_partial_board_says_so_first_and_how_to_go_on(stars: Task, boards: Boards) -> None:
    board = replace(boards(stars, ["a", "b"], names=["one"])[0], partial=True)
    assert sentences(board)[0].startswith("This leaderboard is partial")
    assert "Run the same command again" in sentences(board)[0]


def test_names_cannot_command_the_terminal(stars: Task, boards: Boards) -> None:
    board = boards(stars, [f"t{i}" for i in range(50)], names=["one"])[0]
    evil = replace(board.best.candidate, name="[red]a\x1b[2Jb\u202ec\nd", notes=("\x1b]0;title\x07",))
    changed = replace(board, entries=(replace(board.best, candidate=evil),))
    text = printed(changed, 140)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[red]a[2Jbc d" in text


@pytest.mark.parametrize("width", [80, 100])
def test_long_names_are_shortened_alike_in_the_table_and_beneath_it(stars: Task, boards: Boards, width: int) -> None:
    names = [f"customer-reviews-few-shot-a-large-model-2024-07-18-{n}-examples-random" for n in (4, 8, 16)]
    board = boards(stars, [f"t{i}" for i in range(60)], names=[*names, "baseline"])[0]
    text = printed(board, width)
    assert not any(name in text for name in names)
    shown = short_names(names)
    assert f"{shown.get(board.best.name, board.best.name)} leads with" in " ".join(text.split())
    assert all(short[:20] in text.split("- ")[0] for short in shown.values())
    assert "a wider terminal" in text


def test_a_terminal_with_room_has_long_names_whole(stars: Task, boards: Boards) -> None:
    name = "customer-reviews-few-shot-a-large-model-2024-07-18-4-examples-random"
    assert name in printed(boards(stars, [f"t{i}" for i in range(60)], names=[name])[0], 220)
