"""Several ranks of LAMMPS: what the first says."""

from lammps import lammps

from forcegate_client import LocalCalculator
from forcegate_client.errors import ForcegateError
from forcegate_client.integrations.lammps import attach

lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
lmp.commands_string("units metal\nregion box block 0 9 0 9 0 9\ncreate_box 1 box")
try:
    attach(lmp, LocalCalculator("painn_tiny", use=""), {1: "H"})
except ForcegateError as error:
    print(error.code, error)
