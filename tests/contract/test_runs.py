"""Runs on the server: a stream of frames comes back, each of them a place to go on from."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
from ase.build import molecule

from forcegate_client.runs import RunRequest
from forcegate_client.structures import StructureBatch
from forcegate_client.wire.run_records import JSON_LINES, RECORDS
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client
from support.streams import bits, read, records_of, sent

pytestmark = pytest.mark.anyio

NAMES = ("CH3OH", "H2O", "CH3SH", "NH3")
RNG = np.random.default_rng(3)


def structures(count: int = 2) -> StructureBatch:
    found = [molecule(NAMES[k % len(NAMES)]) for k in range(count)]
    for atoms in found:
        atoms.rattle(0.02, rng=RNG)
    return StructureBatch.from_atoms(found)


def nve(count: int = 2, **changes: Any) -> RunRequest:
    batch = structures(count)
    options: dict[str, Any] = {
        "steps": 40,
        "frame_interval": 10,
        "velocities": RNG.normal(size=batch.positions.shape) * 0.003,
    }
    return RunRequest("dynamics", batch, "fake", method="nve", **(options | changes))


def langevin(count: int = 2, **changes: Any) -> RunRequest:
    thermostat = {"temperature_k": 300.0, "friction_per_fs": 0.02, "seed": 2**41 + 5}
    return replace(nve(count, **changes), method="langevin", **thermostat)


def relaxation(method: Any, count: int = 3, **changes: Any) -> RunRequest:
    # The toy repels at every distance: far apart is at rest.
    options: dict[str, Any] = {"steps": 4000, "fmax": 0.1}
    return RunRequest("relax", structures(count), "fake", method=method, **(options | changes))


def from_frame(request: RunRequest, frames: list[Any]) -> RunRequest:
    """``request``, gone on with from one frame of each structure."""
    return replace(
        request,
        structures=replace(
            request.structures, positions=np.concatenate([f.positions for f in frames])
        ),
        velocities=np.concatenate([f.velocities for f in frames]),
        start_steps=np.array([f.step for f in frames]),
        streams=np.array([f.structure for f in frames]),
    )


@pytest.mark.parametrize("make", [nve, langevin])
async def test_a_run_is_told_frame_by_frame_to_its_end(
    client: httpx.AsyncClient, make: Any
) -> None:
    request = make()
    run = await read(client, request)
    assert (run.header.model, run.header.method) == ("fake", request.method)
    assert run.header.card_digest.startswith("sha256:")
    assert run.header.structures == 2
    assert run.summary.reason == "finished"
    assert run.summary.steps == 80
    for b in range(2):
        assert [frame.step for frame in run.of(b)] == [0, 10, 20, 30, 40]
        assert (run.ends[b].reason, run.ends[b].step) == ("finished", 40)
        first = run.of(b)[0]
        atoms = slice(*request.structures.offsets[b : b + 2])
        assert first.positions.tobytes() == request.structures.positions[atoms].tobytes()
        assert first.velocities is not None
        assert first.temperature_k is not None
        assert first.max_novelty is not None


async def test_energies_of_frames_are_those_that_are_predicted(client: httpx.AsyncClient) -> None:
    run = await read(client, nve(properties=("forces",)))
    frame = run.of(0)[-1]
    numbers = molecule(NAMES[0]).numbers.tolist()
    asked = {"atomic_numbers": numbers, "positions": frame.positions.tolist()}
    answer = await client.post("/v1/predict", json={"model": "fake", "structures": [asked]})
    (result,) = answer.json()["results"]
    assert frame.energy == result["energy"]
    assert frame.forces is not None
    assert frame.forces.tolist() == result["forces"]


async def test_what_conserves_energy_says_how_well(client: httpx.AsyncClient) -> None:
    run = await read(client, nve(1, steps=200, frame_interval=20, timestep_fs=0.25))
    end = run.ends[0]
    assert end.drift_mev_per_atom_per_ps is not None
    assert end.drift_standard_error_mev_per_atom_per_ps is not None
    assert end.duration_ps == pytest.approx(0.05)
    total = await client.get("/metrics")
    assert 'forcegate_run_steps_total{method="nve",model="fake"} 200.0' in total.text
    assert "forcegate_md_reports_total" in total.text


@pytest.mark.parametrize("make", [nve, langevin])
@pytest.mark.parametrize("frame", [1, 3])
async def test_a_run_that_goes_on_is_the_one_that_was_not_interrupted(
    client: httpx.AsyncClient, make: Any, frame: int
) -> None:
    request = make(3)
    whole = await read(client, request)
    rest = await read(client, from_frame(request, [whole.of(b)[frame] for b in range(3)]))
    for b in range(3):
        assert [bits(f) for f in rest.of(b)] == [bits(f) for f in whole.of(b)[frame + 1 :]]
    # And one alone of them, in another place.
    alone = from_frame(request, [whole.of(b)[frame] for b in range(3)])
    last = replace(
        alone,
        structures=alone.structures.select([2]),
        velocities=alone.velocities[alone.structures.offsets[2] :],  # type: ignore[index]
        start_steps=alone.start_steps[2:],  # type: ignore[index]
        streams=np.array([2]),
    )
    run = await read(client, last)
    assert [bits(f) for f in run.of(0)] == [bits(f) for f in whole.of(2)[frame + 1 :]]


@pytest.mark.parametrize("method", ["fire", "lbfgs"])
async def test_structures_come_to_rest(client: httpx.AsyncClient, method: str) -> None:
    request = relaxation(method, fixed=np.arange(15) == 1)
    run = await read(client, request)
    for b in range(3):
        (frame,) = run.of(b)
        assert run.ends[b].reason == "converged"
        assert frame.fmax is not None
        assert frame.fmax < 0.1
        assert frame.velocities is None
    assert run.of(0)[0].positions[1].tolist() == request.structures.positions[1].tolist()


async def test_a_relaxation_out_of_steps_says_so(client: httpx.AsyncClient) -> None:
    run = await read(client, relaxation("fire", 1, steps=2, fmax=1e-12, frame_interval=1))
    assert [frame.step for frame in run.of(0)] == [0, 1, 2]
    assert run.ends[0].reason == "not_converged"


async def test_lines_of_json_hold_the_same_numbers(
    client: httpx.AsyncClient, water: dict[str, Any]
) -> None:
    body = {"model": "fake", "method": "nve", "steps": 4, "frame_interval": 2}
    moving = water | {"velocities": [[0.001, 0, 0], [0, 0.002, 0], [0, 0, -0.003]]}
    lines = await client.post("/v1/dynamics", json=body | {"structures": [moving]})
    assert lines.headers["content-type"] == JSON_LINES
    assert [json.loads(line)["record"] for line in lines.text.splitlines()] == [
        *("header", "frame", "frame", "frame", "end", "summary"),
    ]
    packed = await client.post(
        "/v1/dynamics", json=body | {"structures": [moving]}, headers={"Accept": RECORDS}
    )
    assert packed.headers["content-type"] == RECORDS
    told = [[bits(f) for f in records_of(r) if hasattr(f, "positions")] for r in (lines, packed)]  # type: ignore[arg-type]
    assert told[0] == told[1]
    assert len(told[0]) == 3


async def test_a_guard_flags_or_ends_a_structure(client: httpx.AsyncClient) -> None:
    flagged = await read(client, nve(1, max_novelty=0.0, on_guard="flag"))
    assert flagged.ends[0].reason == "finished"
    assert all("novelty" in frame.warnings[0] for frame in flagged.of(0))
    stopped = await read(client, nve(1, max_novelty=0.0))
    assert (stopped.ends[0].reason, len(stopped.frames)) == ("stopped", 1)


async def test_a_run_that_leaves_physics_ends_alone(client: httpx.AsyncClient) -> None:
    request = nve(2, steps=4000, frame_interval=0)
    speeds = np.array(request.velocities)
    speeds[:6] = RNG.normal(size=(6, 3)) * 0.5
    run = await read(client, replace(request, velocities=speeds, timestep_fs=5.0))
    assert run.ends[0].reason == "failed"
    assert run.ends[0].problem is not None
    assert run.ends[0].problem["structure"] == 0
    assert run.ends[0].problem["code"] in ("dynamics_blew_up", "atoms_too_close")
    assert run.summary.reason == "finished"


async def test_bad_structures_refuse_the_request_or_fail_alone(client: httpx.AsyncClient) -> None:
    batch = structures(2)
    positions = batch.positions.copy()
    positions[1] = positions[0]
    request = replace(nve(2), structures=replace(batch, positions=positions))
    refused = await client.post(**sent(request))
    assert (refused.status_code, refused.json()["code"]) == (422, "atoms_too_close")
    partial = await read(client, replace(request, on_error="partial"))
    assert partial.ends[0].problem is not None
    assert partial.ends[0].problem["code"] == "atoms_too_close"
    assert partial.ends[1].reason == "finished"
    assert len(partial.of(0)) == 0


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"model": "nonsense"}, "model_not_found"),
        ({"method": "fire"}, "value_out_of_range"),
        ({"steps": -1}, "value_out_of_range"),
        ({"steps": "many"}, "type_mismatch"),
        ({"colour": "red"}, "field_unknown"),
        (
            {"structures": [{"atomic_numbers": [2], "positions": [[0, 0, 0]], "mass": 1}]},
            "field_unknown",
        ),
        (
            {"structures": [{"atomic_numbers": [1], "positions": [[0, 0, 0]], "velocities": []}]},
            "shape_mismatch",
        ),
        (
            {"structures": [{"atomic_numbers": [92], "positions": [[0, 0, 0]]}]},
            "element_unsupported",
        ),
    ],
    ids=str,
)
async def test_a_refusal_is_a_problem_before_the_first_record(
    client: httpx.AsyncClient, water: dict[str, Any], change: dict[str, Any], code: str
) -> None:
    body = {"model": "fake", "method": "nve", "steps": 4, "structures": [water]}
    answer = await client.post("/v1/dynamics", json=body | change)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code
    assert answer.status_code in (404, 422)


async def test_the_cell_is_not_relaxed_and_this_is_said(
    client: httpx.AsyncClient, water: dict[str, Any]
) -> None:
    body = {"model": "fake", "method": "fire", "steps": 4, "structures": [water]}
    answer = await client.post("/v1/relax", json=body | {"relax_cell": True})
    assert (answer.status_code, answer.json()["code"]) == (422, "relax_cell_unsupported")
    boxed = water | {"cell": [[9, 0, 0], [0, 9, 0], [0, 0, 9]], "pbc": True}
    whole = await client.post("/v1/relax", json=body | {"structures": [boxed]})
    assert whole.status_code == 200


async def test_no_more_moves_than_may(settings: Settings) -> None:
    few = settings.model_copy(update={"max_live_structures_per_caller": 3, "max_run_structures": 5})
    async with gateway_client(few) as client:
        too_many = await client.post(**sent(nve(6)))
        assert (too_many.status_code, too_many.json()["code"]) == (413, "too_many_structures")
        busy = await client.post(**sent(nve(4)))
        assert (busy.status_code, busy.json()["code"]) == (429, "too_many_runs")
        assert busy.json()["retry_after_s"] > 0
        assert (await read(client, nve(3))).summary.reason == "finished"


async def test_a_stream_ends_with_its_time_and_can_be_gone_on_with(
    client: httpx.AsyncClient,
) -> None:
    request = replace(langevin(2, steps=10**9, frame_interval=0), friction_per_fs=1.0)
    answer = await client.post(
        **(
            sent(request)
            | {"headers": {"Content-Type": "application/msgpack", "X-Request-Timeout": "0.5"}}
        )
    )
    records = records_of(answer)
    summary, last = records[-1], {f.structure: f for f in records if hasattr(f, "positions")}  # type: ignore[union-attr]
    assert summary.reason == "deadline"  # type: ignore[union-attr]
    assert last.keys() == {0, 1}
    steps = {b: frame.step for b, frame in last.items()}
    assert summary.steps == sum(steps.values())  # type: ignore[union-attr]
    straight = await read(client, replace(request, steps=steps[0]))
    assert bits(straight.of(0)[-1]) == bits(last[0])
