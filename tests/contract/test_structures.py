"""``POST /v1/structures``: what files hold, and that what is hostile in them harms nobody."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write
from ase.io.trajectory import Trajectory

from forcegate_service.api.access.keyfile import create_key
from forcegate_service.reading import files
from forcegate_service.reading.files import MAX_BYTES
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client

# Each file is read by a process of its own.
pytestmark = [pytest.mark.anyio, pytest.mark.system]

ACETATE = """acetate
  made by hand

  4  3  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 C   0  0
    1.5200    0.0000    0.0000 C   0  0
    2.1000    1.1000    0.2000 O   0  0
    2.1000   -1.1000   -0.2000 O   0  5
  1  2  1  0
  2  3  2  0
  2  4  1  0
M  CHG  1   4  -1
M  END
$$$$
"""


async def sent(
    client: httpx.AsyncClient, body: str | bytes, format: str, **headers: str
) -> httpx.Response:
    return await client.post(
        "/v1/structures",
        params={"format": format},
        content=body.encode() if isinstance(body, str) else body,
        headers={"Content-Type": "application/octet-stream"} | headers,
        timeout=60,
    )


async def structures(client: httpx.AsyncClient, body: str | bytes, format: str) -> list[Any]:
    response = await sent(client, body, format)
    assert response.status_code == 200, response.text
    found: list[Any] = response.json()["structures"]
    return found


def written(atoms: Atoms, format: str) -> str:
    stream: io.StringIO | io.BytesIO = io.BytesIO() if format == "cif" else io.StringIO()
    write(stream, atoms, format={"pdb": "proteindatabank"}.get(format, format))
    text = stream.getvalue()
    return text.decode() if isinstance(text, bytes) else text


async def test_smiles_get_hydrogens_a_conformer_and_their_charge(client: httpx.AsyncClient) -> None:
    ethanol, acetate = await structures(client, "CCO ethanol\nCC(=O)[O-]\n", "smi")
    assert (ethanol["label"], len(ethanol["atomic_numbers"])) == ("ethanol", 9)
    assert (ethanol["charge"], acetate["charge"]) == (0, -1)
    assert ethanol["cell"] is None


async def test_an_sdf_file_keeps_its_charges(client: httpx.AsyncClient) -> None:
    first, second = await structures(client, ACETATE * 2, "sdf")
    assert first == second | {"label": first["label"]}
    assert (first["charge"], first["atomic_numbers"]) == (-1, [6, 6, 8, 8])
    assert "hydrogen" in first["remark"]


@pytest.mark.parametrize("format", ["pdb", "cif"])
async def test_what_ase_writes_is_read_as_it_was(client: httpx.AsyncClient, format: str) -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    (found,) = await structures(client, written(atoms, format), format)
    assert found["atomic_numbers"] == atoms.numbers.tolist()
    assert [sum(row) for row in found["cell"]] == pytest.approx([5.64] * 3, abs=1e-3)
    assert found["pbc"] == [True] * 3


async def test_all_frames_of_a_trajectory_are_read_up_to_a_bound(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    frames = files.MOST_STRUCTURES + 3
    with Trajectory(tmp_path / "run.traj", "w") as trajectory:
        for _ in range(frames):
            trajectory.write(molecule("H2O"))
    response = await sent(client, (tmp_path / "run.traj").read_bytes(), "traj")
    assert len(response.json()["structures"]) == files.MOST_STRUCTURES
    assert response.json()["left_out"] == 3


async def test_records_that_hold_nothing_are_named_beside_those_that_do(
    client: httpx.AsyncClient,
) -> None:
    response = await sent(client, "CCO\nnonsense(\n", "smi")
    assert len(response.json()["structures"]) == 1
    (problem,) = response.json()["problems"]
    assert (problem["index"], problem["code"]) == (1, "smiles_invalid")


@pytest.mark.parametrize(
    ("body", "format", "code"),
    [
        ("nonsense(", "smi", "input_unreadable"),
        ("", "smi", "input_unreadable"),
        ("nothing", "cif", "input_unreadable"),
        (b"\x00\xff" * 1000, "traj", "input_unreadable"),
        ("CCO", "exe", "format_unsupported"),
    ],
)
async def test_what_holds_no_structure_is_refused_in_words(
    client: httpx.AsyncClient, body: str | bytes, format: str, code: str
) -> None:
    response = await sent(client, body, format)
    assert (response.status_code, response.json()["code"]) == (422, code)
    assert response.json()["expected"]
    assert response.json()["action"]


async def test_a_file_beyond_the_bound_or_of_another_type_is_not_read(
    client: httpx.AsyncClient,
) -> None:
    large = await sent(client, b"C" * (MAX_BYTES + 1), "smi")
    assert (large.status_code, large.json()["code"]) == (413, "body_too_large")
    # What another origin's page may send without asking.
    other = await sent(client, "C", "smi", **{"Content-Type": "text/plain"})
    assert other.status_code == 415


async def test_a_file_that_takes_too_long_ends_with_its_deadline_and_others_are_read(
    client: httpx.AsyncClient,
) -> None:
    # Thousands of embeddings, a minute's work at least.
    many = "CC(C)Cc1ccc(cc1)C(C)C(=O)O\n" * 20_000
    slow = await sent(client, many, "smi", **{"X-Request-Timeout": "3"})
    assert (slow.status_code, slow.json()["code"]) == (504, "deadline_exceeded")
    assert len(await structures(client, "C", "smi")) == 1


async def test_no_more_than_two_are_read_at_a_time(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(sent(client, "CCO", "smi") for _ in range(4)))
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200, 200, 429, 429]


@pytest.fixture
async def closed(settings: Settings, tmp_path: Path) -> AsyncIterator[tuple[Any, str]]:
    key = create_key(tmp_path / "keys.json", "Ada", ["report"])
    held = settings.model_copy(update={"keys_file": tmp_path / "keys.json"})
    async with gateway_client(held) as client:
        yield client, key


async def test_it_asks_for_the_scope_of_predictions(closed: tuple[Any, str]) -> None:
    client, key = closed
    assert (await sent(client, "C", "smi")).status_code == 401
    refused = await sent(client, "C", "smi", Authorization=f"Bearer {key}")
    assert refused.status_code == 403
