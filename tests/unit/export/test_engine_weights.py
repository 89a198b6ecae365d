"""Weights for the engine are part of every export, and can be added to older versions."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from forcegate_engine import Model
from forcegate_engine.errors import WeightsRefused
from forcegate_service.contract.card import ENGINE_NAME, ModelCard, file_digest
from forcegate_service.contract.errors import ModelRefused
from forcegate_service.contract.graph import build_graph
from forcegate_service.runtimes.torchscript import TorchScriptRuntime
from forcegate_trainer.cli.app import create_app
from forcegate_trainer.export.engine_weights import add_weights, check_weights
from support.engine import PUBLISHED, evaluated, mixed
from support.models import newest_version
from support.versions import write_random_version


@pytest.fixture
def bare(exported: Path, tmp_path: Path) -> Path:
    """The exported version as older releases wrote it."""
    folder = tmp_path / "painn_ultra_tiny" / "1"
    shutil.copytree(exported, folder)
    (folder / ENGINE_NAME).unlink()
    card = ModelCard.model_validate_json((folder / "model_card.json").read_text())
    files = {name: digest for name, digest in card.files.items() if name != ENGINE_NAME}
    card.model_copy(update={"files": files}).save(folder)
    return folder


def test_an_export_opens_in_the_engine_with_the_answers_of_its_script(exported: Path) -> None:
    card = ModelCard.load(exported)
    assert card.files[ENGINE_NAME] == file_digest(exported / ENGINE_NAME)
    answer = evaluated(Model.open(exported), mixed())
    expected = TorchScriptRuntime(exported).evaluate(build_graph(mixed(), *card.reach))
    np.testing.assert_allclose(answer.energy, expected.energy, atol=1e-4, rtol=1e-6)
    np.testing.assert_allclose(answer.forces, expected.forces, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("charges", [False, True])
def test_a_version_without_weights_gets_them_and_stays_the_same_version(
    charges: bool, tmp_path: Path
) -> None:
    folder = write_random_version(tmp_path, charges=charges)
    before, content = ModelCard.load(folder), (folder / "model.pt").read_bytes()
    result = CliRunner().invoke(create_app(), ["export-weights", str(folder)])
    assert result.exit_code == 0, result.output
    assert "added model.safetensors" in result.output
    after = ModelCard.load(folder)
    assert (folder / "model.pt").read_bytes() == content
    assert after.digest == before.digest
    assert after.model_copy(update={"files": before.files}) == before
    assert Model.open(folder).interface == (2 if charges else 1)
    # The same weights are the same bytes.
    written = file_digest(folder / ENGINE_NAME)
    add_weights(folder)
    assert file_digest(folder / ENGINE_NAME) == written
    check_weights(folder)


def test_weights_that_are_not_the_cards_are_refused(bare: Path) -> None:
    with pytest.raises(WeightsRefused, match="export-weights"):
        Model.open(bare)
    add_weights(bare)
    file = bare / ENGINE_NAME
    content = bytearray(file.read_bytes())
    # The last float of the last tensor: a network all the same.
    content[-4:] = np.float32(3.0).tobytes()
    file.write_bytes(content)
    with pytest.raises(WeightsRefused, match="its card says"):
        Model.open(bare)
    # Somebody who exchanges the digest as well meets the reference structure.
    card = ModelCard.model_validate_json((bare / "model_card.json").read_text())
    card.model_copy(update={"files": card.files | {ENGINE_NAME: file_digest(file)}}).save(bare)
    with pytest.raises(WeightsRefused, match="reference energy off"):
        Model.open(bare)
    with pytest.raises(ModelRefused, match="weights for the engine"):
        check_weights(bare)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_student_opens_in_the_engine(name: str) -> None:
    folder = newest_version(name)
    card, model = ModelCard.load(folder), Model.open(folder)
    assert list(model.elements) == card.elements
    assert (model.cutoff, model.interface) == (card.cutoff, card.interface)
