"""A subject is measured as a whole: what is judged, what is written, what is refused."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from forcegate_client.dataset import (
    Dataset,
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
from forcegate_service.contract.card import ModelCard, file_digest
from forcegate_service.runtimes.fake import FakeRuntime, write_fake_model
from forcegate_trainer.errors import SettingsError, TeacherError
from forcegate_trainer.progress import tell_nobody
from forcegate_trainer.teachers import make_teacher
from forcegate_trainer.validation.accuracy.heldout_section import judged_frames, refuse_leaks
from forcegate_trainer.validation.cost import measure_cost
from forcegate_trainer.validation.molecules import (
    CHARGED,
    PUBLIC,
    flexible_molecules,
    molecule_from_smiles,
    split_molecules,
    suite_molecules,
)
from forcegate_trainer.validation.run import validate
from forcegate_trainer.validation.settings import (
    FULL,
    QUICK,
    ControlSettings,
    NVESettings,
    Suite,
    suite_named,
)
from forcegate_trainer.validation.subject import Subject, open_subject, served

TEACHER = "tblite:GFN2-xTB"
EMT = "ase.calculators.emt:EMT"
TINY_RUN = NVESettings(duration_ps=0.03, settle_ps=0.0, relax_steps=20)
TINY = Suite(
    name="tiny",
    molecules=("water", "methane"),
    test_molecules=1,
    main=replace(TINY_RUN, frames=2),
    drift_ps=0.02,
    hot=replace(TINY_RUN, temperature_k=500.0),
    variations=(replace(TINY_RUN, timestep_fs=1.0),),
    varied=("water",),
    control=ControlSettings(("water",), TINY_RUN),
    cost_calls=2,
    judges=True,
    relaxation=replace(FULL.relaxation, starts=1, steps=20),
    screening=None,
    torsions=None,
    torsionnet=None,
    novelty=FULL.novelty,
    dissociation=replace(FULL.dissociation, dimers=("Water_dimer",), points=3),
    binding=replace(FULL.binding, every=22),
    tail=replace(FULL.tail, pairs=FULL.tail.pairs[:1], points=3),
    water=replace(FULL.water, sizes=(2,), copies=1, steps=10),
    charged=("acetate",),
    charged_run=TINY_RUN,
)


def _dataset(
    smiles: Sequence[tuple[str, Split]], source: Source = Source.TEACHER_MD, labelled: bool = True
) -> Dataset:
    rng = np.random.default_rng(0)
    frames, energies, forces = [], [], []
    for row, (text, _) in enumerate(smiles):
        base = molecule_from_smiles(text)
        for kelvin in (300.0, 1000.0):
            moved = np.round(base.positions + rng.normal(0, 0.03, (len(base), 3)), 4)
            numbers = base.numbers.astype(np.int64)
            frames.append(Frame(numbers, moved, row, source, kelvin))
            if labelled:
                atoms = Atoms(numbers, moved, calculator=make_teacher(TEACHER))
                energies.append(atoms.get_potential_energy())
                forces.append(atoms.get_forces())
    names = [text for text, _ in smiles]
    table = MoleculeTable.closed_shell(names, names, names, [split for _, split in smiles])
    bare = from_frames(frames, table, seed=0)
    if not labelled:
        return bare
    record = TeacherRecord(TEACHER, "test", {"accuracy": 0.1})
    return with_labels(bare, Labels(np.array(energies), np.concatenate(forces)), record, bare.flags)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """A file with ethane to learn from, and one with propanol and pentane to be judged by."""
    folder = tmp_path_factory.mktemp("data")
    files = {
        "train.h5": [("CC", Split.TRAIN)],
        "test.h5": [("CCCO", Split.TEST), ("CCCCC", Split.TEST)],
    }
    for name, splits in files.items():
        write_dataset(folder / name, _dataset(splits))
    return tuple(folder / name for name in files)


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A version folder; what it holds is of no account."""
    card = write_fake_model(tmp_path / "models")
    folder = tmp_path / "models" / "fake" / "1"
    metrics = {"validation": {"force_rmse": 0.1}}
    card.model_copy(update={"teacher": {"name": TEACHER}, "metrics": metrics}).save(folder)
    return folder


def _another_method_as(version: Path) -> Subject:
    """GFN1-xTB in the place of the version's weights: smooth, and not quite its teacher GFN2."""
    with open_subject("tblite:GFN1-xTB", TEACHER) as method:
        return replace(method, folder=version, card=ModelCard.load(version))


