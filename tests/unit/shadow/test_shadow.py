"""A worker measures with the student's own teacher, or not at all; a gateway hears of it once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from ase import Atoms

from forcegate_client.errors import ModelNotFound
from forcegate_service.contract.card import ModelCard
from forcegate_service.settings import Settings
from forcegate_service.testing import running_gateway
from forcegate_service.watch.shadow.record import ShadowRecord, ShadowStructure, encode
from forcegate_service.watch.shadow.results import ShadowReceipt, ShadowResults
from forcegate_service.watch.shadow.spool import Spool
from forcegate_trainer.errors import TeacherError
from forcegate_trainer.shadow.gateway import HttpGateway
from forcegate_trainer.shadow.worker import Worker
from forcegate_trainer.teachers.spec import make_teacher, parse_teacher
from support.shadowing import MORSE, WATER, write_taught_model

ID = "0123456789abcdef" * 2


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    return write_taught_model(tmp_path / "models")


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(tmp_path / "spool")
    spool.open()
    return spool


class Recorder:
    """A gateway that serves ``card`` and takes everything."""

    def __init__(self, card: ModelCard | None) -> None:
        self._card = card
        self.heard: list[ShadowResults] = []

    def card(self, model: str, version: str) -> dict[str, Any]:
        if self._card is None:
            raise ModelNotFound(f"{model}/{version}")
        return self._card.model_dump(mode="json")

    def report(self, results: ShadowResults) -> ShadowReceipt:
        self.heard.append(results)
        return ShadowReceipt(accepted=len(results.results) + len(results.skipped))


def put(spool: Spool, card: ModelCard, forces: np.ndarray | None = None, **changes: Any) -> None:
    numbers, positions = np.array(WATER["atomic_numbers"]), np.array(WATER["positions"])
    structure = ShadowStructure(
        id=ID, atomic_numbers=numbers, positions=positions, energy=0.0,
        forces=np.zeros((3, 3)) if forces is None else forces,
    )  # fmt: skip
    fields = {
        "model": card.name, "version": card.version, "digest": card.digest,
        "teacher": card.teacher, "structures": [structure],
    }  # fmt: skip
    spool.put(encode(ShadowRecord(**(fields | changes))))


def worker(spool: Spool, gateway: Any, teacher: str | None = MORSE) -> Worker:
    found = None if teacher is None else parse_teacher(teacher)
    return Worker(spool, gateway, found, lambda text: None)


def test_the_error_is_that_of_the_forces_and_the_energy_on_the_very_positions(
    spool: Spool, card: ModelCard
) -> None:
    atoms = Atoms(WATER["atomic_numbers"], WATER["positions"], calculator=make_teacher(MORSE))
    error = np.random.default_rng(0).normal(size=(3, 3))
    put(spool, card, atoms.get_forces() + error)
    gateway = Recorder(card)
    assert worker(spool, gateway).run().labelled == 1
    (found,) = gateway.heard[0].results
    assert found.id == ID
    assert found.n_atoms == 3
    assert found.consistent
    assert found.force_squared_sum == pytest.approx((error**2).sum())
    assert found.force_absolute_sum == pytest.approx(np.abs(error).sum())
    assert found.energy_error_ev == pytest.approx(-atoms.get_potential_energy())
    assert spool.claim() is None


@pytest.mark.parametrize(
    "other",
    [
        {"name": "tblite:GFN2-xTB", "version": "0.8.0", "settings": {"accuracy": 0.1}},
        {"name": MORSE, "version": "0.0.1", "settings": {}},
        {},
    ],
    ids=["another name", "another version", "none"],
)
@pytest.mark.parametrize("where", ["file", "card"])
def test_another_teacher_is_refused_and_the_file_left(
    spool: Spool, card: ModelCard, other: dict[str, Any], where: str
) -> None:
    put(spool, card, teacher=other if where == "file" else card.teacher)
    served = card.model_copy(update={"teacher": other}) if where == "card" else card
    gateway = Recorder(served)
    with pytest.raises(TeacherError, match="Morse"):
        worker(spool, gateway).run()
    assert gateway.heard == []
    left = spool.claim()
    assert left is not None
    assert left.attempt == 1


def test_files_of_another_teacher_do_not_keep_the_others_waiting(
    spool: Spool, card: ModelCard
) -> None:
    put(spool, card, teacher={"name": "x", "version": "1", "settings": {}})
    put(spool, card)
    tally = worker(spool, Recorder(card)).run()
    assert tally.labelled == 1
    assert tally.refused.total() == 1


def test_without_a_teacher_it_is_that_of_the_student_if_it_comes_with_this_package(
    spool: Spool, card: ModelCard
) -> None:
    record = parse_teacher("tblite:GFN2-xTB").record
    taught = {"name": record.name, "version": record.version, "settings": dict(record.settings)}
    put(spool, card, teacher=taught)
    # What a file says is not imported: this one would end the process.
    put(spool, card, teacher={"name": "os:abort", "version": "1", "settings": {}})
    gateway = Recorder(card.model_copy(update={"teacher": taught}))
    tally = worker(spool, gateway, None).run()
    assert (tally.labelled, tally.refused.total()) == (1, 1)
    assert next(iter(tally.refused)).startswith("os:abort")


def test_what_is_of_other_weights_or_not_served_is_thrown_away(
    spool: Spool, card: ModelCard
) -> None:
    put(spool, card, digest="sha256:" + "0" * 64)
    gateway = Recorder(card)
    assert worker(spool, gateway).run().discarded == {"of other weights": 1}
    put(spool, card)
    assert worker(spool, Recorder(None)).run().discarded == {"not served any more": 1}
    assert gateway.heard == []
    assert spool.claim() is None


def test_an_unreadable_file_is_thrown_away(spool: Spool, card: ModelCard) -> None:
    spool.put(b"not msgpack")
    assert worker(spool, Recorder(card)).run().discarded == {"unreadable": 1}
    assert spool.claim() is None


def test_what_the_teacher_cannot_label_is_skipped_with_its_reason(
    spool: Spool, card: ModelCard
) -> None:
    # Morse's wall: far beyond 30 eV/Å.
    squeezed = ShadowStructure(
        ID, np.array([1, 1]), np.array([[0.0, 0, 0], [0, 0, 0.05]]), 0.0, np.zeros((2, 3))
    )
    put(spool, card, structures=[squeezed])
    gateway = Recorder(card)
    tally = worker(spool, gateway).run()
    assert (tally.labelled, tally.skipped) == (0, {"force_too_large": 1})
    assert [(one.id, one.reason) for one in gateway.heard[0].skipped] == [(ID, "force_too_large")]


def test_a_file_that_ended_three_workers_is_not_tried_again(spool: Spool, card: ModelCard) -> None:
    put(spool, card)
    (path,) = spool.folder.iterdir()
    path.rename(path.with_name(path.name.replace(".0.", ".3.")))
    gateway = Recorder(card)
    assert worker(spool, gateway).run().skipped == {"killed_the_teacher": 1}
    assert spool.claim() is None


def test_a_worker_that_fails_leaves_its_file_to_the_next(spool: Spool, card: ModelCard) -> None:
    class Broken(Recorder):
        def report(self, results: ShadowResults) -> ShadowReceipt:
            raise KeyboardInterrupt

    put(spool, card)
    with pytest.raises(KeyboardInterrupt):
        worker(spool, Broken(card)).run()
    assert worker(spool, Recorder(card)).run().labelled == 1


# From here on with a real gateway.


def settings(tmp_path: Path, **changes: Any) -> Settings:
    fields = {"shadow_fraction": 1.0, "shadow_dir": tmp_path / "live", "runtime": "fake"}
    return Settings(model_repository=tmp_path / "models", **(fields | changes))


@contextmanager
def gateway(settings: Settings) -> Iterator[tuple[httpx.Client, str]]:
    with running_gateway(settings) as url, httpx.Client(base_url=url) as client:
        yield client, url


def ask(client: httpx.Client, *structures: dict[str, Any]) -> None:
    body = {"model": "fake", "structures": structures or [WATER], "on_error": "partial"}
    assert client.post("/v1/predict", json=body).status_code == 200


def value(client: httpx.Client, name: str, **labels: str) -> float | None:
    """What ``/metrics`` says; None if it does not."""
    wanted = {"model": "fake", "version": "1"} | labels
    for line in client.get("/metrics").text.splitlines():
        if line.startswith(f"{name}{{") and all(f'{k}="{v}"' in line for k, v in wanted.items()):
            return float(line.split()[-1])
    return None


def eventually(client: httpx.Client, name: str, expected: float, **labels: str) -> None:
    """Wait for another thread; the answer itself waits for nothing."""
    until = threading.Event()
    for _ in range(3000):
        if value(client, name, **labels) == expected:
            return
        until.wait(0.01)
    pytest.fail(f"{name} is {value(client, name, **labels)}")


RMSE = "forcegate_shadow_force_rmse_ev_per_angstrom"
SPOOLED = "forcegate_shadow_spooled_total"
DROPPED = "forcegate_shadow_dropped_total"


def test_from_a_request_to_the_gauge(tmp_path: Path) -> None:
    write_taught_model(tmp_path / "models", force_rmse=0.08)
    with gateway(settings(tmp_path)) as (client, url):
        ask(client)
        eventually(client, SPOOLED, 1.0)
        assert value(client, RMSE) is None
        assert value(client, "forcegate_shadow_force_rmse_expected_ev_per_angstrom") == 0.08
        served = client.post("/v1/predict", json={"model": "fake", "structures": [WATER]}).json()
        eventually(client, SPOOLED, 2.0)
        with closing(HttpGateway(url)) as reports:
            tally = worker(Spool(tmp_path / "live"), reports).run()
        assert (tally.labelled, tally.unwanted) == (2, 0)
        atoms = Atoms(WATER["atomic_numbers"], WATER["positions"], calculator=make_teacher(MORSE))
        error = np.array(served["results"][0]["forces"]) - atoms.get_forces()
        assert value(client, RMSE) == pytest.approx(float(np.sqrt((error**2).mean())))
        assert value(client, "forcegate_shadow_structures_total") == 2.0


def test_without_a_measurement_in_the_card_there_is_no_expected_error(tmp_path: Path) -> None:
    write_taught_model(tmp_path / "models")
    with gateway(settings(tmp_path)) as (client, _):
        ask(client)
        eventually(client, SPOOLED, 1.0)
        assert value(client, "forcegate_shadow_force_rmse_expected_ev_per_angstrom") is None


def test_replays_unknown_ids_and_wrong_sizes_change_nothing(tmp_path: Path) -> None:
    write_taught_model(tmp_path / "models")
    with gateway(settings(tmp_path)) as (client, _):
        ask(client)
        eventually(client, SPOOLED, 1.0)
        recorder = Recorder(ModelCard.load(tmp_path / "models" / "fake" / "1"))
        worker(Spool(tmp_path / "live"), recorder).run()
        (good,) = recorder.heard[0].results
        document = good.model_dump()

        def post(**changes: Any) -> dict[str, int]:
            answer = client.post(
                "/v1/shadow/results", json={"results": [document | changes], "skipped": []}
            )
            assert answer.status_code == 200, answer.text
            return answer.json()

        for nonsense in (
            {"id": "f" * 32}, {"n_atoms": 4}, {"force_squared_sum": 1e9, "force_absolute_sum": 1.0}
        ):  # fmt: skip
            assert post(**nonsense) == {"accepted": 0, "refused": 1}
            assert value(client, "forcegate_shadow_structures_total") is None
        assert post() == {"accepted": 1, "refused": 0}
        before = value(client, RMSE)
        assert post(force_squared_sum=1e2, force_absolute_sum=20.0) == {"accepted": 0, "refused": 1}
        assert value(client, RMSE) == before
        assert value(client, "forcegate_shadow_structures_total") == 1.0


def test_a_gateway_that_was_started_again_takes_answers_to_its_earlier_questions(
    tmp_path: Path,
) -> None:
    write_taught_model(tmp_path / "models")
    with gateway(settings(tmp_path)) as (client, _):
        ask(client)
        eventually(client, SPOOLED, 1.0)
    with gateway(settings(tmp_path)) as (client, url):
        # The second question is written after the first was taken up.
        ask(client)
        eventually(client, SPOOLED, 1.0)
        with closing(HttpGateway(url)) as reports:
            tally = worker(Spool(tmp_path / "live"), reports).run()
        assert (tally.labelled, tally.unwanted) == (2, 0)


CUBE = [[20.0, 0, 0], [0, 20.0, 0], [0, 0, 20.0]]
UNFIT = {
    "periodic": WATER | {"pbc": True, "cell": CUBE},
    "too_large": {"atomic_numbers": [1] * 8, "positions": [[0, 0, 1.5 * n] for n in range(8)]},
    "open_shell": {"atomic_numbers": [8, 1], "positions": [[0, 0, 0], [0, 0, 1.0]]},
}


@pytest.mark.parametrize("reason", UNFIT)
def test_what_is_not_for_the_teacher_is_counted_by_its_reason(tmp_path: Path, reason: str) -> None:
    write_taught_model(tmp_path / "models")
    with gateway(settings(tmp_path, shadow_max_atoms=7)) as (client, _):
        ask(client, UNFIT[reason], WATER)
        eventually(client, SPOOLED, 1.0)
        assert value(client, DROPPED, reason=reason) == 1.0


@pytest.mark.parametrize("where", ["a file", "shared", "full"])
def test_a_spool_that_takes_nothing_costs_no_answer(tmp_path: Path, where: str) -> None:
    write_taught_model(tmp_path / "models")
    reason, changes = "write_failed", {}
    if where == "a file":
        (tmp_path / "live").write_text("in the way")
    elif where == "shared":
        (tmp_path / "live").mkdir()
        (tmp_path / "live").chmod(0o755)
    else:
        reason, changes = "spool_full", {"shadow_max_bytes": 1}
    with gateway(settings(tmp_path, **changes)) as (client, _):
        ask(client)
        eventually(client, DROPPED, 1.0, reason=reason)
        ask(client)
        eventually(client, DROPPED, 2.0, reason=reason)
        assert value(client, SPOOLED) is None


def test_only_a_fraction_is_sampled_and_nothing_by_default(tmp_path: Path) -> None:
    write_taught_model(tmp_path / "models")
    with gateway(settings(tmp_path, shadow_fraction=0.0)) as (client, _):
        ask(client)
        assert value(client, SPOOLED) is None
        assert not (tmp_path / "live").exists()
    with gateway(settings(tmp_path, shadow_fraction=0.2)) as (client, _):
        ask(client, *[WATER] * 200)
    # All is written when the gateway ends: 40 of 200 are expected, give or take 5.7.
    assert 10 <= structures(tmp_path / "live") <= 80


def structures(folder: Path) -> int:
    from forcegate_service.watch.shadow.record import decode

    return sum(len(decode(content).structures) for content in Spool(folder).contents())


def test_a_fraction_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="FORCEGATE_SHADOW_DIR"):
        settings(tmp_path, shadow_dir=None)
