"""tblite's calculator, which also tells the HOMO-LUMO gap."""

from typing import Any

import numpy as np
from ase.units import Hartree
from tblite.ase import TBLite


class XTB(TBLite):
    """Extended tight binding; ``results["homo_lumo_gap"]`` is in eV.

    The gap tells where the method's single determinant stops meaning anything (stretched bonds,
    biradicals). It is absent where there is no unoccupied orbital.
    """

    def calculate(self, *args: Any, **kwargs: Any) -> None:
        """Compute all results, as ASE calls for."""
        super().calculate(*args, **kwargs)
        assert self._res is not None
        energies = np.sort(self._res["orbital-energies"]) * Hartree
        # Counted, not read off the occupations: those of degenerate orbitals are shared among them.
        pairs = round(float(self._res["orbital-occupations"].sum()) / 2)
        if 0 < pairs < len(energies):
            self.results["homo_lumo_gap"] = float(energies[pairs] - energies[pairs - 1])
