"""Charges that files of other programs tell in words of their own, or in a formula."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from ase.build import molecule
from ase.io import write

from forcegate_client.electrons import electrons_of
from forcegate_client.reading import InputUnreadable, Record, open_library
from forcegate_client.reading.inputs import named_inputs

COORD = "$coord\n 0.0 0.0 0.2 o\n 0.0 1.4 -0.9 h\n 0.0 -1.4 -0.9 h\n"
GRADIENT = """\
$grad          cartesian gradients
  cycle =      1    SCF energy =    -76.1   |dE/dxyz| =  0.1
    0.0 0.0 0.2      o
    0.0 1.8 0.2      h
  0.1D-01 0.0D+00 0.0D+00
  0.1D-01 0.0D+00 0.0D+00
"""
EHT = "$eht charge=-1 unpaired=1\n$end\n"
GAUSSIAN = """\
 Charge = {charge} Multiplicity = 2

                          Input orientation:
 ---------------------------------------------------------------------
 Center     Atomic      Atomic             Coordinates (Angstroms)
 Number     Number       Type             X           Y           Z
 ---------------------------------------------------------------------
      1          8           0        0.000000    0.000000    0.000000
      2          1           0        0.000000    0.000000    0.970000
 ---------------------------------------------------------------------
"""
GAUSSIAN_HEAD = " Entering Gaussian System, Link 0=g16\n ---\n # hf\n ---\n\n"
ESPRESSO = """\
&SYSTEM
 ibrav=0, nat=1, ntyp=1, tot_charge=-1.0, ecutwfc=30
/
ATOMIC_SPECIES
H 1.0 H.upf
ATOMIC_POSITIONS angstrom
H 0 0 0
CELL_PARAMETERS angstrom
5 0 0
0 5 0
0 0 5
K_POINTS gamma
"""
CJSON = (
    '{"chemicalJson":1,"atoms":{"elements":{"number":[8,1]},"coords":{"3d":[0,0,0,0,0,0.97]}},'
    '"properties":{"totalCharge":-1,"totalSpinMultiplicity":2}}'
)
DFTB = """\
Geometry = {
  TypeNames = { "O" "H" }
  TypesAndCoordinates [Angstrom] = {
    1 0 0 0
    2 0 0 0.97
  }
}
Hamiltonian = DFTB {
  Charge = -1
}
"""
OCTOPUS = 'ExcessCharge = -1\n%Coordinates\n "O" | 0 | 0 | 0\n%\nBoxShape=sphere\nRadius=8\n'
CP2K = """\
 &FORCE_EVAL
 &DFT
 CHARGE -1
 MULTIPLICITY 2
 &END DFT
 &SUBSYS
 &CELL
 A 10 0 0
 B 0 10 0
 C 0 0 10
 &END CELL
 &COORD
O 0 0 0
 &END COORD
 &END SUBSYS
 &END FORCE_EVAL
