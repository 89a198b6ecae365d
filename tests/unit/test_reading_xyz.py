"""XYZ as programs and people write it: read rightly, or refused in words, a frame at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms, FixCartesian
from ase.io import read, write

from forcegate_client.electrons import electrons_of
from forcegate_client.reading import Record, open_library

WATER = "O 0.0 0.0 0.1173\nH 0.0 0.7572 -0.4692\nH 0.0 -0.7572 -0.4692\n"
POSITIONS = [[0.0, 0.0, 0.1173], [0.0, 0.7572, -0.4692], [0.0, -0.7572, -0.4692]]


def records(tmp_path: Path, text: str, name: str = "in.xyz") -> list[Record]:
    path = tmp_path / name
    path.write_bytes(text.encode())
    library = open_library([path])
    return library.read(0, library.size)


def only(tmp_path: Path, text: str) -> Atoms:
    (record,) = records(tmp_path, text)
    assert record.problem is None
    assert record.atoms is not None
    return record.atoms


def problem(tmp_path: Path, text: str) -> str:
    (record,) = records(tmp_path, text)
    assert record.atoms is None
    assert record.problem is not None
    return record.problem.detail


def fixed(atoms: Atoms) -> list[tuple[list[int], list[bool]]]:
    """Which atoms, along which axes; ASE also names those that are free."""
    found = []
    for constraint in atoms.constraints:
        mask = constraint.mask if isinstance(constraint, FixCartesian) else np.ones(3, dtype=bool)
        if np.any(mask):
            found.append((constraint.get_indices().tolist(), np.asarray(mask).tolist()))
    return found


DIALECTS = {
    "plain": WATER,
    "labels": WATER.replace("O ", "O1 ").replace("H ", "H_2 "),
    "atomic numbers": WATER.replace("O ", "8 ").replace("H ", "1 "),
    "small letters": WATER.lower(),
    "exponents of Fortran": WATER.replace("0.1173", "1.173D-01").replace("0.7572", "7.572d-1"),
    "more columns": WATER.replace("\n", " 0.1 0.2 0.3\n"),
    "tabs and blanks": WATER.replace(" ", "\t  "),
    "Windows": WATER.replace("\n", "\r\n"),
    "blank lines at the end": WATER + "\n  \n\n",
    "no line end at the end": WATER.rstrip(),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_dialect_says_the_same_molecule(tmp_path: Path, dialect: str) -> None:
    atoms = only(tmp_path, "3\nwater\n" + DIALECTS[dialect])
    assert atoms.get_chemical_symbols() == ["O", "H", "H"]
    assert atoms.positions == pytest.approx(np.array(POSITIONS))
    assert not atoms.pbc.any()


def test_a_byte_order_mark_and_blank_lines_before_a_count_are_nothing(tmp_path: Path) -> None:
    assert len(only(tmp_path, "\ufeff3\n\n" + WATER)) == 3
    assert len(only(tmp_path, "\n\n3\n\n" + WATER)) == 3


def test_heavy_hydrogen_is_hydrogen_of_its_mass(tmp_path: Path) -> None:
    atoms = only(tmp_path, "3\n\n" + WATER.replace("H ", "D ", 1).replace("H ", "T ", 1))
    assert atoms.numbers.tolist() == [8, 1, 1]
    assert atoms.get_masses() == pytest.approx([15.999, 2.0141, 3.016], abs=1e-3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("3\n\nO 0 0\nH 0 0\nH 0 0\n", "3 columns"),
        ("3\n\nO 0 0 0\nH 0 0 1\n", "count says 3 atoms, and 2 lines"),
        ("2\n\n" + WATER, "count says 2 atoms, and 3 lines"),
        ("3\n\n" + WATER.replace("O", "Qq"), "symbol 'Qq' of atom 0"),
        ("3\n\n" + WATER.replace("O", "X"), "symbol 'X' of atom 0"),
        ("3\n\n" + WATER.replace("O", "Cl-"), "symbol 'Cl-' of atom 0"),
        ("3\n\n" + WATER.replace("O", "200"), "symbol '200' of atom 0"),
        ("3\n\n" + WATER.replace("0.1173", "nan"), "no numbers"),
        ("3\n\n" + WATER.replace("0.1173", "zero"), "zero"),
        ("0\n\n", "no atoms"),
    ],
)
def test_what_is_no_structure_is_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    assert words in problem(tmp_path, text)


@pytest.mark.parametrize(
    "bad",
    [
        "3\nbad\nO 0 0\nH 0 0\nH 0 0\n",
        "5\nbad\n" + WATER,
        "2\nbad\n" + WATER,
        "a word\nbad\n" + WATER,
        "7\n",
        "3\nbad\n",
    ],
)
def test_a_bad_frame_costs_only_itself(tmp_path: Path, bad: str) -> None:
    good = "3\ngood\n" + WATER
    found = records(tmp_path, good + bad + good)
    assert [record.index for record in found] == [0, 1, 2]
    assert [record.atoms is None for record in found] == [False, True, False]
    assert [record.label for record in found][::2] == ["good", "good"]


def test_the_comment_of_plain_xyz_is_a_name(tmp_path: Path) -> None:
    (record,) = records(tmp_path, "3\nwater, GFN2 energy = -5.07\n" + WATER)
    assert record.label == "water, GFN2 energy = -5.07"
    assert record.atoms is not None
    assert record.atoms.info == {}


PLAIN_CHARGES = {
    "hydronium charge=1": (1, 1),
    "hydronium, Charge: -2": (-2, 1),
    "total_charge = 1 by hand": (1, 1),
    "tot_charge=1 by hand": (1, 1),
    "formal charge = 1": (1, 1),
    "hydronium, charge 1, by hand": (1, 1),
    "the charge is -1": (-1, 1),
    "charge of (-1)": (-1, 1),
    "charge −1, by a word processor": (-1, 1),
    "charge 2- by hand": (-2, 1),
    "charge: +1e": (1, 1),
    "chrg=-1 xtb": (-1, 1),
    "q=1": (1, 1),
    "Q: -1 methyl": (-1, 1),
    "charge=1;mult=2": (1, 2),
    "charge/mult 1 2": (1, 2),
    "Charge and multiplicity: -1, 2": (-1, 2),
    "Charge = -1 Multiplicity = 2": (-1, 2),
    '{"charge": -1, "multiplicity": 2}': (-1, 2),
    "2S+1=3": (0, 3),
    "-1 2": (-1, 2),
    "1 2": (1, 2),
    "0 1": (0, 1),
    "0, 3": (0, 3),
    "12 3": (0, 1),
    "charged": (0, 1),
    "q-factor 1, a qubit, seq=4": (0, 1),
    "q=0.25": (0, 1),
}


@pytest.mark.parametrize("comment", PLAIN_CHARGES)
def test_a_charge_in_a_plain_comment_is_one(tmp_path: Path, comment: str) -> None:
    (record,) = records(tmp_path, f"3\n{comment}\n{WATER}")
    structures = open_library([tmp_path / "in.xyz"]).chunk(0, 1).structures
    found = (structures.charges.tolist(), structures.multiplicities.tolist())
    assert found == tuple([value] for value in PLAIN_CHARGES[comment])
    assert bool(record.origin.remark) == (comment in ("1 2", "0, 3"))


@pytest.mark.parametrize(
    "comment", ["charge=-1", "Charge: -1", "charge 1-", "q=-1", "chrg = -1", "charge=(−1)"]
)
def test_a_charge_in_an_extended_comment_is_one(tmp_path: Path, comment: str) -> None:
    header = f'Lattice="9 0 0 0 9 0 0 0 9" {comment} note="charge 7, or so"'
    atoms = only(tmp_path, f"3\n{header}\n{WATER}")
    assert electrons_of(atoms)[0] == -1
    assert atoms.info["note"] == "charge 7, or so"


@pytest.mark.parametrize(
    "comment",
    [
        # As many electrons as water has without one are no singlet.
        "1 1",
        "charge 3rd try",
        "-1 1 hydroxide",
        "Properties=species:S:1:pos:R:3 note='charge 1'",
        "Properties=species:S:1:pos:R:3:charge:R:1",
    ],
)
def test_what_may_be_a_charge_is_not_taken_and_remarked_on(tmp_path: Path, comment: str) -> None:
    rows = "O 0 0 0.1 -0.6\nH 0 0.8 -0.5 -0.2\nH 0 -0.8 -0.5 -0.2\n"
    (record,) = records(tmp_path, f"3\n{comment}\n{rows}")
    assert record.atoms is not None
    assert electrons_of(record.atoms) == (0, 1)
    assert "charge" in record.origin.remark


@pytest.mark.parametrize("extended", ["", "Properties=species:S:1:pos:R:3 "])
@pytest.mark.parametrize("comment", ["charge=1 charge=2", "charge 1, total charge 2", "q=1 q=2"])
def test_two_charges_in_one_comment_are_refused(
    tmp_path: Path, comment: str, extended: str
) -> None:
    (record,) = records(tmp_path, f"3\n{extended}{comment}\n{WATER}")
    assert record.problem is not None
    assert record.problem.code == "charge_contradictory"


def test_extended_xyz_keeps_all_that_ase_keeps_but_results(tmp_path: Path) -> None:
    first = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    first.set_constraint(FixAtoms([0, 3]))
    first.info |= {"name": "salt", "step": 3, "energy_uncertainty": 0.1}
    first.set_array("tags", np.arange(8))
    first.set_momenta(np.arange(24.0).reshape(8, 3))
    second = molecule("CH3OH")
    second.pbc = (True, False, False)
    second.cell = [10.0, 0.0, 0.0]
    second.set_constraint(FixCartesian(2, mask=(True, False, True)))
    path = tmp_path / "in.extxyz"
    columns = ["symbols", "positions", "tags", "momenta", "move_mask"]
    write(path, first, columns=columns)
    write(path, second, columns=["symbols", "positions", "move_mask"], append=True)
    library = open_library([path])
    assert library.read(0, 1)[0].label == "salt"
    for record, expected in zip(library.read(0, 2), read(path, ":"), strict=True):
        found = record.atoms
        assert found is not None
        assert found.numbers.tolist() == expected.numbers.tolist()
        assert np.array_equal(found.positions, expected.positions)
        assert np.array_equal(found.cell.array, expected.cell.array)
        assert found.pbc.tolist() == expected.pbc.tolist()
        assert found.info == ({"name": "salt", "step": 3} if len(expected) == 8 else {})
        assert found.arrays.keys() == expected.arrays.keys()
        assert found.get_masses() == pytest.approx(expected.get_masses())
        assert fixed(found) == fixed(expected)


def test_results_of_others_are_left_out(tmp_path: Path) -> None:
    header = "Properties=species:S:1:pos:R:3:forces:R:3 energy=-1.0 step=7"
    atoms = only(tmp_path, f"3\n{header}\n" + WATER.replace("\n", " 1.0 1.0 1.0\n"))
    assert atoms.calc is None
    assert "forces" not in atoms.arrays
    assert atoms.info == {"step": 7}
