"""Messages in msgpack, and what may become of them on the way."""

from __future__ import annotations

import math
import struct
from typing import Any

import msgpack
import numpy as np
from hypothesis import strategies as st

from forcegate_client.messages import PROPERTIES, PredictRequest
from forcegate_client.structures import StructureBatch

__all__ = ["DOUBLES", "broken", "repeated", "sensible_requests"]

# Doubles that are lost, merged or made quiet by anything but a copy of their bits.
NAN_WITH_PAYLOAD = struct.unpack("<d", bytes.fromhex("efbeadde0000f87f"))[0]
DOUBLES = st.floats(width=64) | st.sampled_from(
    [-0.0, 5e-324, -2.2e-308, math.inf, NAN_WITH_PAYLOAD, -math.nan, math.pi]
)


def repeated(
    draw: st.DrawFn, shape: tuple[int, ...], values: st.SearchStrategy[Any], dtype: str
) -> Any:
    """Few values drawn, many repeated: bits are what matters."""
    few = draw(st.lists(values, min_size=1, max_size=5))
    return np.resize(np.array(few, dtype=dtype), shape)


# Stands for a value of many levels, which the packer itself refuses to write.
DEEP = msgpack.ExtType(99, b"deep")


def packed(draw: st.DrawFn, message: dict[str, Any]) -> bytes:
    """The bytes of ``message``, as deep as the reader can bear it, or deeper."""
    depth = draw(st.sampled_from([100, 500, 900, 990, 1015, 1100]))
    deep = draw(st.sampled_from([b"\x91", b"\x81\xa1a"])) * depth + b"\xc0"
    return bytes(msgpack.packb(message)).replace(msgpack.packb(DEEP), deep)


# Values of every type that msgpack knows.
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | DOUBLES
    | st.text(max_size=6)
    | st.binary(max_size=16)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=9))
    | st.builds(msgpack.Timestamp, st.integers(-(2**40), 2**40), st.integers(0, 999_999_999))
    | st.sampled_from([DEEP, DEEP, b"\x00" * 100_000, "x" * 100_000, [0] * 10_000])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4) | st.binary(max_size=2), inner, max_size=3)
    ),
    max_leaves=6,
)
# Declared lengths that nothing follows: str32, bin32, array32, map32, ext32, and a reserved byte.
LYING_HEADS = [bytes([head]) + b"\xff" * 4 for head in (0xDB, 0xC6, 0xDD, 0xDF, 0xC9)] + [b"\xc1"]


@st.composite
def sensible_requests(draw: st.DrawFn) -> PredictRequest:
    """What the fake model could answer: rows of atoms, open or in a crystal."""
    counts = draw(st.lists(st.integers(1, 4), max_size=4))
    size, total = len(counts), sum(counts)
    positions = np.arange(total)[:, None] * np.array([[1.5, 0.0, 0.0]])
    crystal = draw(st.booleans())
    batch = StructureBatch.from_arrays(
        n_atoms=counts,
        atomic_numbers=repeated(draw, (total,), st.sampled_from([1, 6, 7, 8, 9, 16, 17]), "i8"),
        positions=positions,
        cells=np.tile(np.eye(3) * 40.0, (size, 1, 1)) if crystal else None,
        pbc=np.ones((size, 3)) if crystal else None,
        charges=np.zeros(size),
    )
    properties = draw(st.lists(st.sampled_from(PROPERTIES), min_size=1, unique=True))
    on_error = draw(st.sampled_from(["raise", "partial"]))
    return PredictRequest(batch, "fake", None, tuple(properties), on_error)


def buffer_of(values: list[Any], dtype: str) -> bytes:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.array(values).astype(dtype).tobytes()


@st.composite
def broken_buffers(draw: st.DrawFn, buffer: bytes) -> bytes:
    """Of another length, with one other value, or with values of another type throughout."""
    how = draw(st.sampled_from(["length", "value", "type"]))
    if how == "length":
        return (buffer * 3)[: draw(st.integers(0, 3 * len(buffer)))]
    dtype = draw(
        st.sampled_from(["<i4", "<f8"] if how == "value" else [">i4", "<i8", "<f4", ">f8"])
    )
    value = draw(DOUBLES if "f" in dtype else st.sampled_from([-1, 0, 1, 2, 2**31 - 1]))
    one = buffer_of([value], dtype)
    if how == "type":
        return one * max(1, len(buffer) // len(one))
    place = draw(st.integers(0, max(0, len(buffer) // len(one) - 1))) * len(one)
    return buffer[:place] + one + buffer[place + len(one) :]


@st.composite
def broken_maps(draw: st.DrawFn, message: dict[str, Any], inner: str) -> bytes:
    """``message`` with one to three fields changed, of its own or of its map ``inner``."""
    message = message | {inner: dict(message[inner])}
    for _ in range(draw(st.integers(1, 3))):
        held = message.get(inner)
        fields = held if isinstance(held, dict) and held and draw(st.booleans()) else message
        name = draw(st.sampled_from(sorted(fields, key=repr)))
        how = draw(st.sampled_from(["gone", "new", "other", "other", "buffer", "buffer", "buffer"]))
        if how == "gone":
            del fields[name]
        elif how == "buffer" and isinstance(fields[name], bytes):
            fields[name] = draw(broken_buffers(fields[name]))
        else:
            fields[draw(st.text(max_size=6)) if how == "new" else name] = draw(VALUES)
    return packed(draw, message)


@st.composite
def broken_bytes(draw: st.DrawFn, body: bytes) -> bytes:
    """``body`` with some bytes changed, lost, repeated or put in."""
    changed = bytearray(body)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(changed)))
        end = start + draw(st.integers(0, 6))
        piece = bytes(changed[start:end])
        changed[start:end] = draw(
            st.sampled_from([b"", piece * 2, *LYING_HEADS, b"\x91" * 1024, b"\x81\xa1a" * 600])
            | st.binary(min_size=1, max_size=6)
        )
    return bytes(changed)


def broken(body: bytes, inner: str) -> st.SearchStrategy[bytes]:
    """What may become of ``body``; twice as often with a message that still is one."""
    of_fields = broken_maps(msgpack.unpackb(body), inner)
    return of_fields | of_fields | broken_bytes(body)
