"""A GGUF file rewritten: the values stay, the metadata stay byte for byte."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from luthier.errors import MissingPart
from luthier_local.requantise import requantise


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


METADATA = (
    text("general.name")
    + struct.pack("<I", 8)
    + text("tiny")
    + text("tokens")
    + struct.pack("<IIQ", 9, 8, 2)
    + text("a")
    + text("bc")
    + text("kinds")
    + struct.pack("<IIQ3i", 9, 5, 3, 1, 2, 3)
    + text("flag")
    + struct.pack("<IB", 7, 1)
)


def gguf(path: Path, blocks: bytes, plain: np.ndarray[tuple[int], np.dtype[np.float32]]) -> None:
    infos = text("w") + struct.pack("<IQQIQ", 2, 32, 2, 3, 0)
    infos += text("norm") + struct.pack("<IQIQ", 1, len(plain), 0, 64)
    head = struct.pack("<4sIQQ", b"GGUF", 3, 2, 4) + METADATA + infos
    data = blocks + bytes(64 - len(blocks)) + plain.tobytes()
    path.write_bytes(head + bytes(-len(head) % 32) + data)


def test_values_and_metadata_survive(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    steps = generator.integers(0, 16, (2, 32)).astype(np.uint8)
    scales, least = np.array([0.5, 0.25], np.float16), np.array([-3.0, 1.0], np.float16)
    blocks = b"".join(
        scales[i].tobytes() + least[i].tobytes() + (steps[i, :16] | steps[i, 16:] << 4).tobytes() for i in range(2)
    )
    plain = np.arange(5, dtype=np.float32)
    source, target = tmp_path / "a.gguf", tmp_path / "b.gguf"
    gguf(source, blocks, plain)
    requantise(source, target)
    written = target.read_bytes()
    assert written[24 : 24 + len(METADATA)] == METADATA
    data = written[-(32 * 3 + len(plain.tobytes()) + 12) :]
    quantised = np.frombuffer(data[:68], np.uint8).reshape(2, 34)
    scale = quantised[:, :2].copy().view(np.float16).astype(np.float32)
    values = quantised[:, 2:].view(np.int8) * scale
    expected = steps * scales.astype(np.float32)[:, None] + least.astype(np.float32)[:, None]
    assert np.abs(values - expected).max() < 0.05
    assert np.frombuffer(data[96 : 96 + 20], np.float32).tolist() == plain.tolist()


@pytest.mark.parametrize("content", [b"", b"GGUF", b"no model at all, but long enough to be read", b"GGUF" + bytes(40)])
def test_what_is_no_model_leaves_no_file(tmp_path: Path, content: bytes) -> None:
    source = tmp_path / "a.gguf"
    source.write_bytes(content)
    with pytest.raises(MissingPart):
        requantise(source, tmp_path / "b.gguf")
    assert list(tmp_path.iterdir()) == [source]
