"""Prometheus, Alertmanager and their tools: where tests find them, or why they do not run."""

from __future__ import annotations

import os
import shutil

import pytest

__all__ = ["tool"]

_PACKAGES = {
    "promtool": "prometheus",
    "prometheus": "prometheus",
    "amtool": "prometheus-alertmanager",
    "prometheus-alertmanager": "prometheus-alertmanager",
}


def tool(name: str) -> str:
    """The path of a program; without it the test is skipped and says why, and in CI it fails."""
    found = shutil.which(name)
    if found is None:
        said = f"no {name}: install Debian's package {_PACKAGES[name]}"
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)
    return found
