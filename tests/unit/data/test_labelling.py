"""A label is what the teacher says about exactly the stored positions, or it is not there."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule as ase_molecule
from ase.calculators.calculator import CalculationFailed, Calculator
from ase.calculators.lj import LennardJones

from forcegate_client.dataset import (
    Dataset,
    DatasetMismatchError,
    Flag,
    Frame,
    MoleculeTable,
    Source,
    Split,
    from_frames,
    load_dataset,
    write_dataset,
)
from forcegate_trainer.data.labelling.checks import (
    bonds,
    count_fragments,
    drop_reason,
    proton_moved,
)
from forcegate_trainer.data.molecules.identity import identify
from forcegate_trainer.data.molecules.structures import bonded_pairs, hydrogenated
from forcegate_trainer.data.sampling.run import sample_file
from forcegate_trainer.data.sampling.settings import SamplingSettings
from forcegate_trainer.errors import SettingsError, TeacherError
from forcegate_trainer.teachers import Answer, make_teacher, parse_teacher
from support.datasets import label_file

TEACHER = "tblite:GFN2-xTB"
CHEAP_TEACHER = "ase.calculators.morse:MorsePotential"
HALF_A_FORCE_STEP = 0.5e-5 * (1 + 1e-6)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the teacher, also in the commands that are started: two would wait for each other."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def frames_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few frames of a few molecules, without labels."""
    settings = SamplingSettings(
        temperatures=(300.0,), frames_per_molecule=4, conformers=1, distorted_share=0.25,
        equilibration_steps=20, decorrelation_steps=20,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("frames") / "frames.h5"
    molecules = [identify(s) for s in ("OCCF", "CSCC=O", "O", "CCCl", "CC(=O)N")]
    sample_file(molecules, path, settings, workers=0)
    return path


def label(frames: Path, out: Path, teacher: str = TEACHER) -> Dataset:
    return label_file(frames, out, teacher)


def stored(positions: np.ndarray, symbols: str, smiles: str, path: Path) -> Path:
    """A file with one frame."""
    numbers = Atoms(symbols).numbers.astype(np.int64)
    table = MoleculeTable.closed_shell([smiles], ["I"], ["K"], [Split.TRAIN])
    frame = Frame(numbers, positions, 0, Source.LANGEVIN, 300.0)
    write_dataset(path, from_frames([frame], table))
    return path


def test_labels_are_those_of_a_direct_calculation_on_the_stored_positions(
    frames_file: Path, tmp_path: Path
) -> None:
    label(frames_file, tmp_path / "l.h5")
    labelled, frames = load_dataset(tmp_path / "l.h5"), load_dataset(frames_file)
    assert labelled.energies is not None
    assert labelled.forces is not None
    assert len(labelled) == len(frames)
    np.testing.assert_array_equal(labelled.positions, frames.positions)
    for frame in range(0, len(labelled), 3):
        where = labelled.atoms_of(frame)
        atoms = Atoms(labelled.atomic_numbers[where], labelled.positions[where])
        atoms.calc = make_teacher(TEACHER)
        # Self-consistency is reached from another start: equal to its threshold, not to the bit.
        assert labelled.energies[frame] == pytest.approx(atoms.get_potential_energy(), abs=2e-6)
        np.testing.assert_allclose(labelled.forces[where], atoms.get_forces(), atol=1e-4)
    first = labelled.atoms_of(0)
    atoms = Atoms(labelled.atomic_numbers[first], labelled.positions[first])
    atoms.calc = make_teacher(TEACHER)
    np.testing.assert_allclose(
        labelled.forces[first], atoms.get_forces(), atol=HALF_A_FORCE_STEP, rtol=0
    )


def test_the_teacher_is_recorded_with_the_labels(frames_file: Path, tmp_path: Path) -> None:
    teacher = label(frames_file, tmp_path / "l.h5").teacher
    assert teacher is not None
    assert teacher.name == TEACHER
    assert teacher.version[0].isdigit()
    assert teacher.settings == {"accuracy": 0.1}


def command(frames: Path, out: Path) -> list[str]:
    run = "from forcegate_trainer.cli.app import main; main()"
    arguments = ["label", str(frames), "--out", str(out), "--teacher", CHEAP_TEACHER]
    return [sys.executable, "-c", run, *arguments, "--workers", "1"]


@pytest.fixture
def many_frames(frames_file: Path, tmp_path: Path) -> Path:
    """Enough frames for several pieces, so that there is a moment in between."""
    frames = load_dataset(frames_file)
    write_dataset(tmp_path / "frames.h5", frames.select(np.tile(np.arange(len(frames)), 14)))
    return tmp_path / "frames.h5"


def wait_for_a_piece(out: Path, running: subprocess.Popen[str]) -> None:
    while not list(Path(f"{out}.parts").glob("0*.h5")) and running.poll() is None:
        time.sleep(0.01)


def test_a_killed_command_continues_to_the_same_labels(many_frames: Path, tmp_path: Path) -> None:
    killed_out, whole_out = tmp_path / "killed.h5", tmp_path / "whole.h5"
    with subprocess.Popen(
        command(many_frames, killed_out), stderr=subprocess.DEVNULL, text=True
    ) as running:
        wait_for_a_piece(killed_out, running)
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        os.kill(running.pid, signal.SIGKILL)
    assert not killed_out.exists()
    # Its worker does not stay behind.
    while any(is_running(int(child)) for child in children):
        time.sleep(0.05)
    killed, whole = (label(many_frames, out, CHEAP_TEACHER) for out in (killed_out, whole_out))
    assert len(whole) == len(load_dataset(many_frames))
    assert killed.content_hash() == whole.content_hash()


def test_an_interrupted_command_says_how_to_go_on(many_frames: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    with subprocess.Popen(
        command(many_frames, out), stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        wait_for_a_piece(out, running)
        # A terminal sends Ctrl-C to the whole group, workers included.
        os.killpg(running.pid, signal.SIGINT)
        _, told = running.communicate()
    assert running.returncode == 130
    assert "run the command again to go on" in " ".join(told.split())
    assert "Traceback" not in told
    assert list(Path(f"{out}.parts").glob("0*.h5"))


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_another_teacher_or_input_does_not_continue_a_file(
    frames_file: Path, tmp_path: Path
) -> None:
    label(frames_file, tmp_path / "l.h5")
    with pytest.raises(DatasetMismatchError, match=r"GFN2-xTB.* there, .*GFN1-xTB.* now"):
        label(frames_file, tmp_path / "l.h5", "tblite:GFN1-xTB")
    fewer = load_dataset(frames_file).select(np.arange(3))
    write_dataset(tmp_path / "fewer.h5", fewer)
    with pytest.raises(DatasetMismatchError, match="input: "):
        label(tmp_path / "fewer.h5", tmp_path / "l.h5")


def test_a_labelled_or_empty_file_is_not_labelled(frames_file: Path, tmp_path: Path) -> None:
    label(frames_file, tmp_path / "l.h5")
    with pytest.raises(SettingsError, match="frames without labels"):
        label(tmp_path / "l.h5", tmp_path / "again.h5")
    write_dataset(tmp_path / "e.h5", load_dataset(frames_file).select(np.array([], dtype=np.int64)))
    with pytest.raises(SettingsError, match="holds no frames"):
        label(tmp_path / "e.h5", tmp_path / "again.h5")


@pytest.mark.parametrize(
    ("positions", "symbols", "smiles", "reason"),
    [
        ([[0, 0, 0], [0.4, 0, 0]], "HF", "F", "force_too_large"),
        ([[0, 0, 0], [2.0, 0, 0]], "F2", "FF", "gap_too_small"),
        ([[0, 0, 0], [3.0, 0, 0]], "F2", "FF", "scf_not_converged"),
        ([[0, 0, 0], [0.74, 0, 0], [9, 0, 0], [9.74, 0, 0]], "H4", "[H][H]", "dissociated"),
    ],
)
def test_a_frame_that_is_not_worth_learning_is_counted_by_reason(
    positions: list[list[float]], symbols: str, smiles: str, reason: str, tmp_path: Path
) -> None:
    source = stored(np.array(positions, dtype=float), symbols, smiles, tmp_path / "f.h5")
    labelled = label(source, tmp_path / "l.h5")
    assert len(labelled) == 0
    assert dict(load_dataset(tmp_path / "l.h5").dropped) == {reason: 1}


def test_what_sampling_dropped_is_still_counted(tmp_path: Path) -> None:
    positions = ase_molecule("H2O").positions
    stored(positions, "OH2", "O", tmp_path / "f.h5")
    frames = load_dataset(tmp_path / "f.h5")
    write_dataset(tmp_path / "g.h5", Dataset(**{**vars_of(frames), "dropped": {"no_dimer": 3}}))
    assert label(tmp_path / "g.h5", tmp_path / "l.h5").dropped == {"no_dimer": 3}


def test_a_moved_proton_is_flagged_and_the_frame_kept(tmp_path: Path) -> None:
    pair = hydrogenated("O.O")
    numbers = "".join(atom.GetSymbol() for atom in pair.GetAtoms())
    # Atoms: O H H O H H; the second hydrogen sits on the other oxygen.
    positions = np.array(
        [[0, 0, 0], [-0.3, 0.92, 0], [1.5, 0, 0], [2.5, 0, 0], [2.9, 0.9, 0], [2.9, -0.9, 0]]
    )
    labelled = label(stored(positions, numbers, "O.O", tmp_path / "f.h5"), tmp_path / "l.h5")
    assert labelled.flags.tolist() == [Flag.PROTON_TRANSFER]


def test_hydrogens_at_home_are_not_flagged() -> None:
    water = ase_molecule("H2O")
    pairs = bonded_pairs(hydrogenated("O"))
    assert not proton_moved(water.numbers.astype(np.int64), water.positions, pairs)


def test_fragments_are_counted() -> None:
    numbers, positions = np.array([6] * 5), np.array([[1.5 * i, 0, 0] for i in range(5)])
    assert count_fragments(bonds(numbers, positions, 1.35)) == 1
    positions[3:] += 3.0
    assert count_fragments(bonds(numbers, positions, 1.35)) == 2
    assert count_fragments(bonds(numbers[:1], positions[:1], 1.35)) == 1


def test_labels_that_are_not_numbers_are_dropped() -> None:
    answer = Answer(np.nan, np.zeros((1, 3)))
    assert drop_reason(np.array([2]), np.zeros((1, 3)), answer, 1, 1.35) == "not_finite"


@pytest.mark.parametrize(
    ("spread", "largest", "reason"),
    [(0.31, 1.0, "spread_too_large"), (0.31, 3.0, None), (0.29, 1.0, None), (None, 1.0, None)],
)
def test_a_teacher_that_contradicts_itself_is_not_believed(
    spread: float | None, largest: float, reason: str | None
) -> None:
    answer = Answer(-1.0, np.array([[largest, 0.0, 0.0]]), force_spread=spread)
    assert drop_reason(np.array([2]), np.zeros((1, 3)), answer, 1, 1.35) == reason


def lennard_jones() -> Calculator:
    """A teacher from elsewhere."""
    return LennardJones(epsilon=0.01, sigma=1.0, rc=8.0)


lennard_jones.settings = {"epsilon": 0.01}  # type: ignore[attr-defined]
lennard_jones.version = "2.0"  # type: ignore[attr-defined]


class Failing(Calculator):
    """A teacher that fails for water."""

    implemented_properties = ("energy", "forces")

    def calculate(self, *args: object, **kwargs: object) -> None:
        super().calculate(*args, **kwargs)
        if len(self.atoms) == 3:
            raise CalculationFailed("no convergence")
        self.results = {"energy": 0.0, "forces": np.zeros((len(self.atoms), 3))}


@pytest.fixture
def as_module(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name under which this file's teachers can be imported."""
    monkeypatch.setitem(sys.modules, "teachers_for_tests", sys.modules[__name__])
    return "teachers_for_tests"


def test_any_ase_calculator_is_a_teacher(as_module: str, frames_file: Path, tmp_path: Path) -> None:
    labelled = label(frames_file, tmp_path / "l.h5", f"{as_module}:lennard_jones")
    assert labelled.teacher is not None
    assert labelled.teacher.settings == {"epsilon": 0.01}
    assert labelled.teacher.version == "2.0"


def test_a_failing_teacher_loses_only_the_frames_it_fails_for(
    as_module: str, frames_file: Path, tmp_path: Path
) -> None:
    frames = load_dataset(frames_file)
    labelled = label(frames_file, tmp_path / "l.h5", f"{as_module}:Failing")
    water = int(np.sum(frames.n_atoms == 3))
    assert water > 0
    assert labelled.dropped == {"teacher_failed": water}
    assert len(labelled) == len(frames) - water


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        (
            "gfn2",
            "expected 'aimnet2', 'tblite:GFN2-xTB', 'orb:<model>' or 'package.module:factory'",
        ),
        ("tblite:GFN7", "tblite with one of GFN2-xTB, GFN1-xTB"),
        ("orb:orb-v3-conservative-omol", "pip install orb-models"),
        ("no.such.module:factory", "cannot be imported"),
        ("ase.calculators.lj:Missing", "cannot be imported"),
    ],
)
def test_a_teacher_that_is_not_there_is_refused_with_what_to_do(spec: str, complaint: str) -> None:
    with pytest.raises(TeacherError, match=complaint):
        parse_teacher(spec)


def test_the_gap_of_a_stable_molecule_is_wide_and_of_a_broken_bond_narrow() -> None:
    gaps = []
    # At 4 Å the two orbitals are degenerate and hold one electron each.
    for distance in (1.99, 3.0, 4.0):
        atoms = Atoms("Cl2", [[0, 0, 0], [distance, 0, 0]], calculator=make_teacher(TEACHER))
        atoms.get_potential_energy()
        gaps.append(atoms.calc.results["homo_lumo_gap"])
    assert gaps[0] > 3
    assert max(gaps[1:]) < 0.5


def test_the_second_method_is_another_one() -> None:
    energies = []
    for method in ("GFN2-xTB", "GFN1-xTB"):
        water = ase_molecule("H2O", calculator=make_teacher(f"tblite:{method}"))
        energies.append(water.get_potential_energy())
    assert abs(energies[0] - energies[1]) > 1


def vars_of(dataset: Dataset) -> dict[str, object]:
    return {name: getattr(dataset, name) for name in dataset.__dataclass_fields__}
