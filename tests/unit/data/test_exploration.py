"""A student's own dynamics finds training frames: of training molecules, sane, and again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from ase import Atoms
from ase.build import molecule
from typer.testing import CliRunner

from forcegate_client.dataset import (
    NOT_THERMAL,
    Dataset,
    DatasetMismatchError,
    Frame,
    MoleculeTable,
    Source,
    Split,
    from_frames,
    load_dataset,
    write_dataset,
)
from forcegate_client.dataset.schema import quantise_positions
from forcegate_client.structures import StructureBatch
from forcegate_service.runtimes.fake import load_fake, write_fake_model
from forcegate_trainer.cli.app import create_app
from forcegate_trainer.data.sampling import exploration
from forcegate_trainer.data.sampling.exploration import ExplorationTask, explore, explore_file
from forcegate_trainer.data.sampling.settings import ExplorationSettings
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.fit.run import fit
from forcegate_trainer.simulation.exported import RuntimePotential
from forcegate_trainer.simulation.motion import MAX_FORCE
from forcegate_trainer.simulation.potential import Evaluation
from support.runs import small_config

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

NAMES = ("H2O", "CH3OH", "CH3Cl", "NH3")
CHLORINE = 17


def starting_frames(
    frames_per_molecule: int = 4, names: Sequence[str] = NAMES, kelvin: float = 300.0
) -> Dataset:
    """Rattled molecules, all for training."""
    rng = np.random.default_rng(0)
    frames = []
    for row, name in enumerate(names):
        atoms: Atoms = molecule(name)
        for _ in range(frames_per_molecule):
            positions = atoms.positions + rng.normal(0, 0.03, (len(atoms), 3))
            numbers = atoms.numbers.astype(np.int64)
            frames.append(Frame(numbers, positions, row, Source.LANGEVIN, kelvin))
    splits = [Split.TRAIN] * len(names)
    return from_frames(frames, MoleculeTable.closed_shell(names, names, names, splits))


@pytest.fixture
def student(tmp_path: Path) -> str:
    """The folder of a toy that a student's place is taken by."""
    write_fake_model(tmp_path / "repository")
    return str(tmp_path / "repository" / "fake" / "1")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "frames.h5", starting_frames())
    return tmp_path / "frames.h5"


class Watched:
    """The toy, remembered: what each molecule's novelty was, where, at each evaluation.

    From evaluation ``explodes_at`` on (0 is the start), molecules with chlorine are torn apart.
    """

    def __init__(self, student: str, explodes_at: int | None = None) -> None:
        toy = load_fake(Path(student))
        self._toy = RuntimePotential(toy)
        self._explodes_at = explodes_at
        self._evaluations = 0
        self.seen: list[dict[int, tuple[float, Float]]] = []

    def __call__(self, batch: StructureBatch, members: Int) -> Evaluation:
        found = self._toy(batch, members)
        bounds = batch.offsets
        self.seen.append(
            {
                member: (float(found.novelty[row]), batch.positions[bounds[row] : bounds[row + 1]])
                for row, member in enumerate(members.tolist())
            }
        )
        forces = found.forces.copy()
        if self._explodes_at is not None and self._evaluations >= self._explodes_at:
            forces[batch.atomic_numbers == CHLORINE] = 2.0 * MAX_FORCE
        self._evaluations += 1
        return Evaluation(found.energies, forces, found.novelty)


def explored(
    potential: Watched, settings: ExplorationSettings, monkeypatch: pytest.MonkeyPatch
) -> Dataset:
    """What one task finds from one frame of each molecule, moved by ``potential``."""
    monkeypatch.setattr(exploration, "_potential", lambda folder: potential)
    starts = starting_frames(frames_per_molecule=1)
    return explore(ExplorationTask(starts, np.full(len(starts), 300.0), settings, 0))


def positions_of(dataset: Dataset, molecule_row: int) -> list[Float]:
    frames = np.flatnonzero(dataset.molecule_id == molecule_row).tolist()
    return [dataset.positions[dataset.atoms_of(frame)] for frame in frames]


