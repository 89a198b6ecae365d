"""QCEngine: ``register()``, then ``qcengine.compute(…, "forcegate")``."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
from ase import Atoms, units

from forcegate_client.errors import ForcegateError
from forcegate_client.extras import needing
from forcegate_client.http.calculator import ModelCalculator
from forcegate_client.images.hessian import hessian_of
from forcegate_client.integrations.calculators import calculator_for

__all__ = ["register"]

NAME = "forcegate"
_DRIVERS = ("energy", "gradient", "hessian")
_KEYWORDS = ("local", "url", "version")


def register() -> None:
    """Make the program ``forcegate`` known to QCEngine; a second time changes nothing.

    The method of a specification is the name of a model; its keywords may be ``url``, ``version``
    and ``local``. Drivers are energy, gradient and hessian. Charge and multiplicity are those of
    the molecule.

    Raises:
        PackageMissing: if QCEngine is not installed.
    """
    with needing("qcengine", "QCEngine"):
        from qcengine.programs import list_all_programs, register_program
    if NAME not in list_all_programs():
        register_program(_harness())


def _harness() -> Any:
    # QCEngine's base class is there only where QCEngine is.
    from qcengine.exceptions import InputError
    from qcengine.programs.model import ProgramHarness

    class ForcegateHarness(ProgramHarness):  # type: ignore[misc]
        """Energies, gradients and Hessians of open structures."""

        _defaults: ClassVar[dict[str, Any]] = {
            "name": NAME,
            "scratch": False,
            "thread_safe": True,
            "thread_parallel": True,
            "node_parallel": False,
            "managed_memory": False,
        }

        @staticmethod
        def found(raise_error: bool = False) -> bool:
            """It is this package."""
            return True

        def get_version(self) -> str:
            """Of the client; which weights answered is in ``extras``."""
            return version("forcegate-client")

        def compute(self, input_data: Any, config: Any) -> Any:
            """One molecule; what cannot be asked or computed is QCEngine's ``InputError``."""
            try:
                return _computed(input_data)
            except ForcegateError as error:
                # A server that is away is no fault of the input.
                if error.status >= 500:
                    raise
                raise InputError(str(error)) from error

    return ForcegateHarness()


@lru_cache(maxsize=16)
def _calculator(model: str, **keywords: Any) -> ModelCalculator:
    return calculator_for(model, **keywords)


def _computed(input_data: Any) -> Any:
    from qcelemental.models.v2 import AtomicResult, Provenance
    from qcengine.exceptions import InputError

    specification, molecule = input_data.specification, input_data.molecule
    driver = str(getattr(specification.driver, "value", specification.driver))
    if driver not in _DRIVERS:
        raise InputError(f"forcegate has the drivers {', '.join(_DRIVERS)}, and no {driver}")
    keywords = dict(specification.keywords)
    if unknown := sorted(keywords.keys() - set(_KEYWORDS)):
        raise InputError(f"keyword {unknown[0]!r}; forcegate knows {', '.join(_KEYWORDS)}")
    if molecule.real is not None and not np.all(molecule.real):
        raise InputError("ghost atoms, of which a potential of atoms knows nothing")
    charge, multiplicity = float(molecule.molecular_charge), int(molecule.molecular_multiplicity)
    atoms = Atoms(
        numbers=molecule.atomic_numbers,
        positions=np.asarray(molecule.geometry) * units.Bohr,
        info={"charge": charge, "multiplicity": multiplicity},
    )
    calculator = _calculator(specification.model.method, **keywords)
    result: dict[str, Any] = {"calcinfo_natom": len(atoms)}
    if driver == "hessian":
        asked = calculator.client, atoms, calculator.model, calculator.version
        hessian = hessian_of(*asked, digest=calculator.digest)
        energy, forces = hessian.energy, hessian.forces
        served = {name: getattr(hessian, name) for name in ("model", "version", "digest")}
        result["return_hessian"] = hessian.matrix * units.Bohr**2 / units.Hartree
    else:
        (found,) = calculator.get_forces_batch([atoms])
        energy, forces = found["energy"], found["forces"]
        served = {
            "model": calculator.model,
            "version": calculator.version,
            "digest": calculator.digest,
        }
    result["return_energy"] = energy / units.Hartree
    result["return_gradient"] = -forces * units.Bohr / units.Hartree
    return AtomicResult(
        input_data=input_data,
        molecule=molecule,
        success=True,
        properties=result,
        return_result=result[f"return_{driver}"],
        extras={NAME: served},
        provenance=Provenance(
            creator=NAME, version=version("forcegate-client"), routine=f"forcegate.{driver}"
        ),
    )
