"""``forcegate vibrations``: frequencies, infrared intensities and thermochemistry."""

from __future__ import annotations

import csv as comma_separated
import json as javascript_objects
import sys
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import typer
from ase import units
from ase.optimize import LBFGS

from forcegate_client.cli.console import ExitCode, counted, out_console, say, warn
from forcegate_client.cli.files import opened, records_of
from forcegate_client.cli.options import (
    CsvOption,
    FormatOption,
    InputArgument,
    JsonOption,
    LocalOption,
    ModelOption,
    RepositoryOption,
    SmilesOption,
    UrlOption,
    VersionOption,
    calculator_of,
    connect,
    one_form,
)
from forcegate_client.cli.tables import ResultTable
from forcegate_client.errors import DigestChanged, ForcegateError
from forcegate_client.http.calculator import ModelCalculator
from forcegate_client.images.displacements import DISPLACEMENT_A, Hessian
from forcegate_client.images.hessian import hessian_of
from forcegate_client.images.vibrations import Thermochemistry, Vibrations, vibrations_of
from forcegate_client.reading.library import open_library
from forcegate_client.reading.record import Problem, Record

__all__ = ["vibrations"]

# A harmonic frequency is that of a stationary point.
_STATIONARY_EV_PER_A = 0.02
# Of a smooth surface, differences of forces agree to less; a bond has 30 eV/Å².
_SMOOTH_EV_PER_A2 = 0.1


def vibrations(
    inputs: InputArgument = None,
    smiles: SmilesOption = None,
    format: FormatOption = None,
    relax: Annotated[
        bool, typer.Option("--relax/--no-relax", help="Go to the nearest minimum first.")
    ] = True,
    fmax: Annotated[float, typer.Option(min=0.0, help="Largest force left, eV/Å.")] = 1e-3,
    steps: Annotated[int, typer.Option(min=1, help="Most steps of the relaxation.")] = 500,
    displacement: Annotated[
        float, typer.Option(min=1e-4, max=0.1, help="By which each coordinate is moved, Å.")
    ] = DISPLACEMENT_A,
    temperature: Annotated[float, typer.Option("--temperature-k", min=0.1, help="K.")] = 298.15,
    pressure: Annotated[float, typer.Option("--pressure-pa", min=1e-3, help="Pa.")] = 101325.0,
    symmetry_number: Annotated[
        int, typer.Option(min=1, help="Of a molecule's rotations: 2 for water, 12 for benzene.")
    ] = 1,
    json: JsonOption = False,
    csv: CsvOption = False,
    url: UrlOption = None,
    local: LocalOption = False,
    repository: RepositoryOption = None,
    model: ModelOption = "painn_base",
    version: VersionOption = None,
) -> None:
    """Harmonic frequencies of every structure in INPUT…, in one batch of displaced atoms each."""
    one_form(json, csv)
    done: list[_Result] = []
    with opened(inputs, smiles, format) as files, connect(url, local, repository) as client:
        library = open_library(files)
        try:
            calculator = calculator_of(client, model, version, None)
            for record in records_of(library):
                result = _Result(record.smiles or str(record.origin))
                done.append(result)
                try:
                    result.compute(record, calculator, fmax if relax else None, steps, displacement)
                    result.judge(temperature, pressure, symmetry_number)
                except DigestChanged:
                    raise
                except ForcegateError as error:
                    if not 400 <= error.status < 500:
                        raise
                    result.problem = Problem.of(error.to_problem())
                if not (json or csv):
                    result.show()
        finally:
            library.close()
    if json:
        document = {"units": _UNITS, "structures": [result.to_dict() for result in done]}
        print(javascript_objects.dumps(document, indent=1, ensure_ascii=False))
    if csv:
        _print_csv(done)
    failed = sum(result.problem is not None for result in done)
    if failed:
        warn(f"{failed} of {counted(len(done), 'structure')} could not be computed")
        raise typer.Exit(ExitCode.INCOMPLETE)


