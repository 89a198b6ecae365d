"""All molecular dynamics of a suite, run once; several sections of the report look at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from forcegate_trainer.reporting import Tell, tell_nobody
from forcegate_trainer.validation.dynamics.molecule_run import MoleculeRun
from forcegate_trainer.validation.dynamics.nve import Prepared, prepare, run_nve_batch
from forcegate_trainer.validation.dynamics.saved_run import SavedRun
from forcegate_trainer.validation.settings import NVESettings, Suite
from forcegate_trainer.validation.subject import Subject
from forcegate_trainer.validation.suite import SuiteMolecule

__all__ = ["MDResults", "MDSeries", "run_suite"]


@dataclass(frozen=True)
class MDSeries:
    """One run and what became of each of its molecules."""

    settings: NVESettings
    runs: tuple[MoleculeRun, ...]


@dataclass(frozen=True)
class MDResults:
    """The runs of a suite; ``judged`` is the part of ``main`` whose drift is judged."""

    suite: Suite
    main: MDSeries
    hot: MDSeries
    variations: tuple[MDSeries, ...]

    @property
    def judged(self) -> tuple[MoleculeRun, ...]:
        """The first ``drift_ps`` of every molecule."""
        return tuple(run.first(self.suite.drift_ps) for run in self.main.runs)

    @property
    def all_series(self) -> tuple[MDSeries, ...]:
        """In the order in which they were run."""
        return (self.main, self.hot, *self.variations)


def run_suite(
    subject: Subject,
    suite: Suite,
    molecules: Sequence[SuiteMolecule],
    work: Path,
    tell: Tell = tell_nobody,
) -> MDResults:
    """Relax every molecule once with the subject, then run them all.

    Runs are saved in folder ``work`` as they go, and go on from there.
    """
    prepared = []
    for done, molecule in enumerate(molecules):
        prepared.append(
            prepare(
                molecule.name,
                molecule.atoms,
                subject.calculator(),
                fmax=suite.main.relax_fmax,
                steps=suite.main.relax_steps,
            )
        )
        tell("relaxed for dynamics", done + 1, len(molecules))
    varied = [molecule for molecule in prepared if molecule.name in suite.varied]

    def series(name: str, settings: NVESettings, members: Sequence[Prepared]) -> MDSeries:
        title = f"{settings.duration_ps:g} ps of {len(members)} molecules, {settings.title}"
        identity = {
            "subject": subject.name,
            "digest": subject.card and subject.card.digest,
            "settings": asdict(settings),
            "molecules": {one.name: one.atoms.get_chemical_symbols() for one in members},
        }
        saved = SavedRun(work / f"{name}.npz", identity)
        found = run_nve_batch(members, subject.potential, settings, tell, title, saved)
        return MDSeries(settings, tuple(found))

    return MDResults(
        suite=suite,
        main=series("main", suite.main, prepared),
        hot=series("hot", suite.hot, prepared),
        variations=tuple(
            series(f"variation_{number}", settings, varied)
            for number, settings in enumerate(suite.variations)
            if varied
        ),
    )
