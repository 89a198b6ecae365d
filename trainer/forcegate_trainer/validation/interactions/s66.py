"""S66 and S66x8: sixty-six pairs of molecules with published interaction energies.

Řezáč, Riley, Hobza, J. Chem. Theory Comput. 7, 2427 (2011), doi:10.1021/ct2002946. The file beside
this one holds the published geometries and CCSD(T)/CBS energies as plain data. In S66x8 the two
molecules are drawn apart rigidly, so that one geometry and a shift for each distance are all of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import numpy.typing as npt
from ase import Atoms

__all__ = ["FACTORS", "S66Dimer", "load_s66"]

Float = npt.NDArray[np.float64]

_FILE = "s66.json"
# Of the distance at the minimum.
FACTORS = (0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 1.5, 2.0)


@dataclass(frozen=True)
class S66Dimer:
    """Two molecules, all energies in kcal/mol, all H, C, N and O, neutral.

    ``first`` and ``second`` as in S66, whose interaction energy is ``reference``. ``scan`` are the
    pair at each of ``FACTORS`` times the distance, ``scan_reference`` [8] the energies there.
    """

    name: str
    first: Atoms
    second: Atoms
    reference: float
    scan: tuple[Atoms, ...]
    scan_reference: Float

    @property
    def dimer(self) -> Atoms:
        """Both, the first's atoms first."""
        return self.first + self.second


def load_s66() -> list[S66Dimer]:
    """All pairs, in the order of the publication."""
    text = files(__package__).joinpath(_FILE).read_text(encoding="utf-8")
    content = json.loads(text)
    assert tuple(content["factors"]) == FACTORS
    found = []
    for entry in content["dimers"]:
        one, other = entry["symbols"]
        near = [np.array(part) for part in entry["positions_by8"]]
        found.append(
            S66Dimer(
                name=entry["name"],
                first=Atoms(one, entry["positions"][0]),
                second=Atoms(other, entry["positions"][1]),
                reference=entry["s66"],
                scan=tuple(
                    Atoms([*one, *other], np.concatenate([near[0], near[1] + np.array(shift)]))
                    for shift in entry["shifts_by8"]
                ),
                scan_reference=np.array(entry["s66by8"]),
            )
        )
    return found
