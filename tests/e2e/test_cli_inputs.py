"""All four commands take the same inputs, and a bad record costs only itself in each of them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import h5py
import pytest
from ase.build import molecule
from ase.io import read, write
from rdkit import Chem
from rdkit.Chem import rdDistGeom
from typer.testing import CliRunner, Result

from forcegate_client.cli.app import app

WATER = "3\nwater\nO 0.0 0.0 0.1173\nH 0.0 0.7572 -0.4692\nH 0.0 -0.7572 -0.4692\n"
BAD = "3\nbad\nO 0.0 0.0\nH 0.0 0.76\nH 0.0 -0.76\n"

pytestmark = pytest.mark.usefixtures("beside_toy")


def forcegate(*arguments: str, stdin: bytes | None = None, ends_with: int = 0) -> Result:
    result = CliRunner().invoke(app, [*arguments, "--model", "toy"], input=stdin)
    assert result.exit_code == ends_with, result.output
    return result


def rows(result: Result) -> list[list[str]]:
    """The cells of the table's rows, without the last column."""
    lines = [line for line in result.stdout.splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in line.split("│")[1:-2]] for line in lines]
    # A remark may go over several lines.
    return [row for row in cells if row[0]]


def sdf(path: str, *smiles: str) -> None:
    with Chem.SDWriter(path) as writer:
        for text in smiles:
            made = Chem.AddHs(Chem.MolFromSmiles(text))
            rdDistGeom.EmbedMolecule(made, randomSeed=7)
            made.SetProp("_Name", text)
            writer.write(made)


def screened(*arguments: str, ends_with: int = 0) -> tuple[list[int], list[str]]:
    """Index of the structures that have a row, and what is said of those that have none."""
    forcegate("screen", *arguments, "--out", "out", ends_with=ends_with)
    with h5py.File("out/results.h5") as file:
        return file["rows/index"][()].tolist(), file["failures/detail"].asstr()[()].tolist()


def test_every_record_of_an_sdf_has_its_place_in_every_command() -> None:
    sdf("in.sdf", "CCO", "[O-]C(=O)CCC(=O)[O-]", "C")
    found = rows(forcegate("predict", "in.sdf", "--out", "p.extxyz", ends_with=3))
    assert [row[:3] for row in found] == [
        ["0", "CCO", "C2H6O"],
        ["1", "[O-]C(=O)CCC(=O)[O-]", "C4H4O4"],
        ["2", "C", "CH4"],
    ]
    assert [bool(row[3]) for row in found] == [True, False, True]
    assert "charge -2" in read("p.extxyz", 1).info["forcegate_detail"]
    result = forcegate("relax", "in.sdf", ends_with=3)
    assert "charge -2" in result.stdout
    assert len(read("in_relaxed.extxyz", ":")) == 3
    computed, failed = screened("in.sdf", ends_with=3)
    assert computed == [0, 2]
    assert failed[0].startswith("structure 1 of in.sdf ([O-]C(=O)CCC(=O)[O-]): charge -2")
    assert "charge -2" in forcegate("md", "in.sdf", "--frame", "1", ends_with=1).stderr
    forcegate("md", "in.sdf", "--frame", "2", "--time-ps", "0.01", "--no-relax")
    summary = json.loads(Path("in_md/summary.json").read_text())
    assert (summary["file"], summary["frame"], summary["formula"]) == ("in.sdf", 2, "CH4")


def test_a_bad_record_costs_only_itself_in_every_command() -> None:
    Path("in.xyz").write_text(WATER + BAD + WATER)
    found = rows(forcegate("predict", "in.xyz", ends_with=3))
    assert [row[0] for row in found] == ["0", "1", "2"]
    assert [row[2] for row in found] == ["H2O", "", "H2O"]
    result = forcegate("relax", "in.xyz", "--out", "r.extxyz", ends_with=3)
    assert "3 columns for atom 0" in result.stdout
    assert len(read("r.extxyz", ":")) == 2
    computed, failed = screened("in.xyz", ends_with=3)
    assert computed == [0, 2]
    assert failed[0].startswith("structure 1 of in.xyz (bad): 3 columns")
    told = forcegate("md", "in.xyz", "--frame", "1", ends_with=1).stderr
    assert "structure 1 of in.xyz (bad)" in told


