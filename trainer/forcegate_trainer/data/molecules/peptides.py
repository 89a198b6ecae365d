"""Peptides of two to four residues, with the ends that chemists give them."""

from collections.abc import Callable
from functools import partial

import numpy as np

from forcegate_trainer.data.molecules.exclusion import public_test_name
from forcegate_trainer.data.molecules.generation import draw_new
from forcegate_trainer.data.molecules.identity import Molecule, identify
from forcegate_trainer.errors import MoleculeError

__all__ = ["peptides"]

# Residues as SMILES from N to C, without the end that follows.
RESIDUES = (
    "NCC(=O)",
    "N[C@@H](C)C(=O)",
    "N[C@@H](C(C)C)C(=O)",
    "N[C@@H](CC(C)C)C(=O)",
    "N[C@@H]([C@@H](C)CC)C(=O)",
    "N1CCC[C@H]1C(=O)",
    "N[C@@H](CO)C(=O)",
    "N[C@@H]([C@H](O)C)C(=O)",
    "N[C@@H](CS)C(=O)",
    "N[C@@H](CCSC)C(=O)",
    "N[C@@H](CC(N)=O)C(=O)",
    "N[C@@H](CCC(N)=O)C(=O)",
    "N[C@@H](CC(=O)O)C(=O)",
    "N[C@@H](CCC(=O)O)C(=O)",
    "N[C@@H](CCCCN)C(=O)",
    "N[C@@H](CCCNC(N)=N)C(=O)",
    "N[C@@H](Cc1c[nH]cn1)C(=O)",
    "N[C@@H](Cc1ccccc1)C(=O)",
    "N[C@@H](Cc1ccc(O)cc1)C(=O)",
    "N[C@@H](Cc1c[nH]c2ccccc12)C(=O)",
    # Charged, phosphorylated and modified residues.
    "N[C@@H](CC(=O)[O-])C(=O)",
    "N[C@@H](CCC(=O)[O-])C(=O)",
    "N[C@@H](CCCC[NH3+])C(=O)",
    "N[C@@H](CCCNC(N)=[NH2+])C(=O)",
    "N[C@@H](Cc1c[nH]c[nH+]1)C(=O)",
    "N[C@@H](COP(=O)(O)O)C(=O)",
    "N[C@@H](Cc1ccc(OP(=O)(O)O)cc1)C(=O)",
    "NC(C)(C)C(=O)",
    "NCCC(=O)",
    "N(C)CC(=O)",
    "N[C@@H](Cc1ccc(I)cc1)C(=O)",
    "N[C@@H](Cc1ccc(Br)cc1)C(=O)",
    "N[C@@H](Cc1ccc(F)cc1)C(=O)",
)
LENGTHS = {2: 0.5, 3: 0.35, 4: 0.15}
STARTS = {"": 0.35, "CC(=O)": 0.35, "+": 0.2, "C(=O)": 0.05, "CC(C)(C)OC(=O)": 0.05}
ENDS = {"O": 0.3, "NC": 0.25, "N": 0.15, "[O-]": 0.2, "OC": 0.1}


def peptides(
    known: set[str],
    count: int,
    seed: int,
    on_progress: Callable[[int], None] = lambda found: None,
) -> list[Molecule]:
    """``count`` peptides: free, capped, and with both ends charged; none is in ``known``.

    The same arguments give the same peptides.

    Raises:
        MoleculeError: if there are not that many.
    """
    rng = np.random.default_rng((seed, 5))
    return draw_new(partial(_drawn, rng), known, count, "peptides", on_progress)


def _drawn(rng: np.random.Generator) -> Molecule | None:
    """A random peptide; None if it has too many charges or is a public test molecule."""
    length = int(rng.choice(list(LENGTHS), p=list(LENGTHS.values())))
    chain = "".join(RESIDUES[index] for index in rng.integers(len(RESIDUES), size=length))
    start = str(rng.choice(list(STARTS), p=list(STARTS.values())))
    end = str(rng.choice(list(ENDS), p=list(ENDS.values())))
    if start != "+":
        smiles = start + chain + end
    elif chain.startswith("N1") or chain.startswith("N("):
        return None
    else:
        smiles = "[NH3+]" + chain[1:] + end
    try:
        product = identify(smiles)
    except MoleculeError:
        return None
    return None if public_test_name(product) is not None else product
