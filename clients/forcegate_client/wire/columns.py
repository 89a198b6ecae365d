"""From what a model computes to what is answered: the columns that were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from forcegate_client.checks.charges import dipoles, net_charges
from forcegate_client.errors import PredictionNotFinite
from forcegate_client.structures import StructureBatch

__all__ = ["Output", "columns_of", "finite", "not_finite"]

Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Int = npt.NDArray[np.int64]


class Output(Protocol):
    """What a model answers: ``energy`` [B] and ``energy_uncertainty`` [B] in eV, ``forces`` [N, 3]
    in eV/Å, ``virial`` [B, 3, 3] in eV, ``atom_novelty`` [N], ``charges`` [N] in e or None.
    """

    @property
    def energy(self) -> Float: ...
    @property
    def forces(self) -> Float: ...
    @property
    def virial(self) -> Float: ...
    @property
    def energy_uncertainty(self) -> Float: ...
    @property
    def atom_novelty(self) -> Float: ...
    @property
    def charges(self) -> Float | None: ...


def columns_of(
    output: Output, structures: StructureBatch, wanted: Sequence[str]
) -> dict[str, Float | None]:
    """The columns of ``Predictions`` that the properties ``wanted`` have, for ``structures``."""
    n_atoms = structures.n_atoms
    found: dict[str, Any] = {}
    if "energy" in wanted:
        found["energy"] = output.energy
    if "forces" in wanted:
        found["forces"] = output.forces
    if "stress" in wanted:
        found["stress"] = _stress(output.virial, structures.cells)
    if "uncertainty" in wanted:
        found["energy_uncertainty"] = output.energy_uncertainty
        found["max_novelty"] = _largest(output.atom_novelty, n_atoms)
    if output.charges is not None and "charges" in wanted:
        found["charges"] = output.charges
        found["net_charge"] = net_charges(output.charges, n_atoms)
    if output.charges is not None and "dipole" in wanted:
        found["dipole"] = dipoles(output.charges, structures)
    return found


def finite(output: Output, n_atoms: Int) -> Bool:
    """[B]; whether everything about a structure is finite."""
    atoms = np.isfinite(output.forces).all(axis=1) & np.isfinite(output.atom_novelty)
    if output.charges is not None:
        atoms &= np.isfinite(output.charges)
    whole: Bool = np.isfinite(output.energy) & np.isfinite(output.energy_uncertainty)
    whole &= np.isfinite(output.virial).all(axis=(1, 2))
    whole &= np.bincount(np.repeat(np.arange(len(n_atoms)), n_atoms), ~atoms, len(n_atoms)) == 0
    return whole


def not_finite() -> PredictionNotFinite:
    """What a structure hears that is not ``finite``."""
    return PredictionNotFinite(
        "a structure for which the model's answer is not a finite number",
        expected="a geometry like those the model was trained on",
        action="look at its geometry; other structures are not affected",
    )


def _stress(virial: Float, cells: Float) -> Float:
    """[K, 6] in eV/Å³: −virial / volume, Voigt order xx, yy, zz, yz, xz, xy."""
    full = -virial / np.abs(np.linalg.det(cells))[:, None, None]
    voigt: Float = full[:, [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    return voigt


def _largest(values: Float, counts: Int) -> Float:
    """[K]; the maximum of each run of ``values``; no run is empty."""
    if not len(counts):
        return np.zeros(0)
    largest: Float = np.maximum.reduceat(values, np.cumsum(counts) - counts)
    return largest