def test_missing_hydrogens_are_remarked_on_in_every_command() -> None:
    sdf("whole.sdf", "CC(N)=O")
    skeleton = Chem.RemoveHs(next(Chem.SDMolSupplier("whole.sdf", removeHs=False)))
    Path("in.sdf").write_text(Chem.MolToMolBlock(skeleton))
    said = "5 hydrogens are missing"
    assert said in " ".join(forcegate("predict", "in.sdf", "--json").stdout.split())
    forcegate("relax", "in.sdf", "--fmax", "1000")
    assert said in read("in_relaxed.extxyz").info["forcegate_warning"]
    forcegate("screen", "in.sdf", "--out", "out")
    with h5py.File("out/results.h5") as file:
        assert any(said in text for text in file["warnings/text"].asstr()[()])
    options = ("--no-relax", "--time-ps", "0.01", "--equilibrate-ps", "0.01")
    assert said in forcegate("md", "in.sdf", *options).stderr


def test_files_folders_and_smiles_are_numbered_by_file() -> None:
    Path("lib").mkdir()
    Path("lib/a.xyz").write_text(WATER)
    Path("lib/b.smi.gz").write_bytes(gzip.compress(b"C methane\nnothing broken\n"))
    Path("lib/notes.md").write_text("words")
    result = forcegate("predict", "lib", "lib/*.xyz", "--smiles", "O", ends_with=3)
    assert [row[:3] for row in rows(result)] == [
        ["0", "lib/a.xyz", "water"],
        ["0", "lib/b.smi.gz", "methane"],
        ["1", "lib/b.smi.gz", "broken"],
        ["0", "lib/a.xyz", "water"],
        ["0", "--smiles", "O"],
    ]
    assert "lib/notes.md" in result.stderr
    assert "structure 1 of lib/b.smi.gz (broken)" in result.stderr


def test_the_number_in_a_problem_is_that_of_the_frame_in_its_file() -> None:
    frames = [molecule("H2O")] * 130
    write("a.extxyz", [molecule("CH4")])
    write("b.extxyz", [*frames, molecule("SiH4")])
    forcegate("predict", "a.extxyz", "b.extxyz", "--out", "p.extxyz", ends_with=3)
    detail = read("p.extxyz", -1).info["forcegate_detail"]
    assert detail.startswith("structure 130 of b.extxyz: element Si")
    computed, failed = screened("a.extxyz", "b.extxyz", "--part-size", "50", ends_with=3)
    assert len(computed) == 131
    assert failed[0].startswith("structure 130 of b.extxyz: element Si")


def test_standard_input_is_read_and_screened_again_from_its_copy() -> None:
    forcegate("predict", "-", "--format", "smi", stdin=b"CCO\nC\n")
    forcegate("relax", "-", "--format", "smi", "--fmax", "100", stdin=b"C\n")
    assert len(read("stdin_relaxed.extxyz", ":")) == 1
    for _ in range(2):
        arguments = ("screen", "-", "--format", "smi", "--out", "out", "--export", "extxyz")
        assert "2 of 2" in forcegate(*arguments, stdin=b"CCO\nC\n").stdout
    assert [len(frame) for frame in read("out/selected.extxyz", ":")] == [9, 5]
    refused = forcegate("screen", "-", "--format", "smi", "--out", "out", stdin=b"O\n", ends_with=1)
    assert "sha256" in refused.stderr
    assert [len(frame) for frame in read("out/selected.extxyz", ":")] == [9, 5]
    assert "2 of 2" in forcegate("screen", "--smiles", "C", "--smiles", "O", "--out", "two").stdout


@pytest.mark.parametrize("command", ["predict", "relax", "md", "screen"])
def test_what_is_no_input_is_told_in_one_line(command: str) -> None:
    out = ("--out", "out")
    assert "--smiles 'CCO'" in forcegate(command, "CCO", *out, ends_with=1).stderr
    assert "no input" in forcegate(command, *out, ends_with=1).stderr
    assert "--format" in forcegate(command, "-", *out, stdin=b"C\n", ends_with=1).stderr
    assert not Path("out").exists()
