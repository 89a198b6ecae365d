"""All molecular dynamics of a suite, run once; several sections of the report look at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.validation.dynamics.molecule_run import MoleculeRun
from forcegate_trainer.validation.dynamics.nve import Prepared, prepare, run_nve_batch
from forcegate_trainer.validation.dynamics.saved_run import SavedRun
from forcegate_trainer.validation.molecules import SuiteMolecule, charged_molecules
from forcegate_trainer.validation.settings import NVESettings, Suite
from forcegate_trainer.validation.subject import Subject

__all__ = ["MDResults", "MDSeries", "run_suite"]


@dataclass(frozen=True)
class MDSeries:
    """One run and what became of each of its molecules."""

    settings: NVESettings
    runs: tuple[MoleculeRun, ...]


@dataclass(frozen=True)
class MDResults:
    """The runs of a suite; ``judged`` is the part of ``main`` whose drift is judged.

    ``charged`` is None where the subject knows none of the suite's ions.
    """

    suite: Suite
    main: MDSeries
    hot: MDSeries
    variations: tuple[MDSeries, ...]
    charged: MDSeries | None

    @property
    def judged(self) -> tuple[MoleculeRun, ...]:
        """The first ``drift_ps`` of every molecule."""
        return tuple(run.first(self.suite.drift_ps) for run in self.main.runs)

    @property
    def all_series(self) -> tuple[MDSeries, ...]:
        """Those of the suite's molecules, in the order in which they were run."""
        return (self.main, self.hot, *self.variations)

    def longest_timestep_fs(self, drift_limit: float) -> float:
        """Up to which timestep all of the runs at the main temperature keep within the limit.

        Those with longer steps than the main run are of fewer molecules; the main run's own step is
        the least that is told, whatever its verdict.
        """
        main = self.main.settings
        longest = main.timestep_fs
        longer = [
            one
            for one in self.variations
            if one.settings.temperature_k == main.temperature_k
            and one.settings.timestep_fs > main.timestep_fs
        ]
        for one in sorted(longer, key=lambda one: one.settings.timestep_fs):
            drifts = [run.drift for run in one.runs]
            if any(
                drift is None or drift.bound_mev_per_atom_per_ps > drift_limit for drift in drifts
            ):
                break
            longest = one.settings.timestep_fs
        return longest


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
    prepared = _prepared(subject, molecules, suite.main, tell)
    ions = [one for one in charged_molecules(suite.charged) if subject.knows(one.atoms)]
    charged = _prepared(subject, ions, suite.charged_run, tell)
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
        charged=series("charged", suite.charged_run, charged) if charged else None,
    )


def _prepared(
    subject: Subject, molecules: Sequence[SuiteMolecule], settings: NVESettings, tell: Tell
) -> list[Prepared]:
    found = []
    for done, molecule in enumerate(molecules):
        found.append(
            prepare(
                molecule.name,
                molecule.atoms,
                subject.calculator(),
                fmax=settings.relax_fmax,
                steps=settings.relax_steps,
            )
        )
        tell("relaxed for dynamics", done + 1, len(molecules))
    return found
