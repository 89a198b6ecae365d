"""Settings for all tests."""

import os

# Read when OpenMP starts, so before torch and tblite are imported: both are several times slower
# on small molecules when their threads compete for two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import settings

from forcegate_service.machine import round_alike_in_every_batch
from support.signals import take_signals_as_at_a_terminal

# Before any fixture starts a process, and in every worker of pytest-xdist.
take_signals_as_at_a_terminal()

# No test asserts wall time, and none depends on the luck of a run.
settings.register_profile("forcegate", deadline=None, derandomize=True)
settings.load_profile("forcegate")


@pytest.fixture(autouse=True, scope="session")
def torch_as_the_gateway_sets_it() -> None:
    """One thread (small graphs gain nothing from a second), and its rounding."""
    torch.set_num_threads(1)
    round_alike_in_every_batch()
