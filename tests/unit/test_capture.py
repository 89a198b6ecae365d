"""What is captured is on the disk, once, bounded, and says why; nobody waits for it."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import h5py
import httpx
import numpy as np
import pytest
from ase.build import molecule
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from forcegate_client.dataset import Source, Split, load_dataset
from forcegate_service.api.access.keyfile import create_key
from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.graph import Graph
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.runtimes.fake import FakeRuntime, load_fake
from forcegate_service.settings import Settings
from forcegate_service.testing import running_gateway
from forcegate_service.watch.capture.capture import Thresholds, training_novelty
from forcegate_service.watch.capture.fingerprint import composition, fingerprint
from forcegate_service.watch.capture.store import UNIDENTIFIED, Captured, CaptureStore
from forcegate_service.watch.shadow.spool import Spool
from forcegate_trainer.shadow.gateway import HttpGateway
from forcegate_trainer.shadow.worker import Worker
from forcegate_trainer.teachers.spec import parse_teacher
from support.shadowing import MORSE, WATER, write_taught_model

NAMES = ["H2O", "CH3CH2OH", "C6H6", "CH3CONH2", "CH4"]


@given(
    name=st.sampled_from(NAMES),
    seed=st.integers(0, 2**32 - 1),
    mirrored=st.booleans(),
)
def test_a_geometry_is_known_however_it_lies_and_is_numbered(
    name: str, seed: int, mirrored: bool
) -> None:
    atoms = molecule(name)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(atoms))
    turned = Rotation.random(rng=rng).apply(atoms.positions) + rng.normal(size=3)
    turned = turned * (-1 if mirrored else 1)
    assert fingerprint(atoms.numbers[order], turned[order]) == fingerprint(
        atoms.numbers, atoms.positions
    )


def test_other_elements_or_another_shape_are_another_geometry() -> None:
    atoms = molecule("CH3CH2OH")
    before = fingerprint(atoms.numbers, atoms.positions)
    other = atoms.numbers.copy()
    other[other == 8] = 16
    assert fingerprint(other, atoms.positions) != before
    stretched = atoms.positions * 1.2
    assert fingerprint(atoms.numbers, stretched) != before
    # Exchanging elements keeps the distances and the composition.
    swapped = atoms.numbers.copy()
    carbon, oxygen = np.flatnonzero(swapped == 6)[0], np.flatnonzero(swapped == 8)[0]
    swapped[[carbon, oxygen]] = swapped[[oxygen, carbon]]
    assert fingerprint(swapped, atoms.positions) != before
    assert composition(swapped) == composition(atoms.numbers)


def rattled(name: str, seed: int, amplitude: float = 0.3) -> Captured:
    atoms = molecule(name)
    noise = np.random.default_rng(seed).normal(0, amplitude, (len(atoms), 3))
    numbers = atoms.numbers.astype(np.int64)
    return Captured(numbers, atoms.positions + noise, {"reason": "novelty", "seed": seed})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "captured"


def store(folder: Path, structures: int = 1000, size: int = 2**26) -> CaptureStore:
    return CaptureStore(folder, structures, size)


def held(folder: Path) -> int:
    return sum(len(load_dataset(path)) for path in folder.glob("*.h5"))


def test_what_was_added_is_a_dataset_of_captured_frames_that_nothing_trains_on(
    folder: Path,
) -> None:
    structures = [rattled("H2O", 0), rattled("CH4", 1), rattled("H2O", 2)]
    assert store(folder).add(structures).outcomes == [None] * 3
    (path,) = folder.glob("*.h5")
    dataset = load_dataset(path)
    assert set(dataset.source.tolist()) == {Source.CAPTURED}
    assert set(dataset.split.tolist()) == {Split.TEST}
    assert all(smiles.startswith(UNIDENTIFIED) for smiles in dataset.molecules.smiles)
    assert [one["seed"] for one in dataset.job["captured"]] == [0, 1, 2]
    for frame, structure in enumerate(structures):
        where = dataset.atoms_of(frame)
        np.testing.assert_array_equal(dataset.atomic_numbers[where], structure.atomic_numbers)
        np.testing.assert_allclose(dataset.positions[where], structure.positions, atol=0.51e-4)
    assert folder.stat().st_mode & 0o077 == 0
    assert path.stat().st_mode & 0o077 == 0


def test_what_is_there_is_not_kept_again_in_this_life_nor_the_next(folder: Path) -> None:
    first = store(folder)
    assert first.add([rattled("H2O", 0), rattled("H2O", 0)]).outcomes == [None, "duplicate"]
    assert first.add([rattled("H2O", 0)]).outcomes == ["duplicate"]
    # Positions were rounded on their way to the disk, which moves some distances to another bin.
    many = [rattled("C6H6", seed) for seed in range(30)]
    assert first.add(many).outcomes == [None] * 30
    assert store(folder).add([rattled("H2O", 0), *many]).outcomes == ["duplicate"] * 31
    assert held(folder) == 31


def test_a_new_life_goes_on_with_the_part_that_is_not_full(folder: Path) -> None:
    for seed in range(3):
        store(folder).add([rattled("CH4", seed)])
    (path,) = folder.glob("*.h5")
    assert [one["seed"] for one in load_dataset(path).job["captured"]] == [0, 1, 2]


def test_parts_stay_small(folder: Path) -> None:
    names = ["CH4", "H2O", "C6H6"]
    found = store(folder)
    for seed in range(50):
        assert found.add([rattled(name, seed) for name in names]).outcomes == [None] * 3
    sizes = [len(load_dataset(path)) for path in folder.glob("*.h5")]
    assert sum(sizes) == 150
    assert max(sizes) <= 64


def test_the_number_of_structures_is_bounded(folder: Path) -> None:
    found = store(folder, structures=2)
    outcomes = found.add([rattled("CH4", seed) for seed in range(3)]).outcomes
    assert Counter(outcomes) == {None: 2, "full": 1}
    store(folder, structures=2).add([rattled("CH4", seed) for seed in range(3, 9)])
    assert held(folder) == 2


def test_the_bytes_are_bounded(folder: Path) -> None:
    limit = 200_000
    found = store(folder, size=limit)
    dropped = [
        outcome
        for name in ("C6H6", "CH3CONH2", "CH3CH2OH")
        for start in range(0, 100, 10)
        for outcome in found.add([rattled(name, start + n) for n in range(10)]).outcomes
    ]
    assert dropped[0] is None
    assert "full" in dropped
    assert sum(path.stat().st_size for path in folder.iterdir()) <= limit


def test_one_molecule_does_not_take_all_the_room(folder: Path) -> None:
    found = store(folder)
    outcomes = found.add([rattled("CH4", seed) for seed in range(150)]).outcomes
    assert "composition_full" in outcomes
    assert held(folder) == 100
    assert found.add([rattled("H2O", 0)]).outcomes == [None]


def test_a_writer_that_was_killed_leaves_what_was_whole(folder: Path) -> None:
    store(folder).add([rattled("CH4", 0)])
    (path,) = folder.glob("*.h5")
    # What a writer leaves that was killed before it renamed its file.
    leftover = folder / f".{path.name}.123.tmp"
    leftover.write_bytes(path.read_bytes()[:-1000])
    assert store(folder).add([rattled("CH4", 0), rattled("CH4", 1)]).outcomes == ["duplicate", None]
    assert not leftover.exists()
    assert held(folder) == 2


def test_a_damaged_part_is_told_of_and_left_alone(folder: Path) -> None:
    store(folder).add([rattled("CH4", 0)])
    (path,) = folder.glob("*.h5")
    with h5py.File(path, "r+") as file:
        file["positions"][0, 0] += 1
    damaged = path.read_bytes()
    found = store(folder)
    (trouble,) = found.open()
    assert "checksum" in str(trouble)
    assert found.add([rattled("CH4", 1)]).outcomes == [None]
    assert path.read_bytes() == damaged


def test_coordinates_that_the_format_cannot_hold_spoil_no_others(folder: Path) -> None:
    far = Captured(np.array([1, 1]), np.array([[0.0, 0, 0], [5e5, 0, 0]]), {})
    assert store(folder).add([far, rattled("CH4", 0)]).outcomes == ["too_large", None]


def test_the_novelty_that_counts_is_the_setting_s_or_else_the_card_s() -> None:
    card = cast(ModelCard, SimpleNamespace(histograms=SimpleNamespace(max_novelty_999=3.5)))
    bare = cast(ModelCard, SimpleNamespace(histograms=None))
    assert training_novelty(card) == 3.5
    assert training_novelty(bare) is None
    assert Thresholds().novelty_of(card) == 3.5
    assert Thresholds(novelty=2.0).novelty_of(card) == 2.0
    assert Thresholds().novelty_of(bare) == np.inf


# From here on with a gateway.


class Lost(FakeRuntime):
    """Knows no answer for chlorine."""

    def evaluate(self, graph: Graph) -> ModelOutput:
        output = super().evaluate(graph)
        output.forces[graph.atomic_numbers == 17] = np.nan
        return output


def load_lost(folder: Path) -> FakeRuntime:
    return Lost(load_fake(folder).card)


CHLORIDE = {"atomic_numbers": [17, 1], "positions": [[0, 0, 0], [0, 0, 1.27]]}


@pytest.fixture
def captured(tmp_path: Path) -> Path:
    write_taught_model(tmp_path / "models")
    return tmp_path / "captured"


COUNTERS = ("forcegate_captured_structures_total{", "forcegate_capture_dropped_total{")


def ask(
    captured: Path, *structures: dict[str, Any], expected: int | None = None, **settings: Any
) -> dict[str, float]:
    """Ask a gateway that captures; what it counted, once that is all, or ``expected``."""
    found = Settings(
        model_repository=captured.parent / "models", runtime="fake", capture_dir=captured,
        **settings,
    )  # fmt: skip
    with running_gateway(found, load_lost) as url, httpx.Client(base_url=url) as client:
        body = {"model": "fake", "structures": structures, "on_error": "partial"}
        assert client.post("/v1/predict", json=body).status_code == 200
        return counted(client, len(structures) if expected is None else expected)


def counted(client: httpx.Client, expected: int) -> dict[str, float]:
    """Captured and dropped structures by reason, once there are so many."""
    found: dict[str, float] = {}
    for _ in range(3000):
        found = {
            line.split('reason="')[1].split('"')[0]: float(line.split()[-1])
            for line in client.get("/metrics").text.splitlines()
            if line.startswith(
                ("forcegate_captured_structures_total{", "forcegate_capture_dropped_total{")
            )
        }
        if sum(found.values()) == expected:
            return found
        threading.Event().wait(0.01)
    pytest.fail(f"{found}")


def test_a_structure_without_a_finite_answer_is_captured_and_others_are_not(
    captured: Path,
) -> None:
    assert ask(captured, WATER, CHLORIDE, expected=1) == {"not_finite": 1.0}
    (path,) = captured.glob("*.h5")
    dataset = load_dataset(path)
    assert dataset.atomic_numbers.tolist() == [17, 1]
    (why,) = dataset.job["captured"]
    assert (why["reason"], why["model"], why["version"]) == ("not_finite", "fake", "1")


def test_a_novel_or_uncertain_structure_is_captured_with_its_figures(captured: Path) -> None:
    assert ask(captured, WATER, capture_novelty=1e-6) == {"novelty": 1.0}
    (path,) = captured.glob("*.h5")
    (why,) = load_dataset(path).job["captured"]
    assert why["max_novelty"] > 1e-6
    stretched = WATER | {"positions": [[0, 0, 0], [1.2, 0, 0], [-0.3, 1.2, 0]]}
    assert ask(captured, stretched, capture_uncertainty=1e-9) == {"uncertainty": 1.0}
    assert held(captured) == 2


def test_repetitions_and_periodic_structures_are_counted_and_not_kept(captured: Path) -> None:
    cube = [[20.0, 0, 0], [0, 20.0, 0], [0, 0, 20.0]]
    periodic = WATER | {"pbc": True, "cell": cube}
    turned = WATER | {"positions": [[0, 0, 0], [0, 0.93, -0.24], [0, 0, 0.96]]}
    found = ask(captured, WATER, WATER, turned, periodic, capture_novelty=1e-6)
    assert found == {"novelty": 1.0, "duplicate": 2.0, "periodic": 1.0}
    assert held(captured) == 1


def test_a_folder_that_cannot_be_written_costs_no_answer(captured: Path) -> None:
    captured.write_text("in the way")
    assert ask(captured, WATER, capture_novelty=1e-6) == {"write_failed": 1.0}


def test_the_caller_is_kept_by_the_id_of_its_key_and_never_by_the_key(
    captured: Path, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.json"
    key = create_key(keys, "somebody", ["predict"])
    settings = Settings(
        model_repository=tmp_path / "models", runtime="fake", capture_dir=captured,
        capture_novelty=1e-6, keys_file=keys, allow_anonymous=True, public_metrics=True,
    )  # fmt: skip
    other = WATER | {"positions": [[0, 0, 0], [1.5, 0, 0], [-0.3, 1.5, 0]]}
    with running_gateway(settings) as url, httpx.Client(base_url=url) as client:
        for structure, headers in ((WATER, {"Authorization": f"Bearer {key}"}), (other, {})):
            body = {"model": "fake", "structures": [structure]}
            assert client.post("/v1/predict", json=body, headers=headers).status_code == 200
        counted(client, 2)
    (path,) = captured.glob("*.h5")
    callers = [why["caller"] for why in load_dataset(path).job["captured"]]
    assert callers == [key.split("_")[1], "anonymous"]
    assert key.encode() not in path.read_bytes()


def test_what_the_teacher_disagrees_about_is_captured(captured: Path, tmp_path: Path) -> None:
    settings = Settings(
        model_repository=tmp_path / "models", runtime="fake", capture_dir=captured,
        capture_force_rmse=1e-9, shadow_fraction=1.0, shadow_dir=tmp_path / "spool",
    )  # fmt: skip
    with running_gateway(settings) as url, httpx.Client(base_url=url) as client:
        body = {"model": "fake", "structures": [WATER]}
        assert client.post("/v1/predict", json=body).status_code == 200
        spool = Spool(tmp_path / "spool")
        gateway = HttpGateway(url)
        worker = Worker(spool, gateway, parse_teacher(MORSE), lambda text: None)
        for _ in range(3000):
            if worker.tally.labelled:
                break
            if spool.folder.exists():
                worker.run()
            threading.Event().wait(0.01)
        gateway.close()
        assert counted(client, 1) == {"shadow_error": 1.0}
    (path,) = captured.glob("*.h5")
    (why,) = load_dataset(path).job["captured"]
    assert why["force_rmse"] > 1e-9
    assert why["caller"] == "anonymous"
