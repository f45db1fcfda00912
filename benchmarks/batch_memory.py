"""Does `luthier score` hold its memory and its journal in bounds: peak memory and journal size by rows of the table.

    python benchmarks/batch_memory.py [--rows 10000 100000 1000000]

Every table is scored by the command in a process of its own, from csv to csv, with a journal of its own on disk; no two
rows are alike. The upstream answers after 5 ms from another process, 64 requests are in flight. Peak memory is what the
system counted for the process (`ru_maxrss`). Then the same is scored again into another file: nothing is asked, every
answer is read from the journal. A million rows take about 15 minutes on two cores.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import upstream

PREPARE = f"""
import sys, luthier as lt
from luthier.endpoints import Endpoint, Limits, Price
endpoint = Endpoint(
    provider="compatible", model="{upstream.MODEL}", base_url=sys.argv[1], limits=Limits(concurrency=64),
    price=Price(input_usd_per_million=0.15, output_usd_per_million=0.6),
)
task = lt.Task("stars", labels=["1", "2", "3", "4", "5"])
lt.log(lt.Prompt(task, "Stars from 1 to 5 for: {{{{ text }}}}", endpoint=endpoint), register="stars", alias="champion")
"""


def write_table(path: Path, rows: int) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        writer.writerows(
            (number, f"Review {number}: the soup was cold, the waiter kind, and we stayed late.")
            for number in range(rows)
        )


def measured(arguments: list[str], environment: dict[str, str]) -> tuple[float, float, float]:
    """Runs a program; returns its peak memory in MB, seconds, and CPU seconds."""
    started = time.monotonic()
    log = os.open(environment["LUTHIER_HOME"] + ".log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    told = [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
    process = os.posix_spawn(arguments[0], arguments, environment, file_actions=told)
    os.close(log)
    _, status, used = os.wait4(process, 0)
    if os.waitstatus_to_exitcode(status):
        sys.exit(Path(environment["LUTHIER_HOME"] + ".log").read_text()[-3000:])
    # In kilobytes on Linux, in bytes on macOS.
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return used.ru_maxrss / unit, time.monotonic() - started, used.ru_utime + used.ru_stime


def score(rows: int, url: str, folder: Path) -> dict[str, float]:
    home = folder / f"home-{rows}"
    environment = {
        **os.environ,
        "LUTHIER_HOME": str(home),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow-{rows}.db",
    }
    os.chdir(folder)
    measured([sys.executable, "-c", PREPARE, url], environment)
    table = folder / f"in-{rows}.csv"
    write_table(table, rows)
    command = [sys.executable, "-m", "luthier.cli.main", "score", "--yes", "models:/stars@champion", str(table)]
    peak, seconds, cpu = measured([*command, str(folder / "out.csv")], environment)
    again, again_seconds, _ = measured([*command, str(folder / "again.csv")], environment)
    assert (folder / "out.csv").read_bytes() == (folder / "again.csv").read_bytes()
    journal = sum(file.stat().st_size for file in home.glob("journal.db*"))
    for left in (table, folder / "out.csv", folder / "again.csv", *home.glob("journal.db*")):
        left.unlink()
    return {
        "rows": rows,
        "peak_mb": peak,
        "rows_a_second": rows / seconds,
        "cpu_ms_a_row": 1000 * cpu / rows,
        "again_peak_mb": again,
        "again_rows_a_second": rows / again_seconds,
        "journal_bytes_a_row": journal / rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    given = parser.parse_args()
    figures: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder, upstream.running(0.005) as url:
        print("| rows | peak MB | rows/s | CPU ms a row | again: peak MB | again: rows/s | journal bytes a row |")
        print("|---|---|---|---|---|---|---|")
        for rows in given.rows:
            figures.append(found := score(rows, url, Path(folder)))
            print(
                f"| {rows:,} | {found['peak_mb']:.0f} | {found['rows_a_second']:,.0f} | {found['cpu_ms_a_row']:.2f} | "
                f"{found['again_peak_mb']:.0f} | {found['again_rows_a_second']:,.0f} | "
                f"{found['journal_bytes_a_row']:.0f} |",
                flush=True,
            )
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
