"""Files with anything done to them: a record is a structure or a problem, and no other suffers."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.io import write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from forcegate_client.reading import InputUnreadable, Record, open_library

XYZ = b"3\nwater\nO 0.0 0.0 0.1173\nH 0.0 0.7572 -0.4692\nH 0.0 -0.7572 -0.4692\n"
EXTXYZ = (
    b'3\nLattice="9.0 0 0 0 9.0 0 0 0 9.0" Properties=species:S:1:pos:R:3:move_mask:L:1 charge=0\n'
    b"O 0.0 0.0 0.1173 T\nH 0.0 0.7572 -0.4692 T\nH 0.0 -0.7572 -0.4692 F\n"
)
MOL2 = b"""\
@<TRIPOS>MOLECULE
water
 3 2 0 0 0
SMALL
NO_CHARGES

@<TRIPOS>ATOM
      1 O1   0.0000  0.0000  0.1173 O.3  1 HOH 0.0
      2 H1   0.0000  0.7572 -0.4692 H    1 HOH 0.0
      3 H2   0.0000 -0.7572 -0.4692 H    1 HOH 0.0
@<TRIPOS>BOND
     1 1 2 1
     2 1 3 1
"""


def _sdf() -> bytes:
    made = Chem.AddHs(Chem.MolFromSmiles("O"))
    rdDistGeom.EmbedMolecule(made, randomSeed=7)
    return str(Chem.MolToMolBlock(made)).encode() + b"> <charge>\n0\n\n$$$$\n"


def _written(name: str, crystal: bool = False) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / name, bulk("C", a=3.57) if crystal else molecule("H2O"))
        return (Path(folder) / name).read_bytes()


# Records in text, three of which make a file.
RECORDS = {
    "in.xyz": XYZ,
    "in.extxyz": EXTXYZ,
    "in.sdf": _sdf(),
    "in.mol2": MOL2,
    "in.smi": b"O water\n",
    "in.csv": b"O,water\n",
    "in.pdb": _written("a.pdb"),
    "in.cif": _written("a.cif", crystal=True),
}
# Bytes at the front and at the end that say where a record of the format begins or ends; if they
# are gone, nobody can tell it from its neighbour.
SEPARATED = {
    "in.xyz": (len("3\n"), 0),
    "in.extxyz": (len("3\n"), 0),
    "in.sdf": (0, len("$$$$\n")),
    "in.mol2": (len("@<TRIPOS>MOLECULE\n"), 0),
    "in.cif": (len("data_"), 0),
    "in.pdb": (0, len("ENDMDL\n")),
}
FILES = {
    "in.traj": _written("a.traj"),
    "in.xyz.gz": gzip.compress(XYZ * 3),
    "in.xsf": _written("a.xsf", crystal=True),
}

FEW = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)


@st.composite
def damaged(draw: st.DrawFn, text: bytes) -> bytes:
    """``text`` with some pieces cut out, doubled, or replaced by others."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        stop = min(len(text), start + draw(st.integers(0, 12)))
        piece = draw(
            st.one_of(
                st.binary(max_size=6),
                st.sampled_from([b"\n", b"\r\n", b"-", b"1e400", b"nan", b"7", b" ", b"\0", b"C"]),
                st.just(text[start:stop] * 2),
            )
        )
        text = text[:start] + piece + text[stop:]
    return text


def read(name: str, content: bytes) -> list[Record]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            library = open_library([path])
        except InputUnreadable:
            return []
        found = library.read(0, library.size)
        library.close()
    assert len(found) == library.size
    assert [record.index for record in found] == list(range(len(found)))
    for record in found:
        if record.atoms is None:
            assert record.problem is not None
            assert record.problem.detail
            assert "\n" not in record.problem.detail
        else:
            assert len(record.atoms)
            assert (record.atoms.numbers > 0).all()
            assert np.isfinite(record.atoms.positions).all()
    return found


def same(one: Record, other: Record) -> bool:
    return (
        one.atoms is not None
        and other.atoms is not None
        and one.label == other.label
        and np.array_equal(one.atoms.numbers, other.atoms.numbers)
        and np.array_equal(one.atoms.positions, other.atoms.positions)
        and one.atoms.info.get("charge") == other.atoms.info.get("charge")
    )


@pytest.mark.parametrize("name", RECORDS)
@FEW
@given(data=st.data())
def test_a_damaged_record_costs_only_itself(name: str, data: st.DataObject) -> None:
    good = RECORDS[name]
    (expected,) = read(name, good)
    first, last = SEPARATED.get(name, (0, 0))
    body = good[first : len(good) - last]
    middle = good[:first] + data.draw(damaged(body)) + b"\n" + good[len(good) - last :]
    found = read(name, good + middle + good)
    assert same(found[0], expected)
    assert same(found[-1], expected)


@pytest.mark.parametrize("name", FILES)
@FEW
@given(data=st.data())
def test_a_damaged_file_has_records_or_a_reason(name: str, data: st.DataObject) -> None:
    read(name, data.draw(damaged(FILES[name])))
