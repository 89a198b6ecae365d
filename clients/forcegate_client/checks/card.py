"""What the gateway and local use both read of a model card, the description of one version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from forcegate_client.checks.plausible import MOST_ENERGY_PER_ATOM, MOST_FORCE

__all__ = [
    "CARD_NAME",
    "DEFAULTS",
    "ENGINE_NAME",
    "MEASURED",
    "MODEL_NAME",
    "PAIR_CUTOFF",
    "USES",
    "card_digest",
    "content_digest",
    "fit_for_something",
]

CARD_NAME = "model_card.json"
MODEL_NAME = "model.pt"
ENGINE_NAME = "model.safetensors"

# What a version is used for.
USES = ("md", "relax", "screening", "periodic")

# What is found out about a version once it is made, and may change while it is served.
MEASURED = ("status", "metrics", "histograms")

PAIR_CUTOFF = 12.0
"""Å; where pairs of periodic structures end, in models of interface 2."""

DEFAULTS: dict[str, Any] = {
    "schema_version": 1,
    "interface": 1,
    "pair_cutoff": PAIR_CUTOFF,
    "force_partner": None,
    "limits": {
        "energy_per_atom": MOST_ENERGY_PER_ATOM,
        "force": MOST_FORCE,
        "minimum_distances": {},
    },
}
"""What a card means where it says nothing."""


def fit_for_something(status: Mapping[str, str]) -> bool:
    """Whether validation approved a version for any of ``USES``, be it with caution.

    What else it was measured for, such as ``binding`` or ``ions``, is no use of its own.
    """
    return any(status.get(use) in ("approved", "caution") for use in USES)


def card_digest(card: Mapping[str, Any]) -> str:
    """The identity of a version: a sha256 of all that its answers depend on.

    That is every field of the card, the digests of its files included, but for what is measured of
    it. A field that is at its default does not count, so that a new kind of field changes no card
    of before.
    """
    fields = {name: value for name, value in card.items() if name not in MEASURED}
    content = _changed(fields, DEFAULTS)
    return content_digest(json.dumps(content, sort_keys=True).encode())


def content_digest(content: bytes) -> str:
    """``sha256:…`` of ``content``."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _changed(fields: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in fields.items():
        if name in defaults and value == defaults[name]:
            continue
        nested = isinstance(value, Mapping) and isinstance(defaults.get(name), Mapping)
        found[name] = _changed(value, defaults[name]) if nested else value
    return found
