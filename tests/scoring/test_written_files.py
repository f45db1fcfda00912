"""Which outputs a score may replace."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import luthier as lt
from luthier.scoring.written_files import check_claim, claim
from luthier.spec import Fitted


def test_scores_that_end_at_the_same_time_may_all_be_run_again(task: lt.Task) -> None:
    fitted = Fitted(spec=lt.Baseline(task, name="b"))
    names = [f"{number}.csv" for number in range(24)]
    for name in names:
        Path(name).write_text("text\n")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: claim(fitted, "in.csv", name), names))
    for name in names:
        check_claim(fitted, "in.csv", name)