def test_validation_writes_report_and_card_and_leaves_the_model_alone(
    data: tuple[Path, ...], version: Path, tmp_path: Path
) -> None:
    trained_on = {"sha256": load_dataset(data[0]).content_hash()}
    ModelCard.load(version).model_copy(update={"dataset": trained_on}).save(version)
    digest = file_digest(version / "model.pt")
    report, control = tmp_path / "report", tmp_path / "control.json"
    verdicts = validate(_another_method_as(version), data, TINY, report, control, tell_nobody)
    # In so short a time no drift can be shown to be small.
    assert verdicts["md"].status == "rejected"
    assert verdicts["md"].decided_by == ("nve_drift_bound_max",)
    assert verdicts["relax"].status != "not_validated"
    assert verdicts["screening"].status == "not_validated"
    assert verdicts["binding"].status != "not_validated"
    assert verdicts["periodic"].status == "not_validated"

    card = ModelCard.load(version)
    assert card.status == {use: verdict.status for use, verdict in verdicts.items()}
    assert card.digest == digest == file_digest(version / "model.pt")
    assert card.metrics["validation"] == {"force_rmse": 0.1}
    assert card.metrics["test"]["frames"] == 2
    assert card.metrics["verdicts"]["figures"]["trajectory_force_rmse"] > 0.02
    assert 0.05 < card.metrics["verdicts"]["figures"]["s66_mae_kcal"] < 5.0

    text = (report / "report.md").read_text()
    content = json.loads((report / "report.json").read_text())
    for title in content["sections"]:
        assert f"## {title}\n" in text
    assert "that this version was trained on" not in text
    named = {line.split("](")[1].rstrip(")") for line in text.splitlines() if line[:2] == "!["}
    assert named == {path.name for path in report.glob("*.png")}
    runs = content["sections"]["Energy conservation"]["molecules"]
    assert [run["molecule"] for run in runs] == ["water", "methane", "CCCCC"]
    assert {run["asked_ps"] for run in runs} == {0.02}
    assert list(content["sections"]["Energy conservation"]["control"]) == ["water"]
    assert content["sections"]["Force error along the trajectory"]["pooled"]["frames"] == 6
    assert control.is_file()


def test_a_suite_that_does_not_judge_leaves_the_card_as_it_is(
    data: tuple[Path, ...], version: Path, tmp_path: Path
) -> None:
    before = (version / "model_card.json").read_bytes()
    short = replace(
        TINY,
        judges=False,
        molecules=("water",),
        test_molecules=0,
        relaxation=None,
        dissociation=None,
        binding=None,
        tail=None,
        water=None,
        charged=(),
    )
    verdicts = validate(
        _another_method_as(version),
        data,
        short,
        tmp_path / "report",
        tmp_path / "control.json",
        tell_nobody,
    )
    assert {verdict.status for verdict in verdicts.values()} == {"not_validated"}
    assert (version / "model_card.json").read_bytes() == before


def test_a_student_that_keeps_nothing_together_is_reported_not_hidden(
    data: tuple[Path, ...], version: Path, tmp_path: Path
) -> None:
    """The fake model is a repulsion: everything flies apart, and the report says so."""
    card = ModelCard.load(version)
    subject = served(version, FakeRuntime(card), card)
    long = replace(
        TINY,
        main=replace(TINY.main, settle_ps=3.0),
        relaxation=None,
        dissociation=None,
        binding=None,
        tail=None,
        water=None,
        charged=(),
    )
    verdicts = validate(
        subject, data, long, tmp_path / "report", tmp_path / "control.json", tell_nobody
    )
    assert verdicts["md"].status == "rejected"
    assert "lost_at_300k" in verdicts["md"].decided_by
    text = (tmp_path / "report" / "report.md").read_text()
    assert "torn beyond" in text
    assert "not those that this version was trained on" in text
    assert "Fewer frames, because the run ended early: water, methane" in text
    assert "NaN" not in (tmp_path / "report" / "report.json").read_text()


def test_data_that_was_trained_on_or_that_another_teacher_labelled_is_refused() -> None:
    leaked = _dataset([("C.CCCO", Split.TRAIN), ("CCCO", Split.TEST)], labelled=False)
    with pytest.raises(SettingsError, match="never trained on"):
        refuse_leaks(leaked, TEACHER)
    apart = _dataset([("C.CCCO", Split.TRAIN), ("C.CCCS", Split.TEST)], labelled=False)
    with pytest.raises(SettingsError, match="received labels by none"):
        refuse_leaks(apart, TEACHER)


