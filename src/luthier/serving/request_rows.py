"""Rows of a scoring request as a technique sees them, made without pandas."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from luthier.errors import DataError
from luthier.serving.refusals import Refusal
from luthier.serving.served_model import ScoringRequest
from luthier.spec import Spec
from luthier.tasks.task import Rows

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["invalid_input", "rows_of_request"]

Columns = Mapping[str, Sequence[Any]]


def rows_of_request(spec: Spec, request: ScoringRequest) -> Rows:
    """The rows that the model is asked about; columns that it does not read are dropped.

    Cells arrive as `LuthierModel.predict` would have them. A number in a column of texts becomes a text, as
    MLflow's schema enforcement has it, and a list of texts is taken for the text column.

    Args:
        spec: what answers.
        request: of the scoring protocol.

    Raises:
        Refusal: 400, with the column that is missing or holds no text, and the row's number.
    """
    if request.form == "table":
        columns = _of_table(spec, request.data)
    elif request.form == "dataframe_split":
        columns = _of_split(spec, request.data)
    else:
        columns = _of_json(spec, request.form, request.data)
    texts = spec.task.text_columns
    checked = {**columns, **{name: [_text(cell, name, i) for i, cell in enumerate(columns[name], 1)] for name in texts}}
    names = spec.columns
    inputs = tuple(dict(zip(names, cells, strict=True)) for cells in zip(*(checked[n] for n in names), strict=True))
    return spec.task.rows_of(inputs)


def invalid_input(message: str) -> Refusal:
    """The refusal of a request that does not fit the model."""
    return Refusal(400, "INVALID_PARAMETER_VALUE", message)


def _of_split(spec: Spec, data: Mapping[str, Any]) -> Columns:
    rows, given = data["data"], data.get("columns")
    if given is None:
        # MLflow numbers such columns, and then misses the model's.
        if any(len(row) != len(spec.columns) for row in rows):
            raise invalid_input(f"dataframe_split names no columns; the model reads {_listed(spec.columns)}.")
        given = list(spec.columns)
    names = [str(name) for name in given]
    repeated = sorted({name for name in names if names.count(name) > 1} & set(spec.columns))
    if repeated:
        raise invalid_input(f"dataframe_split has column {repeated[0]!r} twice.")
    _check_columns(spec, names)
    if not rows:
        return dict.fromkeys(spec.columns, ())
    places = {name: names.index(name) for name in spec.columns}
    return {name: [_cell(row[place]) for row in rows] for name, place in places.items()}


def _of_json(spec: Spec, form: str, data: Any) -> Columns:
    if isinstance(data, Mapping):
        return _of_columns(spec, form, data)
    if isinstance(data, str):
        data = [data]
    if not isinstance(data, list):
        raise _wrong_shape(spec, form)
    if all(isinstance(row, Mapping) for row in data):
        _check_columns(spec, {name for row in data for name in row} if data else spec.columns)
        return {name: [_cell(row.get(name)) for row in data] for name in spec.columns}
    if spec.columns == (spec.task.text,) and not any(isinstance(row, Mapping | list) for row in data):
        return {spec.task.text: [_cell(cell) for cell in data]}
    raise _wrong_shape(spec, form)


def _of_columns(spec: Spec, form: str, data: Mapping[str, Any]) -> Columns:
    _check_columns(spec, data)
    columns = {name: data[name] for name in spec.columns}
    if not any(isinstance(cells, list) for cells in data.values()):
        return {name: [_cell(cell)] for name, cell in columns.items()}
    for name, cells in columns.items():
        if not isinstance(cells, list):
            raise invalid_input(f"Column {name!r} of {form} has to be a list with a cell for each row.")
    lengths = {len(cells) for cells in data.values() if isinstance(cells, list)}
    if len(lengths) > 1:
        raise invalid_input(f"The columns of {form} have different lengths; give each as many cells.")
    return {name: [_cell(cell) for cell in cells] for name, cells in columns.items()}


def _of_table(spec: Spec, table: pa.Table) -> Columns:
    import pyarrow.types as kinds

    _check_columns(spec, table.column_names)
    plain: tuple[Callable[[Any], bool], ...] = (
        *(kinds.is_string, kinds.is_large_string, kinds.is_integer),
        *(kinds.is_floating, kinds.is_boolean, kinds.is_null, kinds.is_binary),
    )
    needed = {name: table.column(name) for name in spec.columns}
    if all(any(is_kind(column.type) for is_kind in plain) for column in needed.values()):
        return {name: [_cell(cell) for cell in column.to_pylist()] for name, column in needed.items()}
    # Times and decimals are spelled as pandas spells them, in a batch and in a server alike.
    from luthier.packaging.model import rows_of

    try:
        inputs = rows_of(spec, table.select(list(spec.columns))).inputs
    except DataError:
        names = spec.task.text_columns
        what = f"Column {_listed(names)} has" if len(names) == 1 else f"Columns {_listed(names)} have"
        raise invalid_input(f"{what} to hold texts.") from None
    return {name: [row[name] for row in inputs] for name in spec.columns}


def _check_columns(spec: Spec, given: Any) -> None:
    missing = [name for name in spec.columns if name not in given]
    if missing:
        raise invalid_input(
            f"Column {_listed(missing)} is missing; the model reads {_listed(spec.columns)}."
            if len(missing) == 1
            else f"Columns {_listed(missing)} are missing; the model reads {_listed(spec.columns)}."
        )


def _wrong_shape(spec: Spec, form: str) -> Refusal:
    return invalid_input(
        f"{form} has to hold rows as objects, or lists of cells by column, with {_listed(spec.columns)}."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


def _cell(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _text(cell: Any, column: str, number: int) -> str | None:
    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, list | dict | bytes):
        kind = {list: "a list", dict: "an object"}.get(type(cell), "bytes")
        raise invalid_input(f"Row {number}: column {column!r} has to hold a text, and holds {kind}.")
    return str(cell)
