"""Settings for all tests."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_torch_thread() -> None:
    """Small graphs gain nothing from a second thread, and lose much beside other processes."""
    torch.set_num_threads(1)
