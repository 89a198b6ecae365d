"""What is said of a dataset is counted from it, and nothing is said that cannot be known."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.patches import Rectangle
from typer.testing import CliRunner

from forcegate_client.dataset import (
    NOT_THERMAL,
    Dataset,
    DatasetMismatchError,
    Frame,
    Labels,
    MoleculeTable,
    Source,
    Split,
    TeacherRecord,
    from_frames,
    load_dataset,
    with_labels,
    write_dataset,
)
from forcegate_trainer.cli.app import create_app
from forcegate_trainer.data.description.chemistry import chemistry_of
from forcegate_trainer.data.description.composition import composition_of
from forcegate_trainer.data.description.describe import describe_files
from forcegate_trainer.data.description.labels import energies_beyond_elements
from forcegate_trainer.data.description.plots import draw
from forcegate_trainer.data.description.statistics import NO_THERMOSTAT, describe
from forcegate_trainer.errors import SettingsError

ALWAYS = {"splits", "elements", "sizes", "sources", "temperatures"}
PER_ELEMENT = {1: -13.0, 6: -58.0, 8: -110.0}
ROUNDING = 1e-9
TEACHER = TeacherRecord("a.teacher:of_sums", "1", {"accuracy": 0.1})


def apart(first: Atoms, second: Atoms) -> Atoms:
    second.positions += (0.0, 0.0, 6.0)
    return first + second


STRUCTURES: tuple[tuple[str, Atoms, Split, list[tuple[Source, float | None]]], ...] = (
    # SMILES, structure, split, frames as (source, K)
    ("O", molecule("H2O"), Split.TRAIN, [(Source.LANGEVIN, 300.0)] * 3 + [(Source.STRETCH, None)]),
    ("CO", molecule("CH3OH"), Split.TRAIN, [(Source.LANGEVIN, 500.0)] * 2),
    ("C", molecule("CH4"), Split.TEST, [(Source.TEACHER_MD, 300.0)]),
    ("O.CO", apart(molecule("H2O"), molecule("CH3OH")), Split.TRAIN, [(Source.DIMER, None)] * 2),
)


def unlabelled() -> Dataset:
    frames = [
        Frame(atoms.numbers.astype(np.int64), atoms.positions, row, source, kelvin or NOT_THERMAL)
        for row, (_, atoms, _, made) in enumerate(STRUCTURES)
        for source, kelvin in made
    ]
    smiles = [row[0] for row in STRUCTURES]
    table = MoleculeTable.closed_shell(smiles, smiles, smiles, [row[2] for row in STRUCTURES])
    return from_frames(frames, table, dropped={"gap_too_small": 1, "no_dimer": 10})


def labelled(dataset: Dataset, beyond: np.ndarray | float = 0.0) -> Dataset:
    """Energies that are sums over atoms, plus ``beyond`` (eV); forces of 3, 4 and 0 eV/Å."""
    per_atom = np.array([PER_ELEMENT[z] for z in dataset.atomic_numbers.tolist()])
    energies = np.add.reduceat(per_atom, dataset.offsets[:-1]) + beyond
    forces = np.tile([3.0, 4.0, 0.0], (len(dataset.atomic_numbers), 1))
    return with_labels(dataset, Labels(energies, forces), TEACHER, dataset.flags)


def test_molecules_pairs_frames_and_atoms_are_counted_apart() -> None:
    found = describe(unlabelled())
    assert (found.total.molecules, found.total.pairs) == (3, 1)
    assert (found.total.frames, found.total.atoms) == (9, 4 * 3 + 2 * 6 + 5 + 2 * 9)
    train, test = found.splits["train"], found.splits["test"]
    assert (train.molecules, train.pairs, train.frames) == (2, 1, 8)
    assert (test.molecules, test.pairs, test.frames, test.atoms) == (1, 0, 1, 5)
    assert "validation" not in found.splits
    assert {name: counts.frames for name, counts in found.sources.items()} == {
        "langevin": 5,
        "teacher_md": 1,
        "stretch": 1,
        "dimer": 2,
    }
    assert {name: counts.frames for name, counts in found.temperatures.items()} == {
        NO_THERMOSTAT: 3,
        "300": 4,
        "500": 2,
    }


def test_an_element_counts_in_what_contains_it() -> None:
    found = describe(unlabelled()).elements
    assert list(found) == ["H", "C", "O"]
    assert (found["O"].molecules, found["O"].frames, found["O"].atoms) == (3, 8, 4 + 2 + 4)
    assert found["O"].molecules_of_split == {"train": 3, "test": 0}
    assert found["C"].molecules_of_split == {"train": 2, "test": 1}


def test_heavy_atoms_are_those_of_molecules_and_pairs_not_of_frames() -> None:
    sizes = describe(unlabelled()).sizes
    # Water and methane have one each, methanol two; water's many frames do not weigh.
    assert sizes["heavy atoms of a molecule"]["median"] == 1
    assert sizes["heavy atoms of a molecule"]["max"] == 2
    assert sizes["heavy atoms of a pair"]["min"] == 3
    assert (sizes["atoms of a frame"]["min"], sizes["atoms of a frame"]["max"]) == (3, 9)


def test_groups_and_charges_are_those_of_molecules_not_of_frames_or_pairs() -> None:
    dataset = unlabelled()
    found = describe(dataset).chemistry
    # Water, methanol and methane; the pair is of molecules that are there already.
    assert found.charges == {"neutral": 3}
    assert {name for name, count in found.groups.items() if count} == {"alcohol"}
    assert found.groups["alcohol"] == 1


def test_what_is_not_identified_is_counted_apart() -> None:
    dataset = unlabelled()
    smiles = ("unidentified:CH4", "[NH3+]CC(=O)[O-]", "CC(=O)[O-]", *dataset.molecules.smiles[3:])
    named = replace(dataset, molecules=replace(dataset.molecules, smiles=smiles))
    found = describe(named).chemistry
    assert found.unreadable == 1
    assert found.charges == {"zwitterion": 1, "anion": 1}
    assert found.groups["carboxylate"] == 2
    assert found.groups["ammonium"] == 1


def test_every_group_is_one_that_a_molecule_can_have() -> None:
    examples = (
        "C=CC#CC1CO1", "c1ccncc1", "OCc1ccccc1O", "COC=O", "CC(C)=O", "CC(=O)O", "CC(=O)[O-]",
        "COC(=O)N(C)C", "CC(=O)NC(C)=O", "CC(=O)Cl", "CN", "Nc1ccccc1", "C[NH3+]", "C[n+]1ccccc1",
        "NC(N)=[NH2+]", "NC=N", "CC=NO", "CC#N", "CN=C=O", "CN=[N+]=[N-]", "CN=NC", "C[N+](=O)[O-]",
        "C[n+]1ccccc1.[O-][n+]1ccccc1", "NN", "CS", "C[S-]", "CSSC", "CC(=S)NC", "CS(C)=O",
        "CS(C)(=O)=O", "CS(N)(=O)=O", "CS(=O)(=O)O", "CS(=O)(=O)[O-]", "C[S+](C)C", "CF", "CCl",
        "CBr", "CI", "CC(F)(F)F", "CB(O)O", "CB(OC)OC", "CB(C)N", "C[B-](F)(F)F", "C[SiH](C)C",
        "C[Si](C)(C)OC", "C[Si](C)(C)Cl", "CPC", "CP(C)(C)=O", "COP(=O)(OC)OC", "CP(=O)(OC)OC",
        "CP(=O)(N)N", "C[P+](C)(C)C", "COP(OC)OC", "CSC", "COC",
    )  # fmt: skip
    found = chemistry_of(examples)
    assert [name for name, count in found.groups.items() if not count] == []
    assert found.unreadable == 0


def test_shares_of_what_was_dropped_are_of_all_that_was_made() -> None:
    dropped = describe(unlabelled()).dropped
    assert list(dropped) == ["no_dimer", "gap_too_small"]
    assert dropped["no_dimer"].share == pytest.approx(10 / 20)
    assert dropped["gap_too_small"].share == pytest.approx(1 / 20)


def test_rms_is_over_components_and_the_largest_is_a_norm() -> None:
    forces = describe(labelled(unlabelled())).total.forces
    assert forces is not None
    assert forces.component_rms == pytest.approx(5.0 / np.sqrt(3.0))
    assert forces.norm_max == pytest.approx(5.0)


def test_forces_are_those_of_the_frames_that_are_counted() -> None:
    dataset = labelled(unlabelled())
    assert dataset.forces is not None
    strong = np.repeat(dataset.source == Source.DIMER, dataset.n_atoms)
    found = describe(replace(dataset, forces=np.where(strong[:, None], 2.0, 1.0) * dataset.forces))
    largest = {name: c.forces.norm_max for name, c in found.sources.items() if c.forces is not None}
    assert largest == pytest.approx(
        {"langevin": 5.0, "teacher_md": 5.0, "stretch": 5.0, "dimer": 10.0}
    )


def test_energies_that_are_sums_over_elements_leave_nothing_to_learn() -> None:
    found = describe(labelled(unlabelled())).energies
    assert found is not None
    assert found.rms == pytest.approx(0.0, abs=1e3 * ROUNDING)
    assert found.element_energies == pytest.approx({"H": -13.0, "C": -58.0, "O": -110.0})


@given(shifts=st.tuples(*[st.floats(-100.0, 100.0)] * 3))
def test_what_is_left_does_not_depend_on_the_zero_of_energy(shifts: tuple[float, ...]) -> None:
    dataset = labelled(unlabelled(), np.random.default_rng(0).normal(0, 0.1, 9))
    composition = composition_of(dataset)
    assert dataset.energies is not None
    moved = replace(dataset, energies=dataset.energies + composition.counts @ np.array(shifts))
    before, after = (energies_beyond_elements(d, composition)[0] for d in (dataset, moved))
    np.testing.assert_allclose(after, before, atol=1e3 * ROUNDING)


def test_element_energies_that_the_compositions_leave_open_are_not_made_up() -> None:
    water = labelled(unlabelled().select(np.arange(4)))
    found = describe(water)
    assert found.energies is not None
    assert found.energies.element_energies is None
    assert found.energies.rms == pytest.approx(0.0, abs=1e3 * ROUNDING)
    assert "element_energies" in found.to_json()["missing"]


def test_a_monomer_in_another_split_than_its_pair_is_told() -> None:
    dataset = unlabelled()
    assert describe(dataset).keys_in_several_splits == 0
    split = dataset.molecules.split.copy()
    split[1] = Split.TEST  # methanol, half of the pair
    leaking = replace(dataset, molecules=replace(dataset.molecules, split=split))
    # Methanol is trained on whatever its split, so that it is nobody's secret.
    assert describe(leaking).keys_in_several_splits == 0
    smiles = tuple(text.replace("CO", "CCCO") for text in dataset.molecules.smiles)
    larger = replace(leaking, molecules=replace(leaking.molecules, smiles=smiles))
    assert describe(larger).keys_in_several_splits == 1


def test_molecules_that_lost_all_frames_are_counted_nowhere_else() -> None:
    dataset = unlabelled()
    kept = dataset.select(np.arange(6))  # water and methanol
    kept = replace(kept, molecules=dataset.molecules)
    found = describe(kept)
    assert found.molecules_without_frames == 2
    assert (found.total.molecules, found.total.pairs) == (2, 0)
    assert "test" not in found.splits


def test_nothing_is_said_of_nothing() -> None:
    with pytest.raises(SettingsError, match="without frames"):
        describe(unlabelled().select(np.arange(0)))


def test_the_command_writes_numbers_tables_and_figures(tmp_path: Path) -> None:
    write_dataset(tmp_path / "all.h5", labelled(unlabelled()))
    out = tmp_path / "out"
    arguments = ["describe", str(tmp_path / "all.h5"), "--out", str(out)]
    result = CliRunner().invoke(create_app(), arguments)
    assert result.exit_code == 0, result.output
    found = json.loads((out / "statistics.json").read_text())
    assert found["total"]["frames"] == 9
    assert found["content_hash"] == load_dataset(tmp_path / "all.h5").content_hash()
    assert found["teacher"]["name"] == TEACHER.name
    drawn = {path.stem for path in out.glob("*.png")}
    assert drawn == ALWAYS | {"forces", "energies", "dropped"}
    page = (out / "statistics.md").read_text()
    assert all(f"({name}.png)" in page for name in drawn)
    assert "| train | 2 | 1 | 8 | 42 | 2.887 | 5.0 |" in page


def test_several_unlabelled_files_are_described_as_one_without_forces(tmp_path: Path) -> None:
    whole = unlabelled()
    for name, part in (("a", np.arange(3)), ("b", np.arange(3, 9))):
        write_dataset(tmp_path / f"{name}.h5", whole.select(part))
    described = describe_files([tmp_path / "a.h5", tmp_path / "b.h5"], tmp_path / "out")
    expected = describe(replace(whole, dropped={}))
    assert described.splits == expected.splits
    assert described.elements == expected.elements
    found = json.loads((tmp_path / "out" / "statistics.json").read_text())
    assert found["teacher"] is found["energies"] is found["total"]["forces"] is None
    assert found["missing"] == {"teacher, forces, energies": "the dataset is not labelled"}
    assert {path.stem for path in (tmp_path / "out").glob("*.png")} == ALWAYS
    assert "a.h5, b.h5" in (tmp_path / "out" / "statistics.md").read_text()


def test_files_of_which_only_some_are_labelled_are_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a.h5", unlabelled())
    write_dataset(tmp_path / "b.h5", labelled(unlabelled()))
    with pytest.raises(DatasetMismatchError, match="unlabelled"):
        describe_files([tmp_path / "a.h5", tmp_path / "b.h5"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_many_temperatures_and_pairs_alone_are_drawn_too() -> None:
    pairs = unlabelled().select(np.repeat([7, 8], 20))
    warm = replace(pairs, temperature=np.linspace(100.0, 1000.0, 40))
    found = describe(warm)
    assert "heavy atoms of a molecule" not in found.sizes
    figures = draw(warm, found)
    assert set(figures) == ALWAYS
    heights = [
        bar.get_height()
        for bar in figures["temperatures"].axes[0].patches
        if isinstance(bar, Rectangle)
    ]
    assert sum(heights) == 40
    assert len(heights) > 40