"""
ABINIT = (
    "natom 1\nntypat 1\nznucl 1\ntypat 1\nacell 10 10 10\nrprim 1 0 0 0 1 0 0 0 1\n"
    "xred 0 0 0\ncharge -1\n"
)


def nwchem() -> str:
    text = io.StringIO()
    write(text, molecule("H2O"), format="nwchem-in", charge=-1, dft={"mult": 2})
    return text.getvalue()


# Name, format if somebody must tell it, text, and what it says.
SAID = {
    "Turbomole": ("coord", None, COORD + EHT, (-1, 2)),
    "a gradient of Turbomole": ("gradient", None, GRADIENT + EHT, (-1, 2)),
    "Turbomole without a charge": ("coord", None, COORD + "$end\n", (0, 1)),
    "an output of Gaussian": (
        "in.log",
        None,
        GAUSSIAN_HEAD + GAUSSIAN.format(charge=-1) * 2,
        (-1, 2),
    ),
    "NWChem": ("in.nwi", None, nwchem(), (-1, 2)),
    "Quantum ESPRESSO": ("in.pwi", None, ESPRESSO, (-1, 1)),
    "chemical JSON": ("in.cjson", None, CJSON, (-1, 2)),
    "DFTB+": ("dftb_in.hsd", "dftb", DFTB, (-1, 1)),
    "Octopus": ("inp", "octopus-in", OCTOPUS, (-1, 1)),
    "CP2K": ("in.restart", None, CP2K, (-1, 2)),
    "Abinit": ("in.abi", "abinit-in", ABINIT, (-1, 1)),
}


def records(path: Path, text: str, told: str | None = None) -> list[Record]:
    path.write_text(text)
    inputs, _ = named_inputs([str(path)], path.parent, format=told)
    library = open_library(inputs)
    return library.read(0, library.size)


@pytest.mark.parametrize("program", SAID)
def test_what_a_program_says_of_charge_and_spin_is_read(tmp_path: Path, program: str) -> None:
    name, told, text, expected = SAID[program]
    for record in records(tmp_path / name, text, told):
        assert record.atoms is not None, record.problem
        assert electrons_of(record.atoms) == expected
        assert record.origin.remark == ""


def test_a_file_of_two_charges_is_refused_for_no_frame_has_one_of_its_own(tmp_path: Path) -> None:
    text = GAUSSIAN_HEAD + GAUSSIAN.format(charge=0) + GAUSSIAN.format(charge=-1)
    for record in records(tmp_path / "in.log", text):
        assert record.problem is not None
        assert record.problem.code == "charge_contradictory"


def test_a_charge_in_a_format_that_has_no_place_for_it_is_remarked_on(tmp_path: Path) -> None:
    text = "3 C # total charge = -1\nO H\n1 1 0 0 0\n2 2 0 0 1\n3 2 0 1 0\n"
    (record,) = records(tmp_path / "in.gen", text)
    assert record.atoms is not None
    assert electrons_of(record.atoms) == (0, 1)
    assert "line 1 of the file says 'total charge = -1'" in record.origin.remark
    (neutral,) = records(tmp_path / "in.gen", text.replace("-1", "0"))
    assert neutral.origin.remark == ""


DUMP = (
    "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n2\nITEM: BOX BOUNDS pp pp pp\n0 10\n0 10\n0 10\n"
    "ITEM: ATOMS id type {head}x y z\n1 1 {O}0 0 0\n2 2 {H}0 0 1\n"
)
DATA = (
    "LAMMPS\n\n2 atoms\n2 atom types\n0 10 xlo xhi\n0 10 ylo yhi\n0 10 zlo zhi\n\n{masses}"
    "Atoms # charge\n\n1 1 -2.0 0 0 0\n2 2 1.0 0 0 1\n"
)
NUMBERED = {
    "lammps-dump-text": (
        DUMP.format(head="", O="", H=""),
        DUMP.format(head="element ", O="O ", H="H "),
    ),
    "lammps-data": (DATA.format(masses=""), DATA.format(masses="Masses\n\n1 15.999\n2 1.008\n\n")),
}


@pytest.mark.parametrize("told", NUMBERED)
def test_kinds_of_atoms_that_are_only_numbered_are_no_elements(tmp_path: Path, told: str) -> None:
    numbered, named = NUMBERED[told]
    with pytest.raises(InputUnreadable, match="does not say what elements its atoms are"):
        records(tmp_path / "in.lmp", numbered, told)
    (record,) = records(tmp_path / "in.lmp", named, told)
    assert record.atoms is not None
    assert record.atoms.get_chemical_symbols() == ["O", "H"]


CIF = """\
data_x
_chemical_formula_moiety '{formula}'
_cell_length_a 4.0
_cell_length_b 4.0
_cell_length_c 9.0
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Na1 Na 0 0 0
O1 O 0.5 0.5 0.3
H1 H 0.5 0.5 0.4
Na2 Na 0 0 0.5
O2 O 0.5 0.5 0.8
H2 H 0.5 0.5 0.9
"""
MOIETIES: dict[str, int | str] = {
    "Na 1+, H O 1-": 0,
    "2(Na 1+), 2(O H 1-)": 0,
    "(Na +)2, (O H -)2": 0,
    "Na H O": 0,
    "?": 0,
    "Na H O 1-": -2,
    "Na2 H2 O2 -1": -1,
    "2(Na H O +)": 2,
    "0.5(Na H O 2-)": -4,
    # Not what is in the cell, nor as many as there are.
    "Na 1+": "charge_invalid",
    "C2 H3 O2 -1": "charge_invalid",
    "Na4 H4 O4 1-": "charge_invalid",
    # O with 2-, or O2 with one.
    "Na1+, OH-": "cannot be read",
}


@pytest.mark.parametrize("formula", MOIETIES)
def test_ions_in_the_formula_of_a_crystal_are_its_charge(tmp_path: Path, formula: str) -> None:
    (record,) = records(tmp_path / "in.cif", CIF.format(formula=formula))
    expected = MOIETIES[formula]
    if record.problem is not None:
        assert record.problem.code == expected
        assert (record.label, formula in record.problem.detail) == ("x", True)
        return
    assert record.atoms is not None
    charge = 0 if isinstance(expected, str) else expected
    assert electrons_of(record.atoms) == (charge, 1)
    assert ("cannot be read" in record.origin.remark) == isinstance(expected, str)
