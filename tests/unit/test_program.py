"""What the gateway compiles is part of every export, and can be added to older versions."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from forcegate_client.structures import StructureBatch
from forcegate_service.card import PROGRAM_NAME, ModelCard
from forcegate_service.embedded import EmbeddedRuntime
from forcegate_service.errors import ModelRefused
from forcegate_service.graph import build_graph
from forcegate_service.program_archive import require_plain
from forcegate_trainer.add_program import add_program
from forcegate_trainer.cli.app import create_app
from forcegate_trainer.errors import SettingsError


@pytest.fixture
def bare(exported: Path, tmp_path: Path) -> Path:
    """The exported version as older releases wrote it."""
    folder = tmp_path / "painn_ultra_tiny" / "1"
    shutil.copytree(exported, folder)
    (folder / PROGRAM_NAME).unlink()
    card = ModelCard.model_validate_json((folder / "model_card.json").read_text())
    files = {name: digest for name, digest in card.files.items() if name != PROGRAM_NAME}
    card.model_copy(update={"files": files}).save(folder)
    return folder


def test_an_export_holds_a_program_with_the_answers_of_its_script(exported: Path) -> None:
    card = ModelCard.load(exported)
    content = card.read(exported, PROGRAM_NAME)
    require_plain(content)
    program = torch.export.load(io.BytesIO(content)).module()
    runtime = EmbeddedRuntime(exported)
    rng = np.random.default_rng(0)
    for sizes in ([1], [1, 1], [2], [9, 1, 4]):
        atoms = sum(sizes)
        batch = StructureBatch.from_arrays(
            sizes, rng.choice([1, 6, 7, 8], atoms), rng.uniform(0, 4.0, (atoms, 3))
        )
        graph = build_graph(batch, card.cutoff)
        with torch.no_grad():
            outputs = program(*(torch.from_numpy(array) for array in graph.arrays()))
        for one, other in zip(runtime.evaluate(graph).columns.values(), outputs, strict=True):
            np.testing.assert_allclose(one, other.numpy(), atol=1e-5, rtol=1e-5)


def test_a_version_without_a_program_gets_one_and_stays_the_same_version(bare: Path) -> None:
    before = ModelCard.load(bare)
    content = (bare / "model.pt").read_bytes()
    result = CliRunner().invoke(create_app(), ["export-program", str(bare)])
    assert result.exit_code == 0, result.output
    assert "added model.pt2" in result.output
    after = ModelCard.load(bare)
    assert (bare / "model.pt").read_bytes() == content
    assert after.digest == before.digest
    assert set(after.files) - set(before.files) == {PROGRAM_NAME}
    assert after.model_copy(update={"files": before.files}) == before
    # Again, to replace it.
    assert add_program(bare) <= 1e-5
    ModelCard.load(bare)


def test_weights_of_another_network_get_no_program(bare: Path) -> None:
    card = ModelCard.load(bare)
    wider = card.architecture | {"width": 40}
    card.model_copy(update={"architecture": wider}).save(bare)
    with pytest.raises(SettingsError, match="do not fit"):
        add_program(bare)
    assert not (bare / PROGRAM_NAME).exists()


def test_a_changed_version_gets_no_program(bare: Path) -> None:
    (bare / "model.pt").write_bytes(b"other weights")
    with pytest.raises(ModelRefused, match="sha256"):
        add_program(bare)
