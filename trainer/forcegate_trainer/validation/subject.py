"""What is validated: an exported version as it is served, or any ASE calculator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from forcegate_client.electrons import electrons_of
from forcegate_service.contract.card import CARD_NAME, ModelCard
from forcegate_service.contract.runtime import LoadedRuntime
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.simulation.exported import RuntimeCalculator, RuntimePotential
from forcegate_trainer.simulation.potential import BatchPotential, CalculatorPotential
from forcegate_trainer.teachers import parse_teacher
from forcegate_trainer.teachers.spec import DEFAULT_TEACHER

__all__ = ["MD_ACCURACY", "Subject", "open_subject", "served"]

# tblite's accuracy wherever a quantum-chemical method moves atoms: at the default of its forces'
# noise alone the method drifts.
MD_ACCURACY = 0.01


@dataclass(frozen=True)
class Subject:
    """A potential under test and what it is compared with.

    ``potential`` evaluates many structures; ``calculator()`` is a fresh ASE calculator of the same
    potential; ``teacher`` is the name of its reference as ``parse_teacher`` takes it. ``folder``,
    ``card`` and ``runtime`` are those of an exported version, None for a calculator.
    """

    name: str
    potential: BatchPotential
    calculator: Callable[[], BaseCalculator]
    teacher: str
    folder: Path | None = None
    card: ModelCard | None = None
    runtime: LoadedRuntime | None = None

    @property
    def cutoff(self) -> float | None:
        """Beyond which it is blind, in Å; None with charges, and for a calculator."""
        return None if self.card is None or self.card.charges else self.card.cutoff

    def knows(self, atoms: Atoms) -> bool:
        """Whether it was made for such elements and such a net charge; a calculator for all."""
        if self.card is None:
            return True
        charge, _ = electrons_of(atoms)
        return set(atoms.numbers.tolist()) <= set(self.card.elements) and (
            self.card.charges or not charge
        )


@contextmanager
def open_subject(model: str, teacher: str | None = None) -> Iterator[Subject]:
    """The version in folder ``model``, or the calculator of that name.

    ``teacher`` defaults to the card's, for a calculator to ``DEFAULT_TEACHER``.

    Raises:
        ModelRefused: if the files of the version do not match its card.
        SettingsError: if ``model`` is neither, or ``teacher`` is not the one on the card.
        TeacherError: if a calculator is unknown or what it needs is not installed.
    """
    folder = Path(model)
    if folder.is_dir():
        # Before anything is opened.
        _refuse_other_teacher(ModelCard.load(folder), teacher)
        from forcegate_trainer.simulation.exported import serving

        with serving(folder) as runtime:
            yield served(folder, runtime, runtime.card, teacher)
    elif ":" in model:
        method = parse_teacher(model, MD_ACCURACY)
        yield Subject(
            name=model,
            potential=CalculatorPotential(method.calculator),
            calculator=method.calculator,
            teacher=teacher or DEFAULT_TEACHER,
        )
    else:
        raise SettingsError(
            f"received {model!r}; expected a version folder with a {CARD_NAME}, such as "
            "model_repository/painn_base/1, or a calculator such as 'tblite:GFN2-xTB' or "
            "'package.module:factory'"
        )


def served(
    folder: Path, runtime: LoadedRuntime, card: ModelCard, teacher: str | None = None
) -> Subject:
    """The version in ``folder``, evaluated by ``runtime``.

    Raises:
        SettingsError: if ``teacher`` is given and not the one on the card.
    """
    _refuse_other_teacher(card, teacher)
    return Subject(
        name=f"{card.name} version {card.version}",
        potential=RuntimePotential(runtime),
        calculator=lambda: RuntimeCalculator(runtime),
        teacher=str(card.teacher["name"]),
        folder=folder,
        card=card,
        runtime=runtime,
    )


def _refuse_other_teacher(card: ModelCard, teacher: str | None) -> None:
    learned = str(card.teacher["name"])
    if teacher not in (None, learned):
        raise SettingsError(
            f"received teacher {teacher!r}; expected {learned!r}, from which {card.name} version "
            f"{card.version} has learned: leave the option out"
        )
