"""A gateway on a full disk answers everything, and counts what it could not keep."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import pytest
from ase.build import molecule
from prometheus_client.parser import text_string_to_metric_families

from support.full_disk import small_disk
from support.server_process import started
from support.shadowing import write_taught_model

# Three, because so many structures of one composition are kept.
NAMES = ("CH4", "CH3CH2OH", "C6H6")
ASKED = 300


class Disk(NamedTuple):
    """A folder, and how large a file in it may be."""

    folder: Path
    file_size: int | None


@pytest.fixture(params=["small disk", "limit of file sizes"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    if request.param == "limit of file sizes":
        yield Disk(tmp_path / "limited", 60_000)
        return
    # Room for the first few.
    with small_disk(tmp_path / "disk", 96 * 1024) as folder:
        yield Disk(folder, None)


COUNTERS = {
    "forcegate_captured_structures_total": "capture",
    "forcegate_capture_dropped_total": "capture",
    "forcegate_shadow_spooled_total": "shadow",
    "forcegate_shadow_dropped_total": "shadow",
}


def totals(client: httpx.Client) -> Counter[str]:
    """Structures that were kept or dropped, and those for which there was no room."""
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            if sample.name in COUNTERS:
                kind = COUNTERS[sample.name]
                found[kind] += int(sample.value)
                if sample.labels.get("reason") == "write_failed":
                    found[f"{kind}, no room"] += int(sample.value)
    return found


def test_every_prediction_is_answered_and_every_loss_counted(disk: Disk, tmp_path: Path) -> None:
    write_taught_model(tmp_path / "models")
    settings = {
        "capture_dir": disk.folder / "captured", "capture_novelty": 1e-6,
        "shadow_dir": disk.folder / "spool", "shadow_fraction": 1.0,
    }  # fmt: skip
    rng = np.random.default_rng(0)
    with (
        started(tmp_path / "models", disk.file_size, **settings) as (process, url),
        httpx.Client(base_url=url) as client,
    ):
        for number in range(ASKED):
            atoms = molecule(NAMES[number % len(NAMES)])
            structure = {
                "atomic_numbers": atoms.numbers.tolist(),
                "positions": (atoms.positions + rng.normal(0, 0.05, (len(atoms), 3))).tolist(),
            }
            answer = client.post("/v1/predict", json={"model": "fake", "structures": [structure]})
            assert answer.status_code == 200, answer.text
        deadline = time.monotonic() + 120
        while True:
            found = totals(client)
            if found["capture"] == found["shadow"] == ASKED:
                break
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        assert found["capture, no room"] > 0
        if disk.file_size is None:
            # Its files are small, so a limit of their sizes does not concern it.
            assert found["shadow, no room"] > 0
        os.kill(process, signal.SIGTERM)
        _, status = os.waitpid(process, 0)
        assert os.waitstatus_to_exitcode(status) == 0
    assert not list(disk.folder.rglob("*.tmp"))
