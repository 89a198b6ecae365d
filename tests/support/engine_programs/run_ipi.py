"""What the driver says of one structure and of several, and how many requests that took."""

import json
import os
import sys

import numpy as np
from ase import units
from ase.io import read

from forcegate_client.errors import ForcegateError
from forcegate_client.integrations.ipi import ForcegateDriver

url = os.environ.get("FORCEGATE_URL")
where = {"url": url} if url else {"local": "true"}
driver = ForcegateDriver(sys.argv[1], model=os.environ["MODEL"], **where)
asked = []
predict = driver.calculator.client.predict
driver.calculator.client.predict = lambda *words: asked.append(1) or predict(*words)
atoms = read(sys.argv[1])
cell = (atoms.cell.array if atoms.pbc.all() else np.eye(3) * 60).T / units.Bohr
beads = [atoms.positions / units.Bohr + 0.01 * k for k in range(8)]
one = driver(cell, beads[0])
asked.clear()
many = driver([cell] * 8, beads)
try:
    ForcegateDriver(sys.argv[1], modell="painn_base")
except ForcegateError as error:
    refused = str(error)
print(
    json.dumps(
        {
            "energy": one[0] * units.Hartree,
            "forces": (one[1] * units.Hartree / units.Bohr).tolist(),
            "virial": (one[2] * units.Hartree).tolist(),
            "beads": [answer[0] * units.Hartree for answer in many],
            "requests": len(asked),
            "no parameter": refused,
        }
    )
)
