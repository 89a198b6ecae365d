"""``forcegate screen`` on a real port: every kind of input, both tasks, and shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read, write
from ase.optimize import FIRE
from rdkit import Chem
from rdkit.Chem import rdDistGeom
from typer.testing import CliRunner, Result

from forcegate_client import Client, RemoteCalculator
from forcegate_client.cli.app import app
from forcegate_client.dataset import (
    Frame,
    MoleculeTable,
    Source,
    Split,
    from_frames,
    load_dataset,
    write_dataset,
)
from forcegate_client.reading.library import open_library
from forcegate_client.structures import StructureBatch

NAMES = ["H2O", "CH4", "CH3OH", "NH3", "C2H6", "CH3Cl", "H2CO"]
# The toy pushes atoms apart: forces of some hundredths of eV/Å fade as they go.
FMAX = 0.005
DONE, INCOMPLETE = 0, 3

pytestmark = pytest.mark.usefixtures("beside_toy")


def forcegate(*arguments: str, ends_with: int = DONE) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == ends_with, result.output
    return result


def screened(*arguments: str, ends_with: int = DONE) -> dict[str, Any]:
    """All arrays of ``out/results.h5``."""
    forcegate(
        *("screen", *arguments, "--model", "toy", "--out", "out", "--part-size", "3"),
        ends_with=ends_with,
    )
    return results("out")


def results(out: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def take(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            text = h5py.check_string_dtype(item.dtype) is not None
            found[name] = item.asstr()[()].tolist() if text else item[()]

    with h5py.File(Path(out) / "results.h5") as file:
        file.visititems(take)
    return found


def energies(url: str, structures: list[Atoms] | StructureBatch) -> np.ndarray:
    with Client(url) as client:
        energy = client.predict(structures, "toy").predictions.energy
    assert energy is not None
    return energy


def with_coordinates(smiles: str, name: str) -> Chem.Mol:
    made = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(made, randomSeed=7) == 0
    made.SetProp("_Name", name)
    return made


def sdf(path: str, *molecules: Chem.Mol) -> None:
    with Chem.SDWriter(path) as writer:
        for one in molecules:
            writer.write(one)


def test_each_sdf_record_keeps_its_place_its_title_and_its_charge(toy_gateway: str) -> None:
    drawing = Chem.MolFromSmiles("CCC")
    drawing.SetProp("_Name", "drawn")
    sdf(
        "in.sdf",
        with_coordinates("CCO", "ethanol"),
        with_coordinates("[NH4+]", "ammonium"),
        drawing,
        with_coordinates("CC(=O)[O-]", "acetate"),
        with_coordinates("C[NH2+]CC(=O)[O-]", "a zwitterion"),
    )
    found = screened("in.sdf", ends_with=INCOMPLETE)
    assert found["rows/index"].tolist() == [0, 4]
    assert found["rows/label"] == ["ethanol", "a zwitterion"]
    # Had a charge been lost on the way, its record would have been computed.
    assert found["failures/index"].tolist() == [1, 2, 3]
    assert found["failures/code"] == [
        "charge_unsupported",
        "no_3d_coordinates",
        "charge_unsupported",
    ]
    assert "charge 1" in found["failures/detail"][0]
    assert "charge -1" in found["failures/detail"][2]
    read_again = open_library(["in.sdf"]).chunk(0, 5).structures
    assert read_again.charges.tolist() == [0, 1, -1, 0]
    assert found["rows/energy"] == pytest.approx(energies(toy_gateway, read_again.select([0, 3])))


def test_each_smiles_gets_hydrogens_coordinates_and_its_name(toy_gateway: str) -> None:
    Path("in.smi").write_text("CCO ethanol\nC\nnot-a-smiles broken\n[OH-] hydroxide\nCl acid\n")
    found = screened("in.smi", "--export", "csv", ends_with=INCOMPLETE)
    assert found["rows/index"].tolist() == [0, 1, 4]
    assert found["rows/label"] == ["ethanol", "C", "acid"]
    assert found["rows/n_atoms"].tolist() == [9, 5, 2]
    assert found["failures/index"].tolist() == [2, 3]
    assert found["failures/code"] == ["smiles_invalid", "charge_unsupported"]
    made = open_library(["in.smi"]).chunk(0, 5).structures
    assert found["rows/energy"] == pytest.approx(energies(toy_gateway, made.select([0, 1, 3])))
    lines = Path("out/selected.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in lines[1:]] == [
        ["0", "ethanol"],
        ["1", "C"],
        ["4", "acid"],
    ]


def test_all_frames_of_a_dataset_are_computed_in_order(toy_gateway: str) -> None:
    frames = [
        Frame(
            atomic_numbers=(atoms := molecule(name)).numbers.astype(np.int64),
            positions=np.round(atoms.positions + 0.01 * turn, 4),
            molecule_id=row,
            source=Source.CONFORMER,
        )
        for turn in range(3)
        for row, name in enumerate(NAMES)
    ]
    table = MoleculeTable.closed_shell(NAMES, NAMES, NAMES, [Split.TEST] * len(NAMES))
    write_dataset(Path("in.h5"), from_frames(frames, table, seed=0))
    found = screened("in.h5", "--keep-forces")
    assert found["rows/index"].tolist() == list(range(len(frames)))
    dataset = load_dataset(Path("in.h5"))
    batch = StructureBatch.from_arrays(dataset.n_atoms, dataset.atomic_numbers, dataset.positions)
    assert found["rows/energy"] == pytest.approx(energies(toy_gateway, batch))
    assert found["atoms/forces"].shape == (batch.total_atoms, 3)
    assert set(found["rows/label"]) == {""}


def test_several_files_are_one_library_in_the_order_in_which_they_are_named() -> None:
    write("a.xyz", [molecule(name) for name in NAMES])
    Path("b.smi").write_text("O water\n")
    sdf("c.sdf", with_coordinates("CC", "ethane"))
    found = screened("c.sdf", "a.xyz", "b.smi")
    sizes = [len(molecule(name)) for name in NAMES]
    assert found["rows/n_atoms"].tolist() == [8, *sizes, 3]
    assert found["rows/label"] == ["ethane", *[""] * len(NAMES), "water"]


def test_relaxed_structures_are_where_ase_brings_them(toy_gateway: str) -> None:
    frames = [molecule(name) for name in NAMES]
    frames[3] = molecule("SiH4")
    write("in.extxyz", frames)
    options = ("--task", "relax", "--fmax", str(FMAX), "--export", "extxyz")
    found = screened("in.extxyz", *options, ends_with=INCOMPLETE)
    assert found["failures/index"].tolist() == [3]
    assert found["failures/code"] == ["element_unsupported"]
    good = [0, 1, 2, 4, 5, 6]
    assert found["rows/index"].tolist() == good
    assert found["rows/converged"].all()
    assert (found["rows/max_force"] < FMAX).all()
    starts = read("in.extxyz", ":")
    assert found["rows/start_energy"] == pytest.approx(
        energies(toy_gateway, [starts[k] for k in good])
    )
    relaxed = read("out/selected.extxyz", ":")
    assert [frame.info["index"] for frame in relaxed] == good
    assert found["atoms/positions"] == pytest.approx(
        np.concatenate([frame.positions for frame in relaxed]), abs=1e-7
    )
    with Client(toy_gateway) as client:
        for row, (index, frame) in enumerate(zip(good, relaxed, strict=True)):
            alone = starts[index]
            alone.calc = RemoteCalculator(model="toy", client=client)
            engine = FIRE(alone, logfile=None)
            engine.run(fmax=FMAX)
            assert found["rows/steps"][row] == engine.nsteps > 0
            assert frame.positions == pytest.approx(alone.positions, abs=1e-6)
            assert found["rows/energy"][row] == pytest.approx(alone.get_potential_energy())


def test_relaxations_that_run_out_of_steps_have_rows_and_say_so() -> None:
    write("in.xyz", [molecule(name) for name in NAMES])
    found = screened("in.xyz", "--task", "relax", "--fmax", str(FMAX), "--steps", "2")
    assert found["rows/index"].tolist() == list(range(len(NAMES)))
    assert found["rows/steps"].tolist() == [2] * len(NAMES)
    assert not found["rows/converged"].any()
    assert (found["rows/energy"] < found["rows/start_energy"]).all()


def test_what_is_charged_is_not_relaxed_as_if_it_were_neutral() -> None:
    sdf("in.sdf", with_coordinates("[NH4+]", "ammonium"), with_coordinates("C", "methane"))
    found = screened("in.sdf", "--task", "relax", "--fmax", str(FMAX), ends_with=INCOMPLETE)
    assert found["rows/label"] == ["methane"]
    assert found["failures/code"] == ["charge_unsupported"]


@pytest.mark.parametrize("task", ["single-point", "relax"])
def test_shards_that_are_merged_are_the_whole(task: str) -> None:
    write("in.xyz", [molecule(name) for name in NAMES * 2])
    options = ("in.xyz", "--task", task, "--fmax", str(FMAX), "--steps", "10")
    whole = screened(*options)
    assert whole["rows/index"].tolist() == list(range(2 * len(NAMES)))
    of_one = ("screen", *options, "--model", "toy", "--out", "parts", "--part-size", "2")
    # In any order, as the nodes of a cluster come to it.
    for number in (3, 1):
        forcegate(*of_one, "--shard", f"{number}/3")
    early = forcegate("merge", "parts", ends_with=1)
    assert "2 of 3 shards; missing: 2" in early.stderr
    forcegate(*of_one, "--shard", "2/3")
    said = forcegate("merge", "parts", "--where", "n_atoms > 4", "--export", "csv")
    assert f"{2 * len(NAMES)} of {2 * len(NAMES)} structures computed" in said.stdout
    merged = results("parts")
    assert merged.keys() == whole.keys()
    assert merged["rows/selected"].tolist() == [n > 4 for n in whole["rows/n_atoms"].tolist()]
    for name in whole.keys() - {"rows/selected"}:
        # A batch of other company rounds its sums otherwise.
        assert merged[name] == pytest.approx(whole[name], abs=1e-6), name
