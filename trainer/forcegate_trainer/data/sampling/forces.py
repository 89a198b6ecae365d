"""Force functions for molecular dynamics: positions [n,3] in Å to forces [n,3] in eV/Å."""

from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.units import kcal, mol
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import rdForceFieldHelpers

from forcegate_trainer.errors import MoleculeError

ForceFunction = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def mmff_forces(molecule: Chem.Mol, positions: NDArray[np.float64]) -> ForceFunction:
    """MMFF94 of a molecule with hydrogens, or UFF where MMFF94 has no parameters.

    ``positions`` [n,3] in Å decide which non-bonded pairs exist for the force field.

    Raises:
        MoleculeError: if neither force field knows the molecule.
    """
    molecule = Chem.Mol(molecule)
    molecule.RemoveAllConformers()
    conformer = Chem.Conformer(len(positions))
    for index, position in enumerate(positions.tolist()):
        conformer.SetAtomPosition(index, position)
    molecule.AddConformer(conformer)
    options = {"ignoreInterfragInteractions": False}
    with rdBase.BlockLogs():
        if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
            properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(molecule)
            field = rdForceFieldHelpers.MMFFGetMoleculeForceField(molecule, properties, **options)
        elif rdForceFieldHelpers.UFFHasAllMoleculeParams(molecule):
            field = rdForceFieldHelpers.UFFGetMoleculeForceField(molecule, **options)
        else:
            field = None
    if field is None:
        raise MoleculeError(
            f"neither MMFF94 nor UFF has parameters for {Chem.MolToSmiles(molecule)}; sample it "
            "with a teacher as the driver"
        )
    field.Initialize()
    unit = kcal / mol

    def forces(current: NDArray[np.float64]) -> NDArray[np.float64]:
        coordinates = current.ravel().tolist()
        # RDKit keeps the interatomic distances of earlier positions; only CalcEnergy forgets them.
        # Without this call the gradient is that of a mixture of two geometries.
        field.CalcEnergy(coordinates)
        gradient = np.array(field.CalcGrad(coordinates))
        return np.asarray(-unit * gradient.reshape(-1, 3))

    return forces


def calculator_forces(
    atomic_numbers: NDArray[np.int64], calculator: BaseCalculator
) -> ForceFunction:
    """An ASE calculator, for one open molecule."""
    atoms = Atoms(atomic_numbers, np.zeros((len(atomic_numbers), 3)), calculator=calculator)

    def forces(current: NDArray[np.float64]) -> NDArray[np.float64]:
        atoms.positions[:] = current
        return np.array(atoms.get_forces())

    return forces
