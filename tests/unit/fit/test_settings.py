"""Settings are what the command line says they are, for whoever makes them."""

from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
import typer.main

from forcegate_trainer.cli.app import create_app
from forcegate_trainer.data.sampling.settings import (
    ComplexSettings,
    ExplorationSettings,
    SamplingSettings,
)
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.fit.config import Distillation, FitConfig
from forcegate_trainer.fit.data import load_training_data
from forcegate_trainer.fit.run import fit
from forcegate_trainer.network.storage import WEIGHTS_NAME
from support.runs import small_config

# Written in a form of their own on the command line, or found out by the command.
OTHERWISE = {
    *("architecture", "datasets", "dataset_hash", "start", "extra", "distillation", "model"),
    *("mentor", "digest", "checkpoint_steps", "temperatures", "splits", "driver", "every"),
}


@pytest.mark.parametrize(
    ("command", "owner"),
    [
        ("fit", FitConfig),
        ("fit", Distillation),
        ("sample", SamplingSettings),
        ("contacts", ComplexSettings),
        ("explore", ExplorationSettings),
    ],
)
def test_each_setting_is_an_option_with_the_same_default(command: str, owner: Any) -> None:
    group: Any = typer.main.get_command(create_app())
    options = {option.name: option for option in group.commands[command].params}
    for field in fields(owner):
        if field.name not in OTHERWISE:
            assert field.default is not MISSING
            assert options[field.name].default == field.default, field.name


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"epochs": 0}, "epochs = 0; expected 1 or more"),
        ({"learning_rate": -1e-3}, "learning_rate = -0.001; expected 0 or more"),
        ({"weight_decay": float("nan")}, "weight_decay = nan; expected 0 or more"),
        ({"ema_decay": 1.5}, "ema_decay = 1.5; expected 0 to 1"),
        ({"ema_decay": 1.0}, "less than 1"),
        ({"workers": 0}, "workers = 0; expected 1 or more"),
    ],
)
def test_what_the_command_line_refuses_is_refused_of_scripts(
    dataset_file: Path, changes: dict[str, object], complaint: str
) -> None:
    with pytest.raises(SettingsError, match=complaint):
        small_config(dataset_file, **changes)  # type: ignore[arg-type]


def test_frames_that_were_read_are_not_read_again(dataset_file: Path, tmp_path: Path) -> None:
    config = small_config(dataset_file, epochs=1)
    data = load_training_data(config)
    gone = small_config(dataset_file, epochs=1, datasets=(str(tmp_path / "gone.h5"),))
    fit(gone, tmp_path / "run", lambda step, total, known: None, data=data)
    assert (tmp_path / "run" / WEIGHTS_NAME).is_file()
