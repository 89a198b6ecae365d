"""Extended XYZ that can be read again: what would break a frame is left out of it, and named."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import iread, write

from forcegate_client.errors import OutputUnwritable
from forcegate_client.writing.files import replacing

__all__ = ["DROPPED", "lasting", "naming_lost_constraints", "write_frames"]

DROPPED = "forcegate_dropped"
"""The key under which a frame names what it had and extended XYZ cannot hold."""

# Every frame has these, and the format holds them.
_ALWAYS = ("numbers", "positions")


def write_frames(path: Path, frames: Sequence[Atoms]) -> None:
    """Put all frames at ``path``, with what their calculators hold, once they were read again.

    Raises:
        OutputUnwritable: if they cannot be written, or do not come back as they are.
    """
    with replacing(path) as aside:
        plain = [_one_lined(naming_lost_constraints(frame)) for frame in frames]
        if not _put(aside, plain):
            # Rare, and slow: each frame is tried alone, and each of its extras.
            plain = [lasting(frame) for frame in plain]
            if not _put(aside, plain):
                raise OutputUnwritable(
                    f"frames that cannot be read again from {path}",
                    expected="structures that extended XYZ can hold",
                    action="write them with fewer extras in info and arrays",
                )


def lasting(frame: Atoms) -> Atoms:
    """``frame`` with those of its extras that survive being written and read.

    The names of the others are in its ``info`` under ``DROPPED``.
    """
    frame = _one_lined(frame)
    if _survives(frame):
        return frame
    kept = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
    kept.calc = frame.calc
    kept.set_constraint(frame.constraints)
    dropped = []
    for name, value in frame.arrays.items():
        if name not in _ALWAYS:
            kept.set_array(name, value)
            if not _survives(kept):
                del kept.arrays[name]
                dropped.append(name)
    for name, value in frame.info.items():
        kept.info[name] = value
        if not _survives(kept):
            del kept.info[name]
            dropped.append(str(name))
    return _without(kept, [" ".join(name.split()) for name in dropped])


def _put(path: Path, frames: Sequence[Atoms]) -> bool:
    """Write, and tell whether the same comes back."""
    try:
        write(path, frames, format="extxyz")
    except OSError:
        raise
    except Exception:
        # ASE's writer fails in many ways over values that it does not know.
        return False
    if not path.is_file():
        return True
    return _same(frames, path)


def _same(frames: Sequence[Atoms], source: Path | io.StringIO) -> bool:
    try:
        found: Iterator[Atoms] = iread(source, index=":", format="extxyz")
        return all(_equal(*pair) for pair in zip(frames, found, strict=True))
    except OSError:
        raise
    except Exception:
        return False


def _survives(frame: Atoms) -> bool:
    text = io.StringIO()
    try:
        write(text, frame, format="extxyz")
    except Exception:
        return False
    return _same([frame], io.StringIO(text.getvalue()))


def _equal(written: Atoms, found: Atoms) -> bool:
    same = np.array_equal(written.numbers, found.numbers)
    same = same and np.allclose(written.positions, found.positions, atol=1e-6)
    return bool(same and _energy(written) == _energy(found))


def _energy(frame: Atoms) -> str:
    results = getattr(frame.calc, "results", {})
    return f"{results['energy']:.6f}" if "energy" in results else ""


def naming_lost_constraints(frame: Atoms) -> Atoms:
    """``frame``; if it has constraints that the format cannot hold, under ``DROPPED`` their names.

    It holds atoms and coordinates; a bond, say, would go without a word.
    """
    names = {type(one).__name__ for one in frame.constraints} - {"FixAtoms", "FixCartesian"}
    if not names:
        return frame
    plain = frame.copy()
    plain.calc = frame.calc
    return _without(plain, sorted(names))


def _without(frame: Atoms, names: Sequence[str]) -> Atoms:
    told = [frame.info[DROPPED]] if frame.info.get(DROPPED) else []
    frame.info[DROPPED] = ", ".join([*told, *names])
    return frame


def _one_lined(frame: Atoms) -> Atoms:
    """Line breaks in texts would end the comment line; of an empty text the next entry is taken."""
    if not any(isinstance(value, str) and _breaks(value) for value in frame.info.values()):
        return frame
    plain = frame.copy()
    plain.calc = frame.calc
    lines = {name: _line(value) for name, value in frame.info.items()}
    plain.info = {
        name: value for name, value in lines.items() if not (isinstance(value, str) and not value)
    }
    return plain


def _breaks(text: str) -> bool:
    return len(text.splitlines()) != 1 or text != text.strip()


def _line(value: Any) -> Any:
    return " ".join(value.split()) if isinstance(value, str) and _breaks(value) else value
