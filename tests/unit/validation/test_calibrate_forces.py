"""From two exported students to an uncertainty of forces in an answer, by one command."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from forcegate_service.api.app import create_app as create_gateway
from forcegate_service.contract.card import ModelCard
from forcegate_service.runtimes.torchscript import TorchScriptRuntime
from forcegate_service.settings import Settings
from forcegate_service.testing import in_process
from forcegate_trainer.cli.app import create_app
from forcegate_trainer.export.version import export
from forcegate_trainer.fit.run import fit
from support.runs import small_config

WATER = {"atomic_numbers": [8, 1, 1], "positions": [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]}


@pytest.mark.anyio
async def test_a_command_makes_two_students_tell_how_wrong_forces_are(
    tmp_path: Path, exported: Path, dataset_file: Path
) -> None:
    repository = tmp_path / "models"
    version = shutil.copytree(exported, repository / exported.parent.name / "1")
    fit(small_config(dataset_file, epochs=2, seed=1), tmp_path / "run", lambda *_: None)
    partner = export(tmp_path / "run", repository)
    command = ["calibrate-forces", str(version), "--partner", str(partner)]
    done = CliRunner().invoke(create_app(), [*command, "--data", str(dataset_file)])
    assert done.exit_code == 0, done.output
    assert "90 % intervals cover" in " ".join(done.output.split())
    card = ModelCard.load(version)
    assert card.force_partner is not None
    assert card.force_partner.digest == ModelCard.load(partner).digest
    settings = Settings(model_repository=repository)
    app = create_gateway(settings, load_runtime=TorchScriptRuntime)
    async with in_process(app) as (client, gateway):
        assert gateway.loading is not None
        await gateway.loading
        body = {"model": card.name, "version": "1", "structures": [WATER]}
        wanted = body | {"properties": ["energy", "forces", "force_uncertainty"]}
        answer = (await client.post("/v1/predict", json=wanted)).json()
    (result,) = answer["results"]
    assert len(result["force_uncertainty"]) == 3
    assert all(sigma >= card.force_partner.floor for sigma in result["force_uncertainty"])