def test_frames_are_of_the_molecules_they_were_started_from(source: Path, student: str) -> None:
    settings = ExplorationSettings(student, steps=6, every=3, keep=2, starts_per_molecule=3)
    found = explore_file(source, source.with_name("out.h5"), settings, workers=0)
    starts = load_dataset(source)
    assert set(found.source.tolist()) == {Source.ON_POLICY}
    assert np.all(found.split == Split.TRAIN)
    assert not found.is_labelled
    assert found.dropped == {}
    assert [found.molecules.smiles[row] for row in found.molecule_id] == list(
        np.repeat(NAMES, 3 * 2)
    )
    for frame in range(len(found)):
        name = found.molecules.smiles[found.molecule_id[frame]]
        first = starts.molecules.smiles.index(name) * 4
        np.testing.assert_array_equal(
            found.atomic_numbers[found.atoms_of(frame)],
            starts.atomic_numbers[starts.atoms_of(first)],
        )
    stored = load_dataset(source.with_name("out.h5"))
    assert stored.content_hash() == found.content_hash()
    np.testing.assert_array_equal(quantise_positions(found.positions), found.positions)


@pytest.mark.parametrize("split", [Split.VALIDATION, Split.TEST])
def test_molecules_that_are_not_for_training_are_refused(
    split: Split, tmp_path: Path, student: str
) -> None:
    frames = starting_frames()
    splits = frames.molecules.split.copy()
    splits[-1] = split
    mixed = replace(frames, molecules=replace(frames.molecules, split=splits))
    write_dataset(tmp_path / "mixed.h5", mixed)
    with pytest.raises(SettingsError, match=r"4 of 16 frames of validation or test"):
        explore_file(
            tmp_path / "mixed.h5", tmp_path / "out.h5", ExplorationSettings(student), workers=0
        )
    assert not list(tmp_path.glob("out.h5*"))


def test_nothing_to_start_from_is_refused(tmp_path: Path, student: str) -> None:
    write_dataset(tmp_path / "none.h5", starting_frames().select(np.arange(0)))
    with pytest.raises(SettingsError):
        explore_file(
            tmp_path / "none.h5", tmp_path / "out.h5", ExplorationSettings(student), workers=0
        )


