"""What a process does not need it does not load: neither when it starts nor while it serves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# ASE's integrators bring its optimizers, and with them half of scipy.
HEAVY = ("scipy", "ase.md", "ase.optimize", "torch", "h5py", "matplotlib")
LOADED = f"import json, sys; print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"

# A model is loaded and warmed up, a structure is answered, all in this very process.
SERVE_ONE = """
import time
from pathlib import Path
from starlette.testclient import TestClient
from forcegate_service.api.app import create_app
from forcegate_service.settings import Settings

models = Path("model_repository")
water = {"atomic_numbers": [8, 1, 1], "positions": [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]}
with TestClient(create_app(Settings(model_repository=models)), "http://localhost") as client:
    while client.get("/health/ready").status_code != 200:
        time.sleep(0.05)
    asked = {"model": "painn_ultra_tiny", "structures": [water]}
    assert client.post("/v1/predict", json=asked).status_code == 200
"""


def loaded_after(code: str, *allowed: str) -> set[str]:
    """Which of what is heavy a fresh process has loaded after ``code``, but for what is allowed."""
    command = [sys.executable, "-c", f"{code}\n{LOADED}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1])) - set(allowed)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("import forcegate_client", id="the client"),
        pytest.param("from forcegate_client import RemoteCalculator, MDMonitor", id="its names"),
        pytest.param("import forcegate_service.api.server", id="the gateway, before it serves"),
    ],
)
def test_importing_loads_nothing_heavy(code: str) -> None:
    assert loaded_after(code) == set()


def test_a_gateway_that_serves_has_loaded_nothing_heavy() -> None:
    # HDF5 comes with the first capture, and not here.
    assert loaded_after(SERVE_ONE) == set()
