"""Random numbers that depend on a seed and a purpose, and on nothing else that was drawn."""

import hashlib

import numpy as np

__all__ = ["generator"]


def generator(seed: int, *purpose: str) -> np.random.Generator:
    """Randomness for one purpose (a molecule, say), independent of all others."""
    text = "|".join((str(seed), *purpose))
    digest = hashlib.sha256(text.encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