def test_stopped_and_called_again_it_finds_the_same(
    tmp_path: Path, student: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "frames.h5"
    write_dataset(source, starting_frames(frames_per_molecule=5))
    settings = ExplorationSettings(
        student, steps=4, every=2, starts_per_molecule=5, temperatures=(300.0, 600.0, 900.0)
    )
    # Twenty starts in four pieces.
    monkeypatch.setattr(exploration, "_parts", _parts_of_six)
    whole = explore_file(source, tmp_path / "whole.h5", settings, workers=0)

    def stopped_in_the_third(task: ExplorationTask) -> Dataset:
        if task.number == 2:
            raise KeyboardInterrupt
        return explore(task)

    with monkeypatch.context() as patch:
        patch.setattr(exploration, "explore", stopped_in_the_third)
        with pytest.raises(KeyboardInterrupt):
            explore_file(source, tmp_path / "stopped.h5", settings, workers=0)
    assert not (tmp_path / "stopped.h5").exists()
    assert len(list((tmp_path / "stopped.h5.parts").glob("0*.h5"))) == 2
    again = explore_file(source, tmp_path / "stopped.h5", settings, workers=0)
    assert len(whole) == 20
    assert again.content_hash() == whole.content_hash()
    assert load_dataset(tmp_path / "stopped.h5").content_hash() == whole.content_hash()


def _parts_of_six(count: int, size: int = 6) -> list[Int]:
    return [
        np.arange(start, min(start + size, count), dtype=np.int64)
        for start in range(0, count, size)
    ]


def test_the_seed_decides_starts_and_noise(source: Path, student: str) -> None:
    settings = ExplorationSettings(student, steps=2, every=2, starts_per_molecule=2)
    first, again, other = (
        explore_file(source, source.with_name(f"{name}.h5"), chosen, workers=0)
        for name, chosen in (
            ("first", settings),
            ("again", settings),
            ("other", replace(settings, seed=1)),
        )
    )
    assert first.content_hash() == again.content_hash()
    assert not np.allclose(first.positions, other.positions, atol=1e-3)


def test_other_settings_do_not_continue_a_file(source: Path, student: str) -> None:
    settings = ExplorationSettings(student, steps=2, every=2)
    out = source.with_name("out.h5")
    explore_file(source, out, settings, workers=0)
    with pytest.raises(DatasetMismatchError, match="steps: 2 there, 4 now"):
        explore_file(source, out, replace(settings, steps=4), workers=0)


def test_another_student_does_not_continue_a_file(
    source: Path, student: str, tmp_path: Path
) -> None:
    out = source.with_name("out.h5")
    explore_file(source, out, ExplorationSettings(student, steps=2, every=2), workers=0)
    write_fake_model(tmp_path / "repository", version="2")
    other = str(tmp_path / "repository" / "fake" / "2")
    with pytest.raises(DatasetMismatchError, match="digest"):
        explore_file(source, out, ExplorationSettings(other, steps=2, every=2), workers=0)


def test_the_most_novel_candidates_of_each_trajectory_are_kept(
    student: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    potential = Watched(student)
    settings = ExplorationSettings(student, steps=15, every=3, keep=2)
    found = explored(potential, settings, monkeypatch)
    # Evaluation 0 is the start, then there is one a step.
    candidates = [potential.seen[step] for step in (3, 6, 9, 12, 15)]
    for row in range(len(NAMES)):
        best = sorted((seen[row] for seen in candidates), key=lambda pair: -pair[0])[:2]
        kept = positions_of(found, row)
        assert len(kept) == 2
        for _, positions in best:
            expected = quantise_positions(positions)
            assert any(np.array_equal(expected, frame) for frame in kept)


def test_with_one_candidate_the_last_geometry_is_kept(
    student: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    potential = Watched(student)
    found = explored(potential, ExplorationSettings(student, steps=5, every=5), monkeypatch)
    for row in range(len(NAMES)):
        (frame,) = positions_of(found, row)
        np.testing.assert_array_equal(frame, quantise_positions(potential.seen[5][row][1]))


def test_a_molecule_that_blows_up_gives_its_last_sane_candidate_and_is_counted(
    student: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torn = NAMES.index("CH3Cl")
    potential = Watched(student, explodes_at=8)
    found = explored(
        potential, ExplorationSettings(student, steps=12, every=3, keep=4), monkeypatch
    )
    assert found.dropped == {"student_blew_up": 1}
    kept = positions_of(found, torn)
    assert len(kept) == 2
    for frame, step in zip(kept, (3, 6), strict=True):
        np.testing.assert_array_equal(frame, quantise_positions(potential.seen[step][torn][1]))
    # It is not moved any further, and the others are not disturbed by its end.
    assert all(torn not in seen for seen in potential.seen[9:])
    for row in set(range(len(NAMES))) - {torn}:
        assert len(positions_of(found, row)) == 4


@pytest.mark.parametrize("explodes_at", [0, 1, 3])
def test_a_molecule_that_blows_up_before_any_candidate_gives_no_frame(
    explodes_at: int, student: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    potential = Watched(student, explodes_at=explodes_at)
    found = explored(potential, ExplorationSettings(student, steps=3, every=3), monkeypatch)
    assert found.dropped == {"student_blew_up": 1}
    kept = {found.molecules.smiles[row] for row in found.molecule_id}
    assert kept == set(NAMES) - {"CH3Cl"}


def test_a_file_of_which_every_molecule_blows_up_is_empty_and_says_why(
    tmp_path: Path, student: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(tmp_path / "frames.h5", starting_frames(names=("CH3Cl",)))
    monkeypatch.setattr(exploration, "_potential", lambda folder: Watched(student, explodes_at=0))
    found = explore_file(
        tmp_path / "frames.h5", tmp_path / "out.h5", ExplorationSettings(student), workers=0
    )
    assert len(found) == 0
    assert found.dropped == {"student_blew_up": 3}


def test_temperatures_are_dealt_out_to_the_starts(source: Path, student: str) -> None:
    settings = ExplorationSettings(
        student, steps=2, every=2, starts_per_molecule=3, temperatures=(300.0, 1000.0)
    )
    found = explore_file(source, source.with_name("out.h5"), settings, workers=0)
    assert found.temperature.tolist() == [300.0, 1000.0] * 6


@pytest.mark.parametrize(("own", "expected"), [(450.0, 450.0), (NOT_THERMAL, 300.0)])
def test_without_temperatures_each_start_keeps_its_own(
    own: float, expected: float, tmp_path: Path, student: str
) -> None:
    write_dataset(tmp_path / "frames.h5", starting_frames(kelvin=own))
    settings = ExplorationSettings(student, steps=2, every=2)
    found = explore_file(tmp_path / "frames.h5", tmp_path / "out.h5", settings, workers=0)
    assert set(found.temperature.tolist()) == {expected}


def test_hot_molecules_go_further_than_cold_ones(tmp_path: Path, student: str) -> None:
    starts = starting_frames(frames_per_molecule=10)
    write_dataset(tmp_path / "frames.h5", starts)
    travelled = []
    for kelvin in (100.0, 1600.0):
        settings = ExplorationSettings(
            student, steps=5, every=5, starts_per_molecule=10, temperatures=(kelvin,)
        )
        found = explore_file(tmp_path / "frames.h5", tmp_path / f"{kelvin}.h5", settings, workers=0)
        travelled.append(np.sqrt(np.mean((found.positions - starts.positions) ** 2)))
    # Thermal flight over 5 fs goes with the square root of the temperature, here 4 times.
    assert travelled[1] == pytest.approx(4.0 * travelled[0], rel=0.2)


def test_the_command_runs_and_says_what_it_found(source: Path, student: str) -> None:
    out = source.with_name("out.h5")
    arguments = f"explore {source} --student {student} --out {out} --steps 4 --every 2 --keep 1"
    arguments += " --temperatures 300,500 --starts-per-molecule 2 --seed 3 --workers 0"
    result = CliRunner().invoke(create_app(), arguments.split())
    assert result.exit_code == 0, result.output
    assert "8 on_policy" in result.output
    found = load_dataset(out)
    assert len(found) == 8
    assert found.seed == 3
    assert found.job["command"] == "explore"
    assert found.job["input"] == load_dataset(source).content_hash()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"steps": 0}, "steps = 0; expected 1 or more"),
        ({"keep": 0}, "keep = 0; expected 1 or more"),
        ({"starts_per_molecule": 0}, "starts_per_molecule = 0"),
        ({"steps": 10, "every": 11}, "every = 11 of 10 steps"),
        ({"temperatures": (300.0, 0.0)}, "expected positive ones, in K"),
    ],
)
def test_settings_without_meaning_are_refused(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        ExplorationSettings(**{"driver": "anywhere", **changes})  # type: ignore[arg-type]


def test_frames_of_a_teachers_dynamics_may_be_of_held_out_molecules(tmp_path: Path) -> None:
    frames = starting_frames(names=("H2O", "NH3"))
    held_out = np.full(2, Split.VALIDATION, dtype=np.int64)
    parts = np.zeros(len(frames.positions), dtype=np.int64)
    parts[0] = 1
    start = replace(frames, molecules=replace(frames.molecules, split=held_out), fragment=parts)
    write_dataset(tmp_path / "frames.h5", start)
    settings = ExplorationSettings(
        "ase.calculators.morse:MorsePotential", steps=2, every=2, starts_per_molecule=4
    )
    found = explore_file(tmp_path / "frames.h5", tmp_path / "out.h5", settings, workers=0)
    assert len(found) == len(frames)
    assert set(found.source.tolist()) == {Source.TEACHER_MD}
    assert found.fragment.sum() == 1


def test_a_run_in_training_moves_molecules_too(dataset_file: Path, tmp_path: Path) -> None:
    fit(small_config(dataset_file, epochs=1), tmp_path / "run", lambda *known: None)
    write_dataset(tmp_path / "frames.h5", starting_frames(names=("CH3OH",)))
    settings = ExplorationSettings(str(tmp_path / "run"), steps=2, every=2)
    found = explore_file(tmp_path / "frames.h5", tmp_path / "out.h5", settings, workers=0)
    assert len(found) == 3
    assert set(found.source.tolist()) == {Source.ON_POLICY}
