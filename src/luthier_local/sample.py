"""The sample table: sentences of Amazon reviews, each rated by 20 people.

From the VADER release (Hutto & Gilbert, ICWSM 2014; MIT), which its sdist carries as two files: texts
with mean ratings, and the raters' ratings. Both have 3,708 rows. They are joined by id once the byte
order mark before the first id is stripped: every id has its partner, although 21 lines stand in another
order, and both files give the same mean. 11 sentences that repeat an earlier one word for word (case and
outer blanks aside) are dropped, so 3,697 rows of 300 reviews remain. Raters are anonymous: `rater_03` of
two rows need not be the same person.
"""

from __future__ import annotations

import ast
import hashlib
import io
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.errors import DataError
from luthier.outputs import check_file, write_file
from luthier_local.fetch import Distribution, fetch

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RATERS", "SAMPLE", "sample_frame", "sample_splits", "write_sample"]

RATERS = 20

SAMPLE = Distribution(
    name="vaderSentiment",
    version="3.3.2",
    sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    kind="sdist",
    megabytes=2.5,
    members={
        "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz": "hutto_icwsm_2014.tar.gz",
        "vaderSentiment-3.3.2/LICENSE.txt": "LICENSE.txt",
    },
    what="the sample reviews",
)

_TEXTS = "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt"
_RATINGS = "hutto_ICWSM_2014/amazonReviewSnippets_anonDataRatings.txt"
_SEED = "luthier-sample-7"
_SHARES = (("train", 0.6), ("validation", 0.8), ("test", 1.0))

_NOTE = """\
train.csv, validation.csv, test.csv: sentences of Amazon product reviews, each rated by 20 people.

Source: the VADER release of C.J. Hutto and Eric Gilbert, in the sdist of vaderSentiment 3.3.2
(additional_resources/hutto_ICWSM_2014.tar.gz, amazonReviewSnippets). The reviews were first collected
by Minqing Hu and Bing Liu (2004). Licence below.

Please cite: Hutto, C.J. & Gilbert, E.E. (2014). VADER: A Parsimonious Rule-based Model for Sentiment
Analysis of Social Media Text. Eighth International Conference on Weblogs and Social Media (ICWSM-14).
Ann Arbor, MI, June 2014.

What was done to it: texts and ratings joined by id (3,708 of 3,708), 11 repeated sentences dropped.
stars: the mean of the ratings (-4 to 4) cut at -1.5, -0.5, 0.5 and 1.5 into 1 to 5.
rater_01 to rater_20: one person's rating each: -4, -3, -2 are 1; -1 is 2; 0 is 3; 1 is 4; 2, 3, 4 are 5.
Raters are anonymous: rater_03 of two rows need not be the same person.
Split by review (60/20/20): no review and no sentence is in two tables.

--------------------------------------------------------------------------------
"""


def sample_frame() -> pd.DataFrame:
    """All 3,697 rows: `review_id`, `text`, `stars` (1-5) and `rater_01` to `rater_20` (1-5).

    Raises:
        MissingPart: The data is not cached and cannot be fetched.
    """
    import pandas as pd

    folder = fetch(SAMPLE)
    with tarfile.open(folder / "hutto_icwsm_2014.tar.gz") as packed:
        texts, ratings = _lines(packed, _TEXTS), _lines(packed, _RATINGS)
    by_id = {line[0]: ast.literal_eval(line[3]) for line in ratings}
    seen: set[str] = set()
    rows: list[list[int | str]] = []
    for identity, mean, text in texts:
        text = text.strip()
        if text.lower() in seen or identity not in by_id:
            continue
        seen.add(text.lower())
        given = by_id[identity][:RATERS]
        review = int(identity.split("_")[0])
        rows.append([review, text, _stars(float(mean)), *(_cut(rating) for rating in given)])
    raters = [f"rater_{i:02d}" for i in range(1, RATERS + 1)]
    return pd.DataFrame(rows, columns=["review_id", "text", "stars", *raters])


def sample_splits() -> dict[str, pd.DataFrame]:
    """`train`, `validation` and `test`: 60, 20 and 20 percent of the rows, no review in two of them.

    Reviews are put in the order of a digest of their id, the same on every machine.
    """
    frame = sample_frame()
    sizes = frame.groupby("review_id").size()
    order = sorted(sizes.index, key=lambda review: hashlib.sha256(f"{_SEED}/{review}".encode()).digest())
    part: dict[int, str] = {}
    done = 0
    for review in order:
        part[review] = next(name for name, share in _SHARES if done < share * len(frame))
        done += int(sizes[review])
    where = frame["review_id"].map(part)
    return {name: frame[where == name].reset_index(drop=True) for name, _ in _SHARES}


def write_sample(folder: Path) -> dict[str, Path]:
    """Writes `train.csv`, `validation.csv`, `test.csv` and `LICENSE-sample.txt` into a folder.

    Returns:
        The path of each table by its name.

    Raises:
        DataError: other files of these names are there, or the folder cannot be written.
    """
    folder = Path(folder)
    licence = (fetch(SAMPLE) / "LICENSE.txt").read_text(encoding="utf-8")
    paths = {}
    texts = {folder / "LICENSE-sample.txt": (_NOTE + licence).encode()}
    for name, frame in sample_splits().items():
        paths[name] = folder / f"{name}.csv"
        texts[paths[name]] = frame.to_csv(index=False, lineterminator="\n").encode()
    others = [str(path) for path, text in texts.items() if check_file(path).exists() and path.read_bytes() != text]
    if others:
        raise DataError(
            f"{', '.join(others)} already there, and not the sample tables; move them away, or start in another folder."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            if not path.exists():
                write_file(path, text)
    except OSError as error:
        raise DataError(
            f"the sample tables cannot be written to {folder} ({error.strerror}); give another folder"
        ) from error
    return paths


def _lines(packed: tarfile.TarFile, member: str) -> list[list[str]]:
    found = packed.extractfile(member)
    if found is None:
        raise DataError(f"the sample release has no {member}")
    text = io.TextIOWrapper(found, encoding="utf-8-sig", newline="").read()
    # Not splitlines: a sentence may hold a character that Python takes for a line break.
    return [line.split("\t") for line in text.replace("\r\n", "\n").split("\n") if line]


def _stars(mean: float) -> int:
    return 1 + sum(mean > cut for cut in (-1.5, -0.5, 0.5, 1.5))


def _cut(rating: int) -> int:
    return min(2, max(-2, rating)) + 3
