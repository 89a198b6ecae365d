"""What a command line names: files, folders, patterns, streams, compressed or not."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from ase.build import bulk, molecule
from ase.db import connect
from ase.io import read, write

from forcegate_client.electrons import electrons_of
from forcegate_client.md.dcd import DCDWriter
from forcegate_client.reading import InputUnreadable, Library, Record, open_library
from forcegate_client.reading.inputs import named_inputs

WATER = "3\nwater\nO 0.0 0.0 0.1173\nH 0.0 0.7572 -0.4692\nH 0.0 -0.7572 -0.4692\n"
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def named(*names: str, stdin: bytes = b"", **more: object) -> Library:
    spool = Path("../spool")
    spool.mkdir(exist_ok=True)
    inputs, _ = named_inputs(names, spool, stdin=io.BytesIO(stdin), **more)  # type: ignore[arg-type]
    return open_library(inputs)


def all_of(library: Library) -> list[Record]:
    return library.read(0, library.size)


def places(library: Library) -> list[tuple[str, int]]:
    return [(record.source, record.index) for record in all_of(library)]


def formulas(library: Library) -> list[str]:
    return [
        "" if record.atoms is None else record.atoms.get_chemical_formula()
        for record in all_of(library)
    ]


def test_a_folder_is_its_files_in_order_and_the_rest_is_named() -> None:
    Path("lib").mkdir()
    Path("lib/b.xyz").write_text(WATER)
    Path("lib/a.smi").write_text("C\nCC\n")
    Path("lib/README.md").write_text("words")
    Path("lib/.hidden.xyz").write_text("words")
    Path("lib/deeper").mkdir()
    spool = Path("../spool")
    spool.mkdir()
    inputs, skipped = named_inputs(["lib"], spool)
    assert places(open_library(inputs)) == [("lib/a.smi", 0), ("lib/a.smi", 1), ("lib/b.xyz", 0)]
    assert skipped == ["lib/README.md"]
    with pytest.raises(InputUnreadable, match="no file of structures in the folder lib/deeper"):
        named("lib/deeper")


def test_a_pattern_finds_files_in_folders_and_a_file_may_look_like_a_pattern() -> None:
    for name in ("runs/2/final.xyz", "runs/1/final.xyz", "a[1].xyz"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(WATER)
    assert places(named("runs/**/final.xyz", "a[1].xyz")) == [
        ("runs/1/final.xyz", 0),
        ("runs/2/final.xyz", 0),
        ("a[1].xyz", 0),
    ]
    with pytest.raises(InputUnreadable, match=r"no file \*\.sdf"):
        named("*.sdf")


def test_standard_input_and_smiles_are_inputs_like_others() -> None:
    Path("a.xyz").write_text(WATER)
    library = named("-", stdin=b"C methane\nCC\n", format="smi", smiles=["CCO"])
    assert places(library) == [("-", 0), ("-", 1), ("--smiles", 0)]
    assert formulas(library) == ["CH4", "C2H6", "C2H6O"]
    assert formulas(named("-", stdin=gzip.compress(WATER.encode()), format="xyz")) == ["H2O"]
    with pytest.raises(InputUnreadable, match="--format"):
        named("-", stdin=b"C\n")
    with pytest.raises(InputUnreadable, match="the format 'word'"):
        named("-", stdin=b"C\n", format="word")
    with pytest.raises(InputUnreadable, match="no input"):
        named()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_read_once() -> None:
    os.mkfifo("pipe")
    writer = threading.Thread(target=lambda: Path("pipe").write_text(WATER * 2))
    writer.start()
    library = named("pipe", format="xyz")
    writer.join()
    assert formulas(library) == ["H2O", "H2O"]
    assert formulas(library) == ["H2O", "H2O"]


def test_what_is_no_file_but_looks_like_a_smiles_is_told_so() -> None:
    with pytest.raises(InputUnreadable, match="--smiles 'CCO'"):
        named("CCO")
    with pytest.raises(InputUnreadable, match=r"no file missing\.xyz") as error:
        named("missing.xyz")
    assert "--smiles" not in str(error.value)


@pytest.mark.parametrize("ending", COMPRESS)
def test_compressed_files_are_the_files_inside(ending: str) -> None:
    write("a.traj", [molecule("H2O"), molecule("CH4")])
    Path("b.xyz").write_text(WATER * 3)
    Path("c.csv").write_text("smiles\nC\n")
    for name in ("a.traj", "b.xyz", "c.csv"):
        Path(name + ending).write_bytes(COMPRESS[ending](Path(name).read_bytes()))
    library = named("a.traj" + ending, "b.xyz" + ending, "c.csv" + ending)
    assert formulas(library) == ["H2O", "CH4", "H2O", "H2O", "H2O", "CH4"]
    # Back to the front.
    assert [record.index for record in library.read(1, 3)] == [1, 0]
    assert [record.index for record in library.read(0, 1)] == [0]


@pytest.mark.parametrize("ending", COMPRESS)
def test_compressed_data_that_break_off_cost_what_is_behind(ending: str) -> None:
    text = "".join(WATER.replace("0.7572", f"0.{k:04d}") for k in range(5000, 9000)).encode()
    compressed = COMPRESS[ending](text)
    Path("in.xyz" + ending).write_bytes(compressed[: int(0.97 * len(compressed))])
    try:
        library = named("in.xyz" + ending)
    except InputUnreadable:
        # One block may be all that a compressed file consists of.
        assert ending != ".gz"
        return
    *good, bad = all_of(library)
    assert len(good) > 100
    for place, record in enumerate(good):
        assert record.atoms is not None
        assert record.atoms.positions[1, 1] == pytest.approx((5000 + place) * 1e-4)
    assert bad.problem is not None
    assert "damaged" in bad.problem.detail


WRITTEN = {
    "a.traj": ("traj", {}),
    "b.db": ("db", {}),
    "c.gen": ("gen", {}),
    "d.gjf": ("gaussian-in", {}),
    "e.pdb": ("proteindatabank", {}),
    "f.extxyz": ("extxyz", {}),
    "g.cif": ("cif", {}),
    "h.gro": ("gromacs", {}),
    "i.xsf": ("xsf", {}),
    "j.vasp": ("vasp", {}),
    "k.nwi": ("nwchem-in", {}),
    "l.pwi": ("espresso-in", {"pseudopotentials": {"O": "O.upf", "H": "H.upf"}}),
    "m.car": ("dmol-car", {}),
    "n.res": ("res", {}),
    "POSCAR": ("vasp", {}),
    "coord": ("turbomole", {}),
}


def written(folder: str) -> list[Path]:
    """Water in many formats."""
    Path(folder).mkdir()
    water = molecule("H2O", vacuum=4.0, pbc=True)
    for name, (form, more) in WRITTEN.items():
        write(Path(folder) / name, water, format=form, **more)
    return sorted(Path(folder).iterdir())


def test_a_folder_of_many_formats_is_read_compressed_or_not() -> None:
    files = written("lib")
    for place, path in enumerate(files):
        ending = list(COMPRESS)[place % 3]
        compressed = path.with_name(path.name + ending)
        compressed.write_bytes(COMPRESS[ending](path.read_bytes()))
    library = named("lib")
    assert library.size == 2 * len(WRITTEN)
    assert set(formulas(library)) == {"H2O"}


def test_every_format_comes_over_standard_input_by_the_end_that_its_name_would_have() -> None:
    for path in written("lib"):
        form = path.suffix.removeprefix(".") or WRITTEN[path.name][0]
        for data in (path.read_bytes(), gzip.compress(path.read_bytes())):
            assert formulas(named("-", stdin=data, format=form)) == ["H2O"], path.name


def test_a_trajectory_without_elements_is_told_so() -> None:
    with DCDWriter(Path("in.dcd"), 3, 0.5, 1) as file:
        file.write(molecule("H2O"))
    Path("in.dcd.gz").write_bytes(gzip.compress(Path("in.dcd").read_bytes()))
    Path("a.xyz").write_text(WATER)
    for name in ("in.dcd", "in.dcd.gz"):
        with pytest.raises(InputUnreadable, match="DCD holds positions alone"):
            named(name)
        assert formulas(named("a.xyz", name)) == ["H2O", ""]


def test_a_name_with_one_ending_and_content_of_another_compression_is_read() -> None:
    Path("in.xyz").write_bytes(gzip.compress(WATER.encode()))
    Path("in.xyz.gz").write_text(WATER)
    assert formulas(named("in.xyz", "in.xyz.gz")) == ["H2O", "H2O"]


def test_of_several_files_a_bad_one_costs_only_itself() -> None:
    Path("a.xyz").write_text(WATER)
    Path("b.traj").write_text("no trajectory")
    Path("c.xyz").write_text("")
    Path("d.csv").write_text("x,y\n1,2\n")
    Path("e.xyz").write_text(WATER)
    library = named("a.xyz", "b.traj", "c.xyz", "d.csv", "e.xyz")
    assert formulas(library) == ["H2O", "", "", "", "H2O"]
    assert [r.problem.code for r in all_of(library) if r.problem] == ["input_unreadable"] * 3
    assert [record.source for record in all_of(library)][1] == "b.traj"
    with pytest.raises(InputUnreadable, match=r"b\.traj"):
        named("b.traj", "c.xyz")


@pytest.mark.parametrize("ending", ["db", "json"])
def test_data_bases_keep_names_and_charges(ending: str) -> None:
    with connect(f"in.{ending}") as base:
        base.write(molecule("H2O"), name="water")
        base.write(molecule("OH"), name="hydroxide", total_charge=-1)
        base.write(molecule("OH"), data={"charge": -1, "spectrum": [1.0, 2.0]})
    chunk = named(f"in.{ending}").chunk(0, 3)
    assert [origin.label for origin in chunk.origins][:2] == ["water", "hydroxide"]
    assert chunk.structures.charges.tolist() == [0, -1, -1]


def test_inputs_of_gaussian_keep_charge_and_multiplicity() -> None:
    atoms = "".join(WATER.splitlines(keepends=True)[2:])
    Path("in.gjf").write_text(f"#p HF/STO-3G\n\nwater\n\n-1 2\n{atoms}\n")
    (record,) = all_of(named("in.gjf"))
    assert record.atoms is not None
    assert electrons_of(record.atoms) == (-1, 2)


def test_what_ase_cannot_read_on_is_one_problem() -> None:
    write("whole.traj", [molecule(name) for name in ("H2O", "CH4", "C2H6")])
    written = bytearray(Path("whole.traj").read_bytes())
    place = written.rindex(b'"numbers.')
    written[place : place + 9] = b'"nobodys.'
    Path("in.traj").write_bytes(written)
    first, second, bad = all_of(named("in.traj"))
    assert first.problem is None
    assert second.problem is None
    assert bad.problem is not None
    assert "nothing that follows is read" in bad.problem.detail


CIF = """\
data_global
_publ_section_title 'nothing'
data_{name}
_cell_length_a 4.0
_cell_length_b 4.0
_cell_length_c 4.0
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
_atom_site_occupancy
C1 C 0 0 0 1.0
O1 O 0.3 0 0 {occupancy}
O2 O 0.7 0 0 {occupancy}
"""


def test_blocks_of_a_cif_are_cells_and_partial_sites_are_refused() -> None:
    Path("in.cif").write_text(
        CIF.format(name="whole", occupancy="1") + CIF.format(name="half", occupancy="0.5(1)")
    )
    whole, half = all_of(named("in.cif"))
    assert (whole.label, half.label) == ("whole", "half")
    assert whole.atoms is not None
    assert whole.atoms.pbc.all()
    assert whole.atoms.positions[1] == pytest.approx([1.2, 0.0, 0.0])
    assert half.problem is not None
    assert half.problem.code == "partial_occupancy"
    write("diamond.cif", bulk("C", "diamond", a=3.57, cubic=True))
    (found,) = all_of(named("diamond.cif"))
    assert found.atoms is not None
    expected = read("diamond.cif")
    assert found.atoms.get_scaled_positions() == pytest.approx(expected.get_scaled_positions())


def pdb(charge: str = "  ", occupancy: float = 1.0, location: str = " ") -> str:
    part = f"{occupancy:6.2f}  0.00"
    lines = [
        f"HETATM    1  O   HOH A   1       0.000   0.000   0.117{part}           O{charge}",
        f"HETATM    2  H1 {location}HOH A   1       0.000   0.757  -0.469{part}           H  ",
        f"ATOM      3  CA  GLY A   2       5.000   0.000   0.000{part}",
        f"ATOM      4 HG11 VAL A   2       6.000   0.000   0.000{part}",
    ]
    return "\n".join(lines) + "\n"


def test_models_of_a_pdb_file_have_their_elements_cell_and_charges() -> None:
    cell = "CRYST1   20.000   20.000   30.000  90.00  90.00  90.00 P 1\n"
    models = [pdb(), pdb("1-"), pdb(location="B"), pdb(occupancy=0.5), pdb(occupancy=0.0)]
    text = cell + "".join(f"MODEL {k}\n{model}ENDMDL\n" for k, model in enumerate(models)) + "END\n"
    Path("in.pdb").write_text(text)
    library = named("in.pdb")
    found = all_of(library)
    assert [r.problem.code if r.problem else "" for r in found] == [
        *("", "", "partial_occupancy", "partial_occupancy", ""),
    ]
    assert [r.atoms.info.get("charge", 0) for r in found if r.atoms] == [0, -1, 0]
    assert found[0].atoms is not None
    assert found[0].atoms.get_chemical_symbols() == ["O", "H", "C", "H"]
    assert found[0].atoms.cell.lengths().tolist() == [20.0, 20.0, 30.0]
    none = cell.replace("20.000", " 1.000").replace("30.000", " 1.000")
    Path("open.pdb").write_text(none + pdb())
    (alone,) = all_of(named("open.pdb"))
    assert alone.atoms is not None
    assert not alone.atoms.pbc.any()


def test_what_ase_writes_as_pdb_comes_back() -> None:
    frames = [molecule("CH3CH2OH"), molecule("C6H6")]
    write("in.pdb", frames)
    for record, expected in zip(all_of(named("in.pdb")), read("in.pdb", ":"), strict=True):
        assert record.atoms is not None
        assert record.atoms.numbers.tolist() == expected.numbers.tolist()
        assert record.atoms.positions == pytest.approx(expected.positions)
