"""Figures by kind of molecule: the worst is named, and charges are held to their sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from forcegate_client.dataset import (
    Dataset,
    Flag,
    Frame,
    Labels,
    MoleculeTable,
    Source,
    Split,
    TeacherRecord,
    from_frames,
    with_labels,
)
from forcegate_client.structures import StructureBatch
from forcegate_service.runtimes.fake import load_fake, write_fake_model
from forcegate_trainer.data.labelling.complexes import part_charges
from forcegate_trainer.data.molecules.structures import (
    atomic_numbers,
    conformers,
    hydrogenated,
    structure_of,
)
from forcegate_trainer.simulation.exported import RuntimePotential
from forcegate_trainer.simulation.potential import CalculatorPotential
from forcegate_trainer.teachers import make_teacher
from forcegate_trainer.validation.accuracy.heldout import HeldOut, predict_with
from forcegate_trainer.validation.accuracy.heldout_section import heldout_section, judged_frames
from forcegate_trainer.validation.accuracy.kinds import Kind, frames_by_kind
from forcegate_trainer.validation.accuracy.net_charges import net_charge_errors
from forcegate_trainer.validation.points import members_of, teacher_points

TEACHER = "tblite:GFN2-xTB"
KINDS = {
    "CCO": {Kind.ORGANIC},
    "FCCl": {Kind.HALOGEN},
    "CP(C)C": {Kind.PHOSPHORUS},
    "CB(O)O": {Kind.BORON_SILICON},
    "C[Si](C)(C)Cl": {Kind.BORON_SILICON, Kind.HALOGEN},
    "C[NH3+]": {Kind.CATION},
    "FCC(=O)[O-]": {Kind.ANION, Kind.HALOGEN},
    "[NH3+]CC(=O)[O-]": {Kind.ZWITTERION},
    # Charges that touch are how a nitro group is drawn.
    "C[N+](=O)[O-]": {Kind.ORGANIC},
    "CCCCCCCCCCCCCCCCCCCCO": {Kind.ORGANIC, Kind.DRUG_LIKE},
    "CCCCCCCCCCCCCCCCCCCC[NH3+]": {Kind.CATION, Kind.DRUG_LIKE},
    "C[NH3+].O": {Kind.DIMER},
    "O.O.O": {Kind.CLUSTER},
}


def made(smiles: Sequence[str], *, numbered: bool = True, charges: bool = True) -> Dataset:
    """One labelled frame of each; atoms, labels and charges are drawn at random."""
    rng = np.random.default_rng(0)
    frames = []
    for row, text in enumerate(smiles):
        numbers = atomic_numbers(hydrogenated(text))
        sizes = [hydrogenated(part).GetNumAtoms() for part in text.split(".")]
        source = Source.CONTACT if "." in text else Source.TEACHER_MD
        kelvin = -1.0 if "." in text else 300.0
        fragment = np.repeat(np.arange(len(sizes)), sizes) if numbered else None
        positions = 3.0 * rng.normal(size=(len(numbers), 3))
        frames.append(Frame(numbers, positions, row, source, kelvin, fragment))
    net = [int(part_charges(text).sum()) for text in smiles]
    table = MoleculeTable.closed_shell(smiles, smiles, smiles, [Split.TEST] * len(smiles), net)
    bare = from_frames(frames, table, seed=0)
    atoms = len(bare.atomic_numbers)
    labels = Labels(
        rng.normal(size=len(bare)),
        rng.normal(size=(atoms, 3)),
        charges=0.3 * rng.normal(size=atoms) if charges else None,
    )
    return with_labels(bare, labels, TeacherRecord(TEACHER, "test"), bare.flags)


def answered(dataset: Dataset, **changes: object) -> HeldOut:
    """A student that says what the teacher says, but for ``changes``."""
    exact = {"energy": dataset.energies, "forces": dataset.forces, "charges": dataset.charges}
    return HeldOut(dataset=dataset, uncertainty=None, novelty=None, **(exact | changes))


@pytest.mark.parametrize("numbered", [True, False])
def test_a_molecule_is_of_the_kinds_that_a_chemist_would_say(numbered: bool) -> None:
    dataset = made(list(KINDS), numbered=numbered)
    masks = frames_by_kind(dataset)
    for row, (smiles, kinds) in enumerate(KINDS.items()):
        assert {kind for kind, mask in masks.items() if mask[row]} == kinds, smiles
    # A kind that is not there has no figures.
    assert set(frames_by_kind(made(["CCO"]))) == {Kind.ORGANIC}


def test_the_kind_that_is_known_least_is_named() -> None:
    dataset = made(list(KINDS))
    wrong = dataset.forces.copy()
    wrong[dataset.atoms_of(list(KINDS).index("CP(C)C"))] += 0.3
    section = heldout_section(answered(dataset, forces=wrong), [], "of every kind", 0)
    assert section.data["worst_kind"] == "phosphorus"
    kinds = section.data["per_kind"]
    assert kinds["phosphorus"]["force_rmse"] == pytest.approx(0.3)
    assert kinds["organic"]["force_rmse"] == 0.0
    assert kinds["drug-like"]["molecules"] == 2
    assert "the worst kind is phosphorus with 0.300 eV/Å" in section.markdown
    # One of thirteen molecules is wrong: neither the median nor nine in ten show it.
    assert section.data["by_molecule"]["q90"]["force_rmse"] == 0.0
    assert section.data["by_molecule"]["worst"]["force_rmse"] == pytest.approx(0.3)


def test_charges_are_compared_where_both_tell_them() -> None:
    dataset = made(["CCO", "C[NH3+]"])
    shifted = answered(dataset, charges=dataset.charges + 0.02)
    section = heldout_section(shifted, [], "", 0)
    assert section.data["charge_mae_e"] == pytest.approx(0.02)
    assert section.data["per_kind"]["cation"]["charge_mae_e"] == pytest.approx(0.02)
    assert "charge MAE" in section.markdown
    for silent in (answered(made(["CCO"], charges=False)), answered(dataset, charges=None)):
        section = heldout_section(silent, [], "", 0)
        assert "charge_mae_e" not in section.data
        assert "charge MAE" not in section.markdown
        assert section.figures_for_verdict == {}


def test_each_molecule_of_a_complex_has_its_own_net_charge() -> None:
    dataset = made(["C[NH3+].CC(=O)[O-]", "O", "C[NH3+].O"])
    charges = np.zeros(len(dataset.atomic_numbers))
    # The right sum of the pair, and both molecules wrong by one.
    errors, left_out = net_charge_errors(dataset, charges)
    np.testing.assert_allclose(errors, [1.0, 1.0, 0.0, 1.0, 0.0])
    assert left_out == 0
    assert part_charges("C[NH3+].CC(=O)[O-]").tolist() == [1, -1]
    flags = np.array([Flag.CHARGE_TRANSFER, 0, 0])
    errors, left_out = net_charge_errors(replace(dataset, flags=flags), charges)
    np.testing.assert_allclose(errors, [0.0, 1.0, 0.0])
    assert left_out == 1


def test_ions_are_judged_by_their_worst_kind_and_their_net_charges() -> None:
    ions = ["C[NH3+]", "CC(=O)[O-]", "[NH3+]CC(=O)[O-]"]
    dataset = made([*ions, "CCO"])
    charges = np.repeat(dataset.charge / dataset.n_atoms, dataset.n_atoms)
    wrong = dataset.forces.copy()
    wrong[dataset.atoms_of(1)] += 0.2
    wrong[dataset.atoms_of(3)] += 0.9
    section = heldout_section(answered(dataset, forces=wrong, charges=charges), [], "", 0)
    assert section.figures_for_verdict == {
        "ion_force_rmse_worst_kind": pytest.approx(0.2),
        "net_charge_error_q99": pytest.approx(0.0, abs=1e-12),
    }
    fewer = heldout_section(answered(made(["CCO", ions[0]])), [], "", 0)
    assert fewer.figures_for_verdict == {}


def test_contacts_are_judged_beside_the_teachers_dynamics() -> None:
    chosen, words = judged_frames(made(list(KINDS)))
    assert len(chosen) == len(KINDS)
    assert "contacts and clusters" in words


def test_a_served_student_tells_its_charges(tmp_path: Path) -> None:
    card = write_fake_model(tmp_path, interface=2)
    potential = RuntimePotential(load_fake(tmp_path / card.name / card.version))
    dataset = made(["CCO", "O.CCO"])
    held_out, failed = predict_with(potential, dataset)
    assert (failed, held_out.refused) == (0, 0)
    assert held_out.charges is not None
    assert held_out.charges.shape == dataset.atomic_numbers.shape
    assert held_out.uncertainty is not None


def test_what_the_server_refuses_is_counted_and_in_no_figure(tmp_path: Path) -> None:
    card = write_fake_model(tmp_path, interface=2)
    # The toy takes every structure for a neutral one.
    potential = RuntimePotential(load_fake(tmp_path / card.name / card.version))
    held_out, failed = predict_with(potential, made(["CCO", "C[NH3+].O", "C"]))
    assert (failed, held_out.refused, len(held_out.dataset)) == (0, 1, 2)
    section = heldout_section(held_out, [], "of every kind", failed)
    assert (section.data["frames"], section.data["refused"]) == (2, 1)
    assert "1 further frames are in no figure" in section.markdown


def test_a_calculator_knows_the_net_charge_of_what_it_evaluates() -> None:
    molecule = hydrogenated("[NH4+]")
    ammonium = structure_of(molecule, conformers(molecule, 1, seed=1)[0])
    (point,) = teacher_points(TEACHER, [ammonium])
    potential = CalculatorPotential(lambda: make_teacher(TEACHER))
    for charge in (1, -1, 1):
        charged = Atoms(ammonium.numbers, ammonium.positions, info={"charge": charge})
        batch = StructureBatch.from_atoms([charged])
        found = potential(batch, members_of(batch))
        assert found.charges is not None
        assert found.charges.sum() == pytest.approx(charge, abs=1e-6)
    assert found.energies[0] == pytest.approx(point.energy, abs=1e-4)
    np.testing.assert_allclose(point.charges, found.charges, atol=1e-4)
