"""A screening is the same whether it was stopped or not, and never mixes what differs."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import h5py
import httpx
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.constraints import FixAtoms, FixBondLength, FixCartesian
from ase.io import read, write

from forcegate_client.constraints import held_coordinates
from forcegate_client.errors import (
    DigestChanged,
    ModelNotFound,
    RuntimeUnavailable,
    ServerUnreachable,
    TooManyRequests,
)
from forcegate_client.http.client import Client
from forcegate_client.screening import NO_RETRIES, Screened, Shard, SinglePoint, merge, screen
from forcegate_client.screening.errors import ResultsMismatch
from forcegate_client.screening.exporting import ExportFormat, export
from forcegate_client.screening.gate import Gate
from forcegate_client.screening.relax_task import Relax
from forcegate_client.testing import FakeClock, FakeServer, problem

SIZE = 23
STRANGE = 7


@pytest.fixture
def library(tmp_path: Path) -> Path:
    frames = [molecule("H2O") for _ in range(SIZE)]
    for number, frame in enumerate(frames):
        frame.positions[0, 0] += 0.01 * number
    frames[STRANGE] = molecule("SiH4")
    write(tmp_path / "in.extxyz", frames)
    return tmp_path / "in.extxyz"


def run(server: FakeServer, inputs: Path, out: Path, **changes: Any) -> Screened:
    client = Client("http://springs", transport=server.transport, retry=NO_RETRIES)
    settings: dict[str, Any] = {"model": "springs", "part_size": 5, "at_once": 2, "patience_s": 5.0}
    return screen([inputs], out, client=client, **(settings | changes))


def rows(results: Path) -> dict[str, Any]:
    with h5py.File(results) as file:
        return {name: file["rows"][name][()] for name in file["rows"]}


def asked(server: FakeServer) -> int:
    """Structures, without the one atom that is asked about at the start."""
    return sum(len(p.structures) for p in server.predictions if p.on_error == "partial")


def test_every_structure_has_a_row_or_a_reason(library: Path, tmp_path: Path) -> None:
    server = FakeServer()
    run(server, library, tmp_path / "out")
    results = merge(tmp_path / "out", where="max_force > 0")
    found = rows(results)
    assert found["index"].tolist() == [i for i in range(SIZE) if i != STRANGE]
    client = Client("http://springs", transport=server.transport)
    frames = [f for f in read(library, ":") if 14 not in f.numbers]
    alone = client.predict(frames, "springs").predictions
    assert np.array_equal(found["energy"], alone.energy)
    assert np.allclose(found["energy_per_atom"] * 3, alone.energy)
    assert alone.forces is not None
    strongest = np.linalg.norm(alone.forces.reshape(-1, 3, 3), axis=2).max(axis=1)
    assert np.allclose(found["max_force"], strongest)
    with h5py.File(results) as file:
        assert file["failures/index"][()].tolist() == [STRANGE]
        assert file["failures/code"].asstr()[()].tolist() == ["element_unsupported"]
        assert not file["failures/transient"][()].any()


def test_what_was_stopped_is_continued_without_computing_anything_twice(
    library: Path, tmp_path: Path
) -> None:
    run(FakeServer(), library, tmp_path / "whole")
    broken = FakeServer()
    calls = 0

    def dies(request: httpx.Request) -> httpx.Response:
        nonlocal calls
        calls += request.url.path.endswith("/v1/predict")
        return problem(ModelNotFound("gone")) if calls > 3 else broken.answer(request)

    client = Client("http://s", transport=httpx.MockTransport(dies), retry=NO_RETRIES)
    with pytest.raises(ModelNotFound):
        screen([library], tmp_path / "out", client=client, model="springs", part_size=5, at_once=1)
    done = len(list((tmp_path / "out" / "parts").glob("*.h5")))
    assert 1 <= done < 5
    server = FakeServer()
    run(server, library, tmp_path / "out")
    assert asked(server) == SIZE - 5 * done
    whole, continued = (rows(merge(tmp_path / name)) for name in ("whole", "out"))
    assert all(np.array_equal(whole[name], continued[name]) for name in whole)
    again = FakeServer()
    assert run(again, library, tmp_path / "out").computed == 0
    assert asked(again) == 0


def test_a_damaged_part_is_computed_again(library: Path, tmp_path: Path) -> None:
    run(FakeServer(), library, tmp_path / "out")
    (first, *_) = sorted((tmp_path / "out" / "parts").glob("*.h5"))
    content = bytearray(first.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    first.write_bytes(content)
    with pytest.raises(ResultsMismatch, match="lacks 5 of 23"):
        merge(tmp_path / "out")
    assert run(FakeServer(), library, tmp_path / "out").computed == 5


def test_failures_that_may_pass_are_tried_again_and_only_they(
    library: Path, tmp_path: Path
) -> None:
    class Moody(FakeServer):
        well = False

        def predict(self, request: Any) -> Any:
            heavy = 0.205 < request.structures.positions[:, 0].max() < 0.5
            if heavy and not self.well:
                raise RuntimeError
            return super().predict(request)

        def answer(self, request: httpx.Request) -> httpx.Response:
            try:
                return super().answer(request)
            except RuntimeError:
                return httpx.Response(500, json={"code": "server_fault", "detail": "broken"})

    server = Moody()
    run(server, library, tmp_path / "out")
    with h5py.File(merge(tmp_path / "out")) as file:
        transient = file["failures/index"][()][file["failures/transient"][()]].tolist()
    assert transient == [21, 22]
    server.well = True
    before = asked(server)
    assert run(server, library, tmp_path / "out").computed == 2
    assert asked(server) - before == 2
    assert rows(merge(tmp_path / "out"))["index"].tolist() == [
        i for i in range(SIZE) if i != STRANGE
    ]


@pytest.mark.parametrize("change", ["input", "settings", "model", "card", "part_size"])
def test_results_of_other_work_are_not_mixed_in(library: Path, tmp_path: Path, change: str) -> None:
    run(FakeServer(), library, tmp_path / "out")
    server, changes = FakeServer(), {}
    if change == "input":
        library.write_text(library.read_text() + "1\n\nH 0 0 0\n")
    elif change == "settings":
        changes = {"task": SinglePoint(keep_forces=True)}
    elif change == "part_size":
        changes = {"part_size": 6}
    elif change == "card":
        server = FakeServer(card_digest="sha256:another cutoff")
    else:
        server = FakeServer(digests={"1": "sha256:other"})
    with pytest.raises(ResultsMismatch, match=r"now, .* before"):
        run(server, library, tmp_path / "out", **changes)


def test_a_newer_default_version_does_not_change_a_screening(library: Path, tmp_path: Path) -> None:
    run(FakeServer(), library, tmp_path / "out")
    newer = FakeServer(version="2", digests={"1": "sha256:one", "2": "sha256:two"})
    assert run(newer, library, tmp_path / "out").manifest.model["version"] == "1"


def test_results_from_before_cards_had_a_digest_are_gone_on_with(
    library: Path, tmp_path: Path
) -> None:
    run(FakeServer(card_digest=""), library, tmp_path / "out")
    assert run(FakeServer(), library, tmp_path / "out").manifest.model["version"] == "1"


@pytest.mark.parametrize("what", ["weights", "card"])
def test_another_version_in_the_middle_ends_it(what: str, library: Path, tmp_path: Path) -> None:
    server = FakeServer()

    def swap(request: httpx.Request) -> httpx.Response:
        if what == "weights":
            server.digests["1"] = "sha256:two"
        else:
            server.card_digest = "sha256:another cutoff"
        return server.answer(request)

    server.script = [server.answer, server.answer, server.answer, swap]
    with pytest.raises(DigestChanged):
        run(server, library, tmp_path / "out")


def test_shards_together_are_the_whole(library: Path, tmp_path: Path) -> None:
    run(FakeServer(), library, tmp_path / "whole")
    for number in (1, 2):
        run(FakeServer(), library, tmp_path / "out", shard=Shard(number, 3))
    with pytest.raises(ResultsMismatch, match="2 of 3 shards; missing: 3"):
        merge(tmp_path / "out")
    run(FakeServer(), library, tmp_path / "out", shard=Shard(3, 3))
    whole, sharded = (rows(merge(tmp_path / name)) for name in ("whole", "out"))
    assert all(np.array_equal(whole[name], sharded[name]) for name in whole)


def test_refusals_are_waited_out(library: Path, tmp_path: Path) -> None:
    server = FakeServer()
    refusal = problem(TooManyRequests("full", retry_after_s=0.01))
    away = problem(RuntimeUnavailable("restarting", retry_after_s=0.01))
    server.script = [server.answer, server.answer, refusal, away, refusal, server.answer]
    run(server, library, tmp_path / "out")
    assert len(rows(merge(tmp_path / "out"))["index"]) == SIZE - 1


def test_a_server_that_stays_away_ends_it_with_what_is_wrong(library: Path, tmp_path: Path) -> None:
    def nobody(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    client = Client("http://s", transport=httpx.MockTransport(nobody), retry=NO_RETRIES)
    with pytest.raises(ServerUnreachable):
        screen([library], tmp_path / "out", client=client, model="springs", patience_s=0.1)


def test_the_gate_halves_once_for_refusals_of_one_moment_and_grows_again() -> None:
    clock = FakeClock()
    gate = Gate(8, clock=clock, sleep=clock.sleep)
    with gate.passing() as one:
        pass
    with gate.passing() as other:
        pass
    clock.now = 1.0
    gate.refused(one, 2.0)
    gate.refused(other, 3.0)
    assert gate.limit == 4.0
    with gate.passing() as left:
        assert left == 4.0
    for _ in range(100):
        gate.answered()
    assert gate.limit == 8.0
    for _ in range(10):
        clock.now += 100.0
        with gate.passing() as left:
            pass
        gate.refused(left, 0.0)
    assert gate.limit == 1.0


def test_the_gate_lets_no_more_through_than_its_limit() -> None:
    gate = Gate(2)
    inside = 0
    most = 0
    lock = threading.Lock()
    both = threading.Barrier(2)

    def pass_through() -> None:
        nonlocal inside, most
        with gate.passing():
            with lock:
                inside += 1
                most = max(most, inside)
            both.wait(timeout=60)
            with lock:
                inside -= 1

    threads = [threading.Thread(target=pass_through) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 2


@pytest.mark.parametrize("kind", list(ExportFormat))
def test_selected_rows_are_exported(library: Path, tmp_path: Path, kind: ExportFormat) -> None:
    run(FakeServer(), library, tmp_path / "out", task=SinglePoint(keep_forces=True))
    middle = float(np.median(rows(merge(tmp_path / "out"))["energy"]))
    results = merge(tmp_path / "out", where=f"energy > {middle!r}")
    found = rows(results)
    kept = found["index"][found["selected"]].tolist()
    assert 0 < len(kept) < SIZE - 1
    path = export(results, kind)
    if kind is ExportFormat.EXTXYZ:
        frames, originals = read(path, ":"), read(library, ":")
        assert [frame.info["index"] for frame in frames] == kept
        for frame in frames:
            original = originals[frame.info["index"]]
            assert np.allclose(frame.positions, original.positions, atol=1e-7)
            strongest = np.linalg.norm(frame.get_forces(), axis=1).max()
            assert strongest == pytest.approx(frame.info["max_force"], abs=1e-6)
    elif kind is ExportFormat.CSV:
        lines = path.read_text().splitlines()
        assert lines[0].startswith("index,label,energy,")
        assert [int(line.split(",")[0]) for line in lines[1:]] == kept
    else:
        parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
        assert parquet.read_table(path)["index"].to_pylist() == kept


def test_relaxed_structures_are_in_their_minima(library: Path, tmp_path: Path) -> None:
    server = FakeServer()
    run(server, library, tmp_path / "out", task=Relax(fmax=0.01))
    results = merge(tmp_path / "out", where="converged and steps > 0")
    found = rows(results)
    assert found["index"].tolist() == [i for i in range(SIZE) if i != STRANGE]
    assert found["converged"].all()
    assert (found["max_force"] < 0.01).all()
    assert (found["energy"] < found["start_energy"]).all()
    frames = read(export(results, ExportFormat.EXTXYZ), ":")
    client = Client("http://springs", transport=server.transport)
    again = client.predict(frames, "springs").predictions
    assert np.allclose(again.energy, found["energy"], atol=1e-6)


def held_frames() -> list[Atoms]:
    """Nothing, some atoms, some coordinates and a bond are held; one atom is an isotope."""
    frames = [molecule("CH3OH") for _ in range(4)]
    for number, frame in enumerate(frames):
        frame.rattle(0.1, seed=number)
    frames[1].set_constraint(FixAtoms([0, 1]))
    frames[2].set_constraint(FixCartesian(0, (True, False, False)))
    frames[3].set_constraint(FixBondLength(0, 1))
    frames[1].set_masses([m + (n == 2) for n, m in enumerate(frames[1].get_masses())])
    return frames


@pytest.mark.parametrize("name", ["in.extxyz", "in.traj"])
def test_what_the_input_holds_is_held_and_what_it_says_of_masses_is_kept(
    tmp_path: Path, name: str
) -> None:
    given = held_frames()
    # Extended XYZ has no word for a bond.
    given = given if name == "in.traj" else given[:3]
    write(tmp_path / name, given)
    run(FakeServer(), tmp_path / name, tmp_path / "out", task=Relax(fmax=0.1))
    results = merge(tmp_path / "out")
    with h5py.File(results) as file:
        reasons = file["failures/code"].asstr()[()].tolist()
        details = file["failures/detail"].asstr()[()].tolist()
    assert reasons == ["constraint_unsupported"] * (len(given) - 3)
    assert all("FixBondLength" in text for text in details)
    moved = read(export(results, ExportFormat.EXTXYZ), ":")
    assert len(moved) == 3
    for start, end in zip(given, moved, strict=False):
        still = np.isclose(start.positions, end.positions, atol=1e-7)
        assert not still.all()
        assert still[held_coordinates(start)].all()
        assert np.array_equal(held_coordinates(start), held_coordinates(end))
    assert moved[1].get_masses()[2] == pytest.approx(given[1].get_masses()[2])


def test_constraints_do_not_keep_a_structure_from_being_evaluated_as_it_is(tmp_path: Path) -> None:
    write(tmp_path / "in.traj", held_frames())
    run(FakeServer(), tmp_path / "in.traj", tmp_path / "out")
    assert len(rows(merge(tmp_path / "out"))["index"]) == 4
