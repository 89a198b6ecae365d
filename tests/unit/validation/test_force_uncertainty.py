"""The report tells what force_uncertainty is worth, of which kind of molecule it says least."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from forcegate_client.dataset import load_dataset
from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.force_uncertainty import ForcePartner
from forcegate_service.runtimes.fake import FakeRuntime, write_fake_model
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.progress import tell_nobody
from forcegate_trainer.validation.accuracy.heldout import HeldOut, predict_held_out
from forcegate_trainer.validation.confidence.force_uncertainty import force_uncertainty_section
from forcegate_trainer.validation.subject import Subject, served


def subject_of(repository: Path, floor: float, interface: Literal[1, 2] = 1) -> Subject:
    """The toy, whose partner is the same toy under another name."""
    write_fake_model(repository, "one", interface=interface)
    other = write_fake_model(repository, "other", interface=interface)
    partner = ForcePartner(name="other", version="1", digest=other.digest, scale=1.0, floor=floor)
    folder = repository / "one" / "1"
    card = ModelCard.load(folder).model_copy(update={"force_partner": partner})
    card.save(folder)
    return served(folder, FakeRuntime(card), card)


def wrong_by(subject: Subject, error: float, dataset_file: Path) -> HeldOut:
    """Frames whose labels the toy misses by normal errors of that size, in eV/Å."""
    assert subject.runtime is not None
    frames = load_dataset(dataset_file)
    said = predict_held_out(subject.runtime, frames)
    noise = np.random.default_rng(0).normal(scale=error, size=said.forces.shape)
    return replace(said, dataset=replace(frames, forces=said.forces + noise))


@pytest.mark.parametrize(("error", "covered"), [(0.1, 0.9), (0.2, 0.59), (0.02, 1.0)])
def test_coverage_is_that_of_the_errors_that_there_are(
    error: float, covered: float, tmp_path: Path, dataset_file: Path
) -> None:
    subject = subject_of(tmp_path, floor=0.1)
    section = force_uncertainty_section(
        subject, wrong_by(subject, error, dataset_file), tell_nobody
    )
    found = section.data["all"]
    assert found["coverage"] == pytest.approx(covered, abs=0.03)
    assert found["rms_sigma"] == pytest.approx(0.1)
    assert set(section.data["kinds"]) >= {"organic"}
    assert section.data["worst_kind"] in section.data["kinds"]
    assert "other version 1" in section.markdown


def test_a_partner_that_would_refuse_a_frame_is_compared_all_the_same(
    tmp_path: Path, dataset_file: Path
) -> None:
    subject = subject_of(tmp_path, floor=0.1, interface=2)
    held_out = wrong_by(subject, 0.1, dataset_file)
    # Both toys take every structure for a neutral one; the student's frames are not asked again.
    dataset = held_out.dataset
    molecules = replace(dataset.molecules, charge=np.ones_like(dataset.molecules.charge))
    held_out = replace(held_out, dataset=replace(dataset, molecules=molecules))
    section = force_uncertainty_section(subject, held_out, tell_nobody)
    assert section.data["all"]["frames"] == len(dataset)


def test_without_a_partner_the_report_says_so_and_with_a_lost_one_it_ends(
    tmp_path: Path, dataset_file: Path
) -> None:
    subject = subject_of(tmp_path, floor=0.1)
    held_out = wrong_by(subject, 0.1, dataset_file)
    assert subject.card is not None
    alone = replace(subject, card=subject.card.model_copy(update={"force_partner": None}))
    assert force_uncertainty_section(alone, held_out, tell_nobody).data == {"partner": None}
    (tmp_path / "other").rename(tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match="calibrate-forces"):
        force_uncertainty_section(subject, held_out, tell_nobody)
