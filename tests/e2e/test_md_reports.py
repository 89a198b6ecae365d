"""From an ASE script to the gateway's metrics: a run in good order, and one that is not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet
from prometheus_client.parser import text_string_to_metric_families

from forcegate_client import MDMonitor, RemoteCalculator
from forcegate_client.errors import ForcegateError
from forcegate_client.md.nve import draw_velocities
from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.settings import Settings
from forcegate_service.testing import running_gateway

SPACING = 4.0
TEMPERATURE_K = 50.0


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[str]:
    write_fake_model(tmp_path)
    with running_gateway(Settings(model_repository=tmp_path, runtime="fake")) as url:
        yield url


def crystal(url: str) -> Atoms:
    """Chlorines that the toy's repulsion keeps apart."""
    grid = np.stack(np.meshgrid(*[np.arange(2)] * 3), axis=-1).reshape(-1, 3)
    atoms = Atoms("Cl8", positions=SPACING * grid, cell=[2 * SPACING] * 3, pbc=True)
    atoms.calc = RemoteCalculator(url, model="fake")
    draw_velocities(atoms, TEMPERATURE_K, np.random.default_rng(0))
    return atoms


def metrics(url: str) -> dict[str, float]:
    """Sums over labels, of those metrics that are about runs."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(httpx.get(f"{url}/metrics").text):
        for sample in family.samples:
            if sample.name.startswith("forcegate_md_") and "le" not in sample.labels:
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def test_a_run_in_good_order_is_judged_and_does_not_drift(gateway: str) -> None:
    atoms = crystal(gateway)
    dynamics = VelocityVerlet(atoms, 5.0 * units.fs)
    with MDMonitor(dynamics, temperature_K=TEMPERATURE_K) as monitor:
        dynamics.attach(monitor)
        dynamics.run(420)
    atoms.calc.close()
    found = metrics(gateway)
    assert found["forcegate_md_judged_reports_total"] >= 1
    assert found["forcegate_md_drifting_reports_total"] == 0
    assert found["forcegate_md_drift_mev_per_atom_per_ps_count"] == 1
    assert found["forcegate_md_temperature_error_sigmas_count"] == 1
    assert "forcegate_md_blow_ups_total" not in found


def test_a_timestep_that_is_far_too_long_is_seen(gateway: str) -> None:
    atoms = crystal(gateway)
    dynamics = VelocityVerlet(atoms, 200.0 * units.fs)
    try:
        with MDMonitor(dynamics, temperature_K=TEMPERATURE_K) as monitor:
            dynamics.attach(monitor)
            dynamics.run(300)
    except ForcegateError:
        assert monitor.trouble is not None
    atoms.calc.close()
    found = metrics(gateway)
    seen = [
        found.get(f"forcegate_md_{name}_total", 0.0) for name in ("drifting_reports", "blow_ups")
    ]
    assert sum(seen) >= 1


SCRIPT = """
import sys
import numpy as np
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet
from forcegate_client import MDMonitor, RemoteCalculator

atoms = Atoms("O2", positions=[[0, 0, 0], [0, 0, 3.0]], cell=[6.0] * 3, pbc=True)
atoms.calc = RemoteCalculator(sys.argv[1], model="fake")
dynamics = VelocityVerlet(atoms, units.fs)
dynamics.attach(MDMonitor(dynamics, temperature_K=300))
dynamics.run(3)
"""


def test_a_script_that_just_ends_has_its_last_report_sent(gateway: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, gateway], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert metrics(gateway)["forcegate_md_runs"] == 0
    assert metrics(gateway)["forcegate_md_reports_total"] >= 1
