"""OpenMM moves a molecule: energy and forces at the start, and how well NVE conserves, as JSON."""

import json
import os
import sys

import numpy as np
import openmm
from ase.io import read
from openmm import app, unit
from openmmml import MLPotential

from forcegate_client.errors import ForcegateError

atoms = read(sys.argv[1])
url = os.environ.get("FORCEGATE_URL")
where = {"url": url} if url else {"local": True, "threads": 1}
topology = app.Topology()
residue = topology.addResidue("MOL", topology.addChain())
for symbol in atoms.get_chemical_symbols():
    topology.addAtom(symbol, app.Element.getBySymbol(symbol), residue)
if atoms.pbc.all():
    topology.setPeriodicBoxVectors([openmm.Vec3(*row) for row in atoms.cell.array / 10])
potential = MLPotential("forcegate", model=os.environ["MODEL"], use="", **where)


def context(**options: object) -> tuple[openmm.Context, openmm.Integrator]:
    system = potential.createSystem(topology, removeCMMotion=False, **options)
    integrator = openmm.VerletIntegrator(0.5 * unit.femtoseconds)
    platform = openmm.Platform.getPlatformByName("Reference")
    made = openmm.Context(system, integrator, platform)
    made.setPositions(atoms.positions * unit.angstrom)
    return made, integrator


def said(**options: object) -> str:
    try:
        context(**options)[0].getState(getEnergy=True)
    except (ForcegateError, openmm.OpenMMException) as error:
        return str(error)
    return ""


running, integrator = context()
state = running.getState(getEnergy=True, getForces=True)
found = {
    "energy": state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole),
    "forces": np.asarray(
        state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.angstrom)
    ).tolist(),
    "no spin": said(multiplicity=3),
    "no option": said(temperature=300),
}
running.setVelocitiesToTemperature(150 * unit.kelvin, 1)
total = []
for _ in range(20):
    integrator.step(10)
    state = running.getState(getEnergy=True)
    both = state.getPotentialEnergy() + state.getKineticEnergy()
    total.append(both.value_in_unit(unit.kilojoule_per_mole))
found["total"] = total
print(json.dumps(found))
