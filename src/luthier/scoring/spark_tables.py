"""What Spark reads and writes: files by their endings, folders by what is in them, Delta, and tables by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from luthier.errors import DataError, MissingPart, UserError

__all__ = ["COMPRESSED", "SparkTable", "partition_columns", "spark_errors", "spark_session", "states_of"]

FORMATS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".orc": "orc",
    ".avro": "avro",
}
"""Spark's name of a format by the ending of a file, compressed or not."""

ON_ONE_MACHINE = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
}
"""Settings of a session that starts here and runs here."""

FOLDER_TYPES = "spark.sql.sources.partitionColumnTypeInference.enabled"

COMPRESSED = (".gz", ".zst", ".bz2", ".snappy", ".lz4")

# As other programs write a csv: texts may hold line breaks, a quote is doubled, and 001 stays 001.
CSV = {"header": "true", "multiLine": "true", "escape": '"', "quote": '"'}


def spark_session(given: Any = None) -> Any:
    """The session given, the one that runs already, or a new one as Spark is set up here.

    Raises:
        MissingPart: PySpark or Java is not there.
        UserError: it is a session of Spark Connect.
    """
    session = _own_session() if given is None else given
    if type(session).__module__.startswith("pyspark.sql.connect"):
        raise UserError(
            "this is a session of Spark Connect, which cannot list files or cancel jobs as --mode spark does. Use "
            "lt.spark_scorer with rows.mapInPandas there; docs/spark.md has the code."
        )
    return session


def _own_session() -> Any:
    try:
        from pyspark import SparkConf
        from pyspark.errors import PySparkRuntimeError
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise MissingPart(f"Spark is not installed here ({error}). Type: pip install 'luthier[spark]'") from error
    builder = SparkSession.builder.appName("luthier")
    if SparkConf().get("spark.master", "local").startswith("local"):
        # On one machine no other one needs to reach it.
        for name, value in ON_ONE_MACHINE.items():
            builder = builder.config(name, value)
    try:
        return builder.getOrCreate()
    except PySparkRuntimeError as error:
        if "JAVA_GATEWAY" not in str(error):
            raise
        raise MissingPart(
            "Spark needs Java 17 or later, and none was found. Install one (apt install default-jre-headless), or set "
            "JAVA_HOME to where it is."
        ) from error


@dataclass(frozen=True)
class SparkTable:
    """A place that Spark reads from or writes to.

    Attributes:
        place: path or URL of a file or folder, or the name of a table.
        format: Spark's name of its format; `table` for one that is known by name.
        ending: of its files, which tells tabs from commas.
    """

    place: str
    format: str
    ending: str = ""

    @classmethod
    def of(cls, given: str, session: Any) -> SparkTable:
        """The table a person names: `table:NAME`, `delta:PATH`, or a path.

        Raises:
            DataError: its format cannot be told.
        """
        if given.startswith("table:"):
            return cls(given.removeprefix("table:"), "table")
        if given.startswith("delta:"):
            return cls(_absolute(given.removeprefix("delta:"), session), "delta")
        given = _absolute(given, session)
        ending = _ending(given)
        if not ending and exists(session, given):
            if exists(session, f"{given.rstrip('/')}/_delta_log"):
                return cls(given, "delta")
            ending = next(filter(None, map(_ending, files_in(session, given))), "")
        if ending:
            return cls(given, FORMATS[ending], ending)
        raise DataError(
            f"{given}: its format cannot be told. End the name with one of {', '.join(FORMATS)}, or write delta:PATH "
            "or table:NAME."
        )

    def read(self, session: Any) -> Any:
        """The table as Spark's DataFrame; csv cells stay text.

        Raises:
            DataError: nothing is there, or Spark cannot read it.
        """
        with spark_errors(f"read {self.place}"):
            if self.format == "table":
                return session.table(self.place)
            options = CSV if self.format == "csv" else {}
            if self.ending == ".tsv":
                options = {**options, "sep": "\t"}
            with _texts_in_folder_names(session):
                return session.read.format(self.format).options(**options).load(self.place)

    def is_there(self, session: Any) -> bool:
        """Whether something is there."""
        if self.format == "table":
            return bool(session.catalog.tableExists(self.place))
        return exists(session, self.place)

    def write(self, rows: Any, partitions: Sequence[str] = ()) -> None:
        """Writes rows in place of what is there.

        Args:
            rows: Spark's DataFrame.
            partitions: columns that the folders of the output are named by.

        Raises:
            DataError: Spark cannot write there.
        """
        writer = rows.write.mode("overwrite")
        if partitions:
            writer = writer.partitionBy(*partitions)
        with spark_errors(f"write {self.place}"):
            if self.format == "table":
                writer.saveAsTable(self.place)
                return
            if self.format == "csv":
                separator = "\t" if self.ending == ".tsv" else ","
                writer = writer.options(header="true", escape='"', quote='"', sep=separator)
            writer.format(self.format).save(self.place)