def test_students_are_judged_by_the_teachers_own_dynamics_where_there_is_any() -> None:
    frames = _dataset([("CC", Split.TRAIN), ("C", Split.TEST)], labelled=False)
    chosen, words = judged_frames(frames)
    assert chosen.temperature.tolist() == [300.0]
    assert "teacher's own" in words
    other, words = judged_frames(
        _dataset([("CC", Split.TRAIN), ("C", Split.TEST)], Source.LANGEVIN, labelled=False)
    )
    assert len(other) == 2
    assert "of every kind" in words
    with pytest.raises(SettingsError, match="without frames of the test split"):
        judged_frames(_dataset([("CC", Split.TRAIN)], labelled=False))


def test_test_molecules_are_spread_over_sizes_and_always_the_same() -> None:
    alkanes = ["C" * n for n in range(1, 25)]  # n carbons: 3n + 2 atoms
    splits = [(text, Split.TEST) for text in alkanes]
    dataset = _dataset([*splits, ("CCCCCCO", Split.TRAIN), ("C.CCCCC", Split.TEST)], labelled=False)
    sizes = [len(one.atoms) for one in split_molecules(dataset, 4)]
    assert sizes == [17, 32, 44, 59]
    assert all(one.in_test_split for one in split_molecules(dataset, 4))
    assert flexible_molecules(dataset, 4) == [one.smiles for one in split_molecules(dataset, 4)]
    few = [one.smiles for one in split_molecules(dataset, 100)]
    assert few == [text for text in alkanes if 15 <= 3 * len(text) + 2 <= 60]


def test_molecules_without_a_bond_to_turn_have_no_conformers_to_compare() -> None:
    rings = ["c1ccc2ccccc2c1", "c1ccc2cc3ccccc3cc2c1", "CCCCCCC"]
    dataset = _dataset([(text, Split.TEST) for text in rings], labelled=False)
    assert flexible_molecules(dataset, 9) == ["CCCCCCC"]


def test_the_suites_hold_what_the_design_asks_for() -> None:
    assert {"water", "methane", "alanine"} < set(FULL.molecules)
    assert set(FULL.molecules) == set(PUBLIC)
    assert FULL.test_molecules >= 10
    assert FULL.judges
    assert not QUICK.judges
    assert (FULL.main.temperature_k, FULL.main.timestep_fs) == (300.0, 0.5)
    assert FULL.drift_ps >= 10.0
    assert FULL.main.duration_ps >= 50.0
    assert FULL.main.frames >= 20
    assert (FULL.hot.temperature_k, FULL.hot.duration_ps) == (500.0, 10.0)
    assert {one.timestep_fs for one in FULL.variations} >= {1.0, 2.0}
    assert {one.temperature_k for one in FULL.variations} >= {100.0}
    assert len(FULL.varied) >= 5
    assert set(FULL.charged) == set(CHARGED)
    assert (FULL.charged_run.temperature_k, FULL.charged_run.duration_ps) == (300.0, 10.0)
    assert FULL.screening.test_molecules >= 50
    for suite in (FULL, QUICK):
        assert set(suite.varied) <= set(suite.molecules)
        assert set(suite.control.molecules) <= set(suite.molecules)
        found = suite_molecules(suite.molecules, 0, None)
        assert tuple(one.name for one in found) == suite.molecules
    with pytest.raises(SettingsError, match="quick, full"):
        suite_named("fast")


def test_a_subject_is_a_version_or_a_calculator_and_nothing_else(
    version: Path, tmp_path: Path
) -> None:
    with open_subject(EMT) as emt:
        assert emt.card is None
        assert emt.teacher == "aimnet2"
        assert type(emt.calculator()).__name__ == "EMT"
    with pytest.raises(SettingsError, match="expected a version folder"):
        open_subject(str(tmp_path / "nothing")).__enter__()
    with pytest.raises(TeacherError):
        open_subject("no.such.module:thing").__enter__()
    card = ModelCard.load(version)
    assert served(version, FakeRuntime(card), card).teacher == TEACHER
    with pytest.raises(SettingsError, match="has learned"):
        served(version, FakeRuntime(card), card, "tblite:GFN1-xTB")


def test_cost_is_measured_at_positions_that_are_new_in_every_call(version: Path) -> None:
    seen = []
    card = ModelCard.load(version)
    subject = served(version, FakeRuntime(card), card)

    def watching(batch: object, members: object) -> object:
        seen.append(batch.positions.copy())
        return subject.potential(batch, members)

    found = measure_cost(watching, [molecule_from_smiles("O"), molecule_from_smiles("C")], 4)
    assert found["structures"] == 2
    assert found["atoms"] == 8
    assert found["ms_median"] > 0
    assert len({positions.tobytes() for positions in seen}) == len(seen) > 4
