from __future__ import annotations

from luthier.tables import Record, RowsDigest

ROWS: list[Record] = [
    {"id": f"{n:03}", "text": None if n % 7 == 0 else f"text {n} 🙂", "stars": n / 3} for n in range(50)
]


def digest(*chunks: list[Record]) -> str:
    found = RowsDigest()
    for chunk in chunks:
        found.update(chunk)
    return found.hexdigest


def test_the_digest_does_not_depend_on_how_a_table_is_cut() -> None:
    assert digest(ROWS) == digest(ROWS[:1], [], ROWS[1:20], ROWS[20:])


def test_a_changed_cell_another_order_and_another_name_of_a_column_are_told_apart() -> None:
    changed = [{**ROWS[0], "text": ""}, *ROWS[1:]]
    renamed = [{"review" if name == "text" else name: cell for name, cell in row.items()} for row in ROWS]
    assert len({digest(ROWS), digest(changed), digest(ROWS[::-1]), digest(renamed), digest(ROWS[:-1])}) == 5


def test_half_of_a_surrogate_pair_has_a_digest_too() -> None:
    assert len(digest([{"text": "\ud83d"}])) == 64