@contextmanager
def spark_errors(doing: str) -> Iterator[None]:
    """Says what Spark could not do, in place of Java's stack.

    Args:
        doing: as in `read in.parquet`.

    Raises:
        DataError: Spark refused or failed.
    """
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        java = getattr(error, "java_exception", None)
        while java is not None and java.getCause() is not None:
            java = java.getCause()
        said = _first_line(error if java is None else java)
        hint = ""
        if "delta" in said and "DATA_SOURCE_NOT_FOUND" in str(error):
            hint = " Delta is a package of its own: spark.jars.packages=io.delta:delta-spark_2.13:VERSION."
        raise DataError(f"Spark cannot {doing}: {said}{hint}") from error


@contextmanager
def _texts_in_folder_names(session: Any) -> Iterator[None]:
    """Folders `code=001/` make a column of texts, as everywhere in Luthier: 001 stays 001."""
    before = session.conf.get(FOLDER_TYPES)
    session.conf.set(FOLDER_TYPES, "false")
    try:
        yield
    finally:
        session.conf.set(FOLDER_TYPES, before)


def states_of(session: Any, files: Sequence[str]) -> list[list[int]]:
    """Size in bytes and time of change in milliseconds of files, given as Spark names them."""
    jvm = session.sparkContext._jvm
    found = []
    for file in files:
        path = jvm.org.apache.hadoop.fs.Path(jvm.java.net.URI(file))
        status = path.getFileSystem(session.sparkContext._jsc.hadoopConfiguration()).getFileStatus(path)
        found.append([int(status.getLen()), int(status.getModificationTime())])
    return found


def partition_columns(rows: Any) -> list[str]:
    """Columns that come from the names of folders, as in `year=2024/`."""
    files = rows.inputFiles()
    if not files:
        return []
    names = [part.partition("=")[0] for part in unquote(files[0]).split("/")[:-1] if "=" in part]
    return [name for name in names if name in rows.columns]


def exists(session: Any, path: str) -> bool:
    """Whether something is at a path, on whatever file system Spark reads it from."""
    system, place = _file_system(session, path)
    return bool(system.exists(place))


def delete(session: Any, path: str) -> None:
    """Deletes what is at a path."""
    system, place = _file_system(session, path)
    system.delete(place, True)


def files_in(session: Any, folder: str) -> list[str]:
    """The names of the files in a folder and in its folders, at most 100; without those that Spark skips."""
    system, place = _file_system(session, folder)
    listing = system.listFiles(place, True)
    found: list[str] = []
    while listing.hasNext() and len(found) < 100:
        name = listing.next().getPath().getName()
        if not name.startswith(("_", ".")):
            found.append(str(name))
    return found


def folders_in(session: Any, folder: str) -> list[str]:
    """The names of the folders in a folder."""
    system, place = _file_system(session, folder)
    if not system.exists(place):
        return []
    return sorted(status.getPath().getName() for status in system.listStatus(place) if status.isDirectory())


def _file_system(session: Any, path: str) -> tuple[Any, Any]:
    from py4j.protocol import Py4JJavaError

    place = session.sparkContext._jvm.org.apache.hadoop.fs.Path(path)
    try:
        return place.getFileSystem(session.sparkContext._jsc.hadoopConfiguration()), place
    except Py4JJavaError as error:
        raise UserError(
            f"Spark cannot reach {path}: {_first_line(error.java_exception)}. Give Spark the package of that file "
            "system, as in spark.jars.packages."
        ) from error


def _absolute(path: str, session: Any) -> str:
    """A path on this machine in full: the JVM has the working folder that it was started in."""
    default = str(session.sparkContext._jsc.hadoopConfiguration().get("fs.defaultFS"))
    is_local = default.startswith("file:") and not re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", path)
    return str(Path(path).absolute()) if is_local else path


def _ending(name: str) -> str:
    name = name.rstrip("/").lower()
    for compressed in COMPRESSED:
        name = name.removesuffix(compressed)
    return next((ending for ending in FORMATS if name.endswith(ending)), "")


def _first_line(error: object) -> str:
    return str(error).strip().partition("\n")[0]
