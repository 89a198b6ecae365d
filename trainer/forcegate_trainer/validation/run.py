"""Validate a subject: measure, judge, write the report, and the card of a version."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from forcegate_client.dataset import Dataset, load_dataset
from forcegate_trainer.data.datasets import load_all
from forcegate_trainer.progress import Tell
from forcegate_trainer.validation.accuracy.heldout_section import (
    heldout_section,
    judged_frames,
    predict,
    refuse_leaks,
)
from forcegate_trainer.validation.confidence.force_uncertainty import force_uncertainty_section
from forcegate_trainer.validation.confidence.novelty_section import novelty_section
from forcegate_trainer.validation.confidence.uncertainty import uncertainty_section
from forcegate_trainer.validation.cost import cost_section
from forcegate_trainer.validation.dynamics.charged import charged_section
from forcegate_trainer.validation.dynamics.conservation import conservation_section
from forcegate_trainer.validation.dynamics.control import teacher_control
from forcegate_trainer.validation.dynamics.suite_runs import MDResults, run_suite
from forcegate_trainer.validation.dynamics.survival import survival_section
from forcegate_trainer.validation.dynamics.trajectories import trajectory_section
from forcegate_trainer.validation.interactions.binding_section import binding_section
from forcegate_trainer.validation.interactions.tail_section import tail_section
from forcegate_trainer.validation.interactions.water_clusters import water_section
from forcegate_trainer.validation.molecules import (
    SuiteMolecule,
    flexible_molecules,
    suite_molecules,
)
from forcegate_trainer.validation.report import write_report
from forcegate_trainer.validation.section import Section
from forcegate_trainer.validation.settings import Suite
from forcegate_trainer.validation.statics.dissociation_section import dissociation_section
from forcegate_trainer.validation.statics.relaxation_section import relaxation_section
from forcegate_trainer.validation.statics.screening_section import screening_section
from forcegate_trainer.validation.statics.torsionnet_section import torsionnet_section
from forcegate_trainer.validation.statics.torsions_section import torsion_section
from forcegate_trainer.validation.subject import Subject
from forcegate_trainer.validation.verdict import Verdict, judge

__all__ = ["validate"]


def validate(
    subject: Subject,
    data: Sequence[Path],
    suite: Suite,
    report: Path,
    control: Path,
    tell: Tell,
) -> dict[str, Verdict]:
    """Measure ``subject`` with ``suite``; write the report and, for a version, its card.

    ``data`` are labelled files that together have all splits, ``control`` the file that keeps
    the teacher's runs. Status and metrics on a card change only through a suite that judges.

    Raises:
        SettingsError: if a test molecule occurs in the training data, the labels are another
            teacher's, there are none, or there is no test split.
        TeacherError: if the teacher is not available.
    """
    # Long runs are saved there as they go; a validation that was stopped goes on with them.
    work = report.with_name(f"{report.name}.parts")
    dataset = load_all(data)
    refuse_leaks(dataset, subject.teacher)
    molecules = suite_molecules(suite.molecules, suite.test_molecules, dataset)
    sections = [
        *_static_sections(subject, dataset, suite, molecules, tell),
        *_dynamic_sections(subject, suite, molecules, control, work, tell),
    ]
    figures = {
        key: value for section in sections for key, value in section.figures_for_verdict.items()
    }
    verdicts = judge(figures, judges=suite.judges)
    about = {
        "subject": subject.name,
        "digest": subject.card and subject.card.digest,
        "teacher": subject.teacher,
        "dataset": dataset.content_hash(),
        "suite": asdict(suite),
        "molecules": {molecule.name: molecule.smiles for molecule in molecules},
        "figures": figures,
    }
    introduction = _introduction(subject, dataset, data, suite)
    write_report(report, subject.name, introduction, verdicts, sections, about)
    if suite.judges:
        _write_card(subject, suite, verdicts, figures, sections)
    shutil.rmtree(work, ignore_errors=True)
    return verdicts


def _static_sections(
    subject: Subject,
    dataset: Dataset,
    suite: Suite,
    molecules: list[SuiteMolecule],
    tell: Tell,
) -> Iterator[Section]:
    frames, which = judged_frames(dataset)
    held_out, failed = predict(subject, frames, tell)
    training = dataset.select(dataset.frame_indices("train")).molecules.smiles
    yield heldout_section(held_out, training, which, failed)
    yield uncertainty_section(held_out)
    yield force_uncertainty_section(subject, held_out, tell)
    smiles = {molecule.name: molecule.smiles for molecule in molecules}

    def with_flexible(count: int) -> dict[str, str]:
        return smiles | {text: text for text in flexible_molecules(dataset, count)}

    if suite.novelty is not None:
        yield novelty_section(subject, held_out, suite.novelty, tell)
    if suite.relaxation is not None:
        yield relaxation_section(subject, smiles, suite.relaxation, tell)
    if suite.screening is not None:
        wanted = with_flexible(suite.screening.test_molecules)
        yield screening_section(subject, wanted, suite.screening, tell)
    if suite.torsions is not None:
        wanted = with_flexible(suite.torsions.molecules)
        yield torsion_section(subject, wanted, suite.torsions, tell)
    if suite.torsionnet is not None:
        yield torsionnet_section(subject, set(training), suite.torsionnet, tell)
    if suite.dissociation is not None:
        yield dissociation_section(subject, suite.dissociation, tell)
    if suite.binding is not None:
        yield binding_section(subject, suite.binding, tell)
    if suite.water is not None:
        yield water_section(subject, suite.water, tell)
    if suite.tail is not None:
        yield tail_section(subject, suite.tail, tell)


def _dynamic_sections(
    subject: Subject,
    suite: Suite,
    molecules: list[SuiteMolecule],
    control: Path,
    work: Path,
    tell: Tell,
) -> Iterator[Section]:
    teacher = subject.teacher
    controlled = teacher_control(teacher, suite.control, molecules, control, tell)
    results: MDResults = run_suite(subject, suite, molecules, work, tell)
    yield conservation_section(results, controlled, teacher)
    yield survival_section(results, controlled)
    if suite.charged:
        yield charged_section(results)
    yield trajectory_section(results.main.runs, suite.main, teacher, tell)
    structures = {molecule.name: molecule.atoms for molecule in molecules}
    yield cost_section(subject.potential, structures, suite.cost_calls)


def _introduction(subject: Subject, dataset: Dataset, data: Sequence[Path], suite: Suite) -> str:
    parts = []
    if subject.card is not None:
        card = subject.card
        parts.append(f"`{card.digest}`, {card.n_parameters:,} parameters.")
        if card.dataset.get("sha256") not in _contents(dataset, data):
            parts.append(
                "The data given here are not those that this version was trained on: that its "
                "test molecules were never trained on is checked within the data given here."
            )
    parts += [
        f"Teacher `{subject.teacher}`, which is also the reference of every error below: its own "
        "errors are not measured here.",
        f"Suite `{suite.name}`. How each number is measured: docs/validation/README.md.",
    ]
    return " ".join(parts)


def _contents(dataset: Dataset, data: Sequence[Path]) -> set[str]:
    """The hashes of all data, of each file, and of the files without test frames together."""
    files = {path: load_dataset(path) for path in data}
    trained = [path for path, file in files.items() if not len(file.frame_indices("test"))]
    found = {dataset.content_hash(), *(file.content_hash() for file in files.values())}
    return found | {load_all(trained).content_hash()} if trained else found


def _write_card(
    subject: Subject,
    suite: Suite,
    verdicts: Mapping[str, Verdict],
    figures: Mapping[str, float],
    sections: list[Section],
) -> None:
    card, folder = subject.card, subject.folder
    if card is None or folder is None:
        return
    heldout = {
        key: value for key, value in sections[0].data.items() if key != "molecules_by_smiles"
    }
    measured: dict[str, Any] = {
        "suite": suite.name,
        "figures": dict(figures),
        "decided_by": {use: list(verdict.decided_by) for use, verdict in verdicts.items()},
        "holds_for": {u: verdict.holds_for for u, verdict in verdicts.items() if verdict.holds_for},
    }
    # Written before there were verdicts.
    metrics = {name: value for name, value in card.metrics.items() if name != "dynamics"}
    metrics |= {"test": heldout, "verdicts": measured}
    status = {use: verdict.status for use, verdict in verdicts.items()}
    card.model_copy(update={"metrics": metrics, "status": status}).save(folder)
