"""Calculators that ``aserpc`` workers find by name, in its group of entry points."""

from __future__ import annotations

__all__ = ["get_calculators"]


def get_calculators() -> dict[str, dict[str, str]]:
    """Where each of them is made; arguments of a worker (``--kwargs``) are those of the class."""
    return {
        "forcegate": {"factory": "forcegate_client:RemoteCalculator"},
        "forcegate-local": {"factory": "forcegate_client:LocalCalculator"},
    }
