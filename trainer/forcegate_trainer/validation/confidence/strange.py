"""Structures that a student was never made for, made by rule from ordinary ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase import Atoms
from scipy.sparse.csgraph import connected_components

from forcegate_client.md.bonds import bonded_pairs
from forcegate_trainer.data.molecules.structures import conformers, hydrogenated, structure_of

__all__ = ["DESCRIPTIONS", "IONS", "ZWITTERIONS", "Strange", "make_strange"]

Float = npt.NDArray[np.float64]
Pair = tuple[int, int]

_HYDROGEN = 1
_SHORTEST = 0.5  # Å; the gateway refuses what is closer, novelty need not find it
# Each element becomes its neighbor in the periodic table that students know.
_SWAP = {6: 7, 7: 8, 8: 16, 16: 8, 9: 17, 17: 9}
_SWAPPED_SHARE = 1 / 3
_GAS_SHORTEST = 0.8  # Å
_GAS_ATOMS_PER_A3 = 0.05  # half as dense as an organic solid

IONS = {
    "methylammonium": "C[NH3+]",
    "tetramethylammonium": "C[N+](C)(C)C",
    "guanidinium": "NC(N)=[NH2+]",
    "imidazolium": "c1c[nH]c[nH+]1",
    "pyridinium": "c1cc[nH+]cc1",
    "anilinium": "[NH3+]c1ccccc1",
    "acetate": "CC(=O)[O-]",
    "benzoate": "[O-]C(=O)c1ccccc1",
    "phenoxide": "[O-]c1ccccc1",
    "methoxide": "C[O-]",
    "methanethiolate": "C[S-]",
    "mesylate": "CS(=O)(=O)[O-]",
}
ZWITTERIONS = {
    "glycine": "[NH3+]CC(=O)[O-]",
    "alanine": "C[C@H]([NH3+])C(=O)[O-]",
    "serine": "OC[C@H]([NH3+])C(=O)[O-]",
    "cysteine": "SC[C@H]([NH3+])C(=O)[O-]",
    "proline": "O=C([O-])[C@@H]1CCC[NH2+]1",
    "betaine": "C[N+](C)(C)CC(=O)[O-]",
    "taurine": "[NH3+]CCS(=O)(=O)[O-]",
    "4-aminobutyric acid": "[NH3+]CCCC(=O)[O-]",
}
DESCRIPTIONS = {
    "stretched bond": "one bond outside rings at 1.8 to 2.5 times its length",
    "pressed together": "a bond of two heavy atoms outside rings at half its length",
    "without hydrogens": "all hydrogens removed, the skeleton as it was",
    "radical": "one hydrogen removed, the rest as it was",
    "swapped elements": "a third of the heavy atoms are another element (C→N, N→O, O↔S, F↔Cl)",
    "random gas": "the same atoms at random places, none closer than 0.8 Å",
    "ion": "well-known ions, which the gateway refuses if their charge is told",
    "zwitterion": "amino acids and the like with separated charges, neutral as a whole",
}


@dataclass(frozen=True)
class Strange:
    """A structure and what is strange about it, a key of ``DESCRIPTIONS``."""

    kind: str
    atoms: Atoms


def make_strange(
    normal: Sequence[Atoms], rng: np.random.Generator, ions: bool = True
) -> list[Strange]:
    """Every rule applied to every structure of ``normal`` that it applies to.

    ``ions`` adds MMFF94 geometries of ``IONS`` (with their charge) and ``ZWITTERIONS``.
    """
    rules: dict[str, Callable[[Atoms, np.random.Generator], Atoms | None]] = {
        "stretched bond": _stretched,
        "pressed together": _pressed,
        "without hydrogens": _skeleton,
        "radical": _radical,
        "swapped elements": _swapped,
        "random gas": _gas,
    }
    found = []
    for kind, rule in rules.items():
        for atoms in normal:
            made = rule(atoms, rng)
            if made is not None and _far_enough(made):
                found.append(Strange(kind, made))
    if ions:
        found += [Strange("ion", atoms) for atoms in _from_smiles(IONS)]
        found += [Strange("zwitterion", atoms) for atoms in _from_smiles(ZWITTERIONS)]
    return found


def _stretched(atoms: Atoms, rng: np.random.Generator) -> Atoms | None:
    return _rescaled(atoms, _open_bonds(atoms), float(rng.uniform(1.8, 2.5)), rng)


def _pressed(atoms: Atoms, rng: np.random.Generator) -> Atoms | None:
    numbers = atoms.numbers
    heavy = [
        (pair, side)
        for pair, side in _open_bonds(atoms)
        if numbers[pair[0]] != _HYDROGEN and numbers[pair[1]] != _HYDROGEN
    ]
    return _rescaled(atoms, heavy, 0.5, rng)


def _skeleton(atoms: Atoms, rng: np.random.Generator) -> Atoms | None:
    heavy = np.flatnonzero(atoms.numbers != _HYDROGEN)
    return atoms[heavy] if 0 < len(heavy) < len(atoms) else None


def _radical(atoms: Atoms, rng: np.random.Generator) -> Atoms | None:
    hydrogens = np.flatnonzero(atoms.numbers == _HYDROGEN)
    if not len(hydrogens) or len(atoms) == 1:
        return None
    kept = np.delete(np.arange(len(atoms)), rng.choice(hydrogens))
    return atoms[kept]


def _swapped(atoms: Atoms, rng: np.random.Generator) -> Atoms | None:
    candidates = np.flatnonzero(np.isin(atoms.numbers, list(_SWAP)))
    if not len(candidates):
        return None
    count = max(1, round(_SWAPPED_SHARE * len(candidates)))
    changed = atoms.copy()
    for index in rng.choice(candidates, count, replace=False):
        changed.numbers[index] = _SWAP[int(atoms.numbers[index])]
    return changed


def _gas(atoms: Atoms, rng: np.random.Generator) -> Atoms | None:
    if len(atoms) < 2:
        return None
    side = (len(atoms) / _GAS_ATOMS_PER_A3) ** (1 / 3)
    placed: list[Float] = []
    while len(placed) < len(atoms):
        point = rng.uniform(0.0, side, 3)
        if all(np.linalg.norm(point - other) >= _GAS_SHORTEST for other in placed):
            placed.append(point)
    return Atoms(atoms.numbers, np.array(placed), info=atoms.info)


def _open_bonds(atoms: Atoms) -> list[tuple[Pair, npt.NDArray[np.bool_]]]:
    """Bonds whose cut leaves two pieces, each with the mask [n] of the piece at its second atom."""
    pairs = sorted(bonded_pairs(atoms))
    adjacent = np.zeros((len(atoms), len(atoms)), dtype=np.bool_)
    for first, second in pairs:
        adjacent[first, second] = True
    found = []
    for first, second in pairs:
        adjacent[first, second] = False
        _, piece = connected_components(adjacent, directed=False)
        adjacent[first, second] = True
        if piece[first] != piece[second]:
            found.append(((first, second), np.asarray(piece == piece[second])))
    return found


def _rescaled(
    atoms: Atoms,
    bonds: Sequence[tuple[Pair, npt.NDArray[np.bool_]]],
    factor: float,
    rng: np.random.Generator,
) -> Atoms | None:
    if not bonds:
        return None
    (first, second), side = bonds[int(rng.integers(len(bonds)))]
    changed = atoms.copy()
    changed.positions[side] += (factor - 1.0) * (atoms.positions[second] - atoms.positions[first])
    return changed


def _far_enough(atoms: Atoms) -> bool:
    first, second = np.triu_indices(len(atoms), 1)
    lengths = np.linalg.norm(atoms.positions[first] - atoms.positions[second], axis=1)
    return bool(lengths.min(initial=np.inf) >= _SHORTEST)


def _from_smiles(smiles: Mapping[str, str]) -> list[Atoms]:
    found = []
    for text in smiles.values():
        molecule = hydrogenated(text)
        found.append(structure_of(molecule, conformers(molecule, 1, seed=3)[0]))
    return found
