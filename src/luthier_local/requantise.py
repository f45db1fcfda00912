"""Rewrites a GGUF model's Q4_1 tensors as Q8_0, which llama.cpp reads prompts faster with on a CPU.

Nothing is gained in quality: the values are those of the smaller file, nearly exactly. Everything else
in the file, its metadata too, is copied byte for byte.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from luthier.errors import MissingPart
from luthier.outputs import ScratchFile

__all__ = ["requantise"]

_ALIGNMENT = 32
_BLOCK = 32
_Q4_1, _Q8_0 = 3, 8
_Q4_1_BYTES, _Q8_0_BYTES = 20, 34
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a metadata value by its type; 8 is a text and 9 a list."""
_TEXT, _LIST = 8, 9
_TENSOR_BYTES = {0: (1, 4), 1: (1, 2), _Q4_1: (_BLOCK, _Q4_1_BYTES), _Q8_0: (_BLOCK, _Q8_0_BYTES)}
"""Values and bytes per block of the tensor types that are copied or rewritten."""


class _Tensor(NamedTuple):
    name: bytes
    shape: tuple[int, ...]
    kind: int
    offset: int

    @property
    def size(self) -> int:
        values, size = _TENSOR_BYTES[self.kind]
        return math.prod(self.shape) // values * size


def requantise(source: Path, target: Path) -> None:
    """Writes `target` atomically.

    Raises:
        MissingPart: The source is not a GGUF file of the expected kinds of tensors.
    """
    data = source.read_bytes()
    try:
        tensors, metadata_end, data_start = _read(data)
        plan = [(tensor, _Q8_0 if tensor.kind == _Q4_1 else tensor.kind) for tensor in tensors]
        sizes = [tensor._replace(kind=kind).size for tensor, kind in plan]
    except (struct.error, KeyError, ValueError, IndexError) as error:
        raise MissingPart(f"{source} is no GGUF file that can be rewritten: {error!r}") from error
    infos = bytearray()
    offset = 0
    for (tensor, kind), size in zip(plan, sizes, strict=True):
        infos += struct.pack("<Q", len(tensor.name)) + tensor.name
        infos += struct.pack(f"<I{len(tensor.shape)}QIQ", len(tensor.shape), *tensor.shape, kind, offset)
        offset += size + _padding(size)
    scratch = ScratchFile(target)
    file = scratch.stream
    try:
        file.write(data[:metadata_end] + infos)
        file.write(bytes(_padding(metadata_end + len(infos))))
        for (tensor, kind), size in zip(plan, sizes, strict=True):
            start = data_start + tensor.offset
            raw = data[start : start + tensor.size]
            file.write(raw if kind == tensor.kind else _from_q4_1(raw))
            file.write(bytes(_padding(size)))
        scratch.keep()
    finally:
        scratch.discard()


def _padding(size: int) -> int:
    return -size % _ALIGNMENT


def _read(data: bytes) -> tuple[list[_Tensor], int, int]:
    """The tensors, where the metadata ends, and where the tensors' data start."""
    magic, version, tensor_count, value_count = struct.unpack_from("<4sIQQ", data, 0)
    if magic != b"GGUF" or version not in (2, 3):
        raise ValueError(f"magic {magic!r}, version {version}")
    at = 24
    for _ in range(value_count):
        (length,) = struct.unpack_from("<Q", data, at)
        if data[at + 8 : at + 8 + length] == b"general.alignment":
            raise ValueError("an alignment of its own")
        (kind,) = struct.unpack_from("<I", data, at + 8 + length)
        at = _skip(data, at + 12 + length, kind)
    metadata_end = at
    tensors = []
    for _ in range(tensor_count):
        (length,) = struct.unpack_from("<Q", data, at)
        name = data[at + 8 : at + 8 + length]
        at += 8 + length
        (dimensions,) = struct.unpack_from("<I", data, at)
        *shape, kind, offset = struct.unpack_from(f"<{dimensions}QIQ", data, at + 4)
        at += 4 + 8 * dimensions + 12
        tensors.append(_Tensor(name, tuple(shape), kind, offset))
    return tensors, metadata_end, at + _padding(at)


def _skip(data: bytes, at: int, kind: int) -> int:
    if kind == _TEXT:
        (length,) = struct.unpack_from("<Q", data, at)
        return int(at + 8 + length)
    if kind == _LIST:
        inner, count = struct.unpack_from("<IQ", data, at)
        at += 12
        if inner in _SIZES:
            return int(at + count * _SIZES[inner])
        for _ in range(count):
            at = _skip(data, at, inner)
        return at
    return at + _SIZES[kind]


def _from_q4_1(raw: bytes) -> bytes:
    blocks = np.frombuffer(raw, np.uint8).reshape(-1, _Q4_1_BYTES)
    scale = blocks[:, 0:2].copy().view(np.float16).astype(np.float32)
    least = blocks[:, 2:4].copy().view(np.float16).astype(np.float32)
    packed = blocks[:, 4:]
    steps = np.concatenate([packed & 0x0F, packed >> 4], axis=1).astype(np.float32)
    values: npt.NDArray[np.float32] = steps * scale + least
    new_scale = (np.abs(values).max(axis=1, keepdims=True) / 127).astype(np.float32)
    inverse = np.divide(1, new_scale, out=np.zeros_like(new_scale), where=new_scale != 0)
    written = np.empty((len(values), _Q8_0_BYTES), np.uint8)
    written[:, 0:2] = new_scale.astype(np.float16).view(np.uint8)
    written[:, 2:] = np.rint(values * inverse).astype(np.int8).view(np.uint8)
    return written.tobytes()