@dataclass
class _Result:
    """What became of one structure."""

    name: str
    hessian: Hessian | None = None
    found: Vibrations | None = None
    thermochemistry: Thermochemistry | None = None
    remarks: list[str] = field(default_factory=list)
    problem: Problem | None = None

    def compute(
        self,
        record: Record,
        calculator: ModelCalculator,
        fmax: float | None,
        steps: int,
        displacement: float,
    ) -> None:
        """Relax, unless ``fmax`` is ``None``, and displace.

        Raises:
            ForcegateError: if that cannot be done.
        """
        if record.atoms is None:
            self.problem = record.problem
            return
        atoms = record.atoms.copy()
        if fmax is not None:
            atoms.calc = calculator
            if not LBFGS(atoms, logfile=None).run(fmax=fmax, steps=steps):
                self.remarks.append(f"not relaxed to {fmax:g} eV/Å in {steps} steps")
        self.hessian = hessian_of(
            *(calculator.client, atoms, calculator.model, calculator.version),
            digest=calculator.digest,
            displacement=displacement,
        )
        calculator.version, calculator.digest = self.hessian.version, self.hessian.digest
        atoms.calc = None
        self.found = vibrations_of(atoms, self.hessian)

    def judge(self, temperature: float, pressure: float, symmetry_number: int) -> None:
        """Thermochemistry, if it is a minimum, and what a reader has to know."""
        if self.hessian is None or self.found is None:
            return
        self.remarks += self.hessian.warnings
        force = float((self.hessian.forces**2).sum(axis=1).max() ** 0.5)
        if force > _STATIONARY_EV_PER_A and not self.found.atoms.constraints:
            self.remarks.append(
                f"not a stationary point: a force of {force:.3f} eV/Å is left, and soft modes "
                "mean nothing"
            )
        if self.hessian.asymmetry > _SMOOTH_EV_PER_A2:
            self.remarks.append(
                f"the model is not smooth here: both ways of computing a second derivative differ "
                f"by {self.hessian.asymmetry:.2g} eV/Å²"
            )
        if self.found.imaginary:
            self.remarks.append(
                f"{counted(self.found.imaginary, 'imaginary mode')}, so no thermochemistry"
            )
        else:
            self.thermochemistry = self.found.thermochemistry(
                temperature, pressure, symmetry_number
            )

    def show(self) -> None:
        """As a table and two lines."""
        if self.problem is not None:
            warn(f"{self.name}: {self.problem.detail}")
        if self.found is None:
            return
        say(self.name)
        table = ResultTable(("mode",), ["frequency / cm⁻¹", "infrared / km/mol"])
        for number, (_, cells) in enumerate(self._rows(), start=1):
            table.add((str(number), *cells), [])
        table.show(out_console())
        say(f"zero-point energy {self.found.zero_point_energy:.4f} eV")
        if (at := self.thermochemistry) is not None:
            say(
                f"{at.temperature:g} K: H {at.enthalpy:.4f} eV, "
                f"S {at.entropy / (units.kJ / units.mol) * 1000:.2f} J/mol/K, "
                f"G {at.gibbs_energy:.4f} eV"
            )
        for remark in self.remarks:
            warn(f"{self.name}: {remark}")

    def to_dict(self) -> dict[str, Any]:
        """Its JSON object."""
        found, hessian = self.found, self.hessian
        if found is None or hessian is None:
            problem = None if self.problem is None else asdict(self.problem)
            return {"name": self.name, "problem": problem}
        intensities = found.intensities
        return {
            "name": self.name,
            "symbols": found.atoms.get_chemical_symbols(),
            "positions": found.atoms.positions.tolist(),
            "model": hessian.model,
            "version": hessian.version,
            "digest": hessian.digest,
            "energy": hessian.energy,
            "frequencies": found.frequencies.tolist(),
            "intensities": None if intensities is None else intensities.tolist(),
            "modes": found.modes.tolist(),
            "zero_point_energy": found.zero_point_energy,
            "thermochemistry": None
            if self.thermochemistry is None
            else asdict(self.thermochemistry),
            "max_novelty": hessian.max_novelty,
            "remarks": self.remarks,
        }

    def _rows(self) -> list[tuple[float, tuple[str, str]]]:
        assert self.found is not None
        intensities = self.found.intensities
        rows = []
        for k, frequency in enumerate(self.found.frequencies.tolist()):
            text = f"{abs(frequency):.1f}{'i' if frequency < 0 else ''}"
            rows.append((frequency, (text, "" if intensities is None else f"{intensities[k]:.1f}")))
        return rows


_UNITS = {
    "positions": "Å",
    "energy": "eV",
    "frequencies": "cm⁻¹, negative if imaginary",
    "intensities": "km/mol",
    "modes": "1/√amu",
    "zero_point_energy": "eV",
    "thermochemistry": "K, Pa, eV and eV/K",
}


def _print_csv(done: list[_Result]) -> None:
    writer = comma_separated.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["name", "mode", "frequency", "intensity", "model", "version", "digest"])
    for result in done:
        if result.found is None or result.hessian is None:
            continue
        served = result.hessian.model, result.hessian.version, result.hessian.digest
        intensities = result.found.intensities
        for k, frequency in enumerate(result.found.frequencies.tolist()):
            intensity = None if intensities is None else float(intensities[k])
            writer.writerow([result.name, k + 1, frequency, intensity, *served])
