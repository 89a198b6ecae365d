"""Published data are put together once, and say what they were made of."""

from pathlib import Path

import numpy as np
from tests.support.datasets import labelled_dataset
from typer.testing import CliRunner

from forcegate_client.dataset import load_dataset
from forcegate_client.dataset.store import write_dataset
from forcegate_trainer.cli.app import create_app
from forcegate_trainer.errors import SettingsError


def test_merged_files_hold_all_frames_and_name_their_origins(tmp_path: Path) -> None:
    dataset = labelled_dataset()
    half = len(dataset) // 2
    parts = [dataset.select(np.arange(half)), dataset.select(np.arange(half, len(dataset)))]
    paths = [tmp_path / "one.h5", tmp_path / "two.h5"]
    for path, part in zip(paths, parts, strict=True):
        write_dataset(path, part)
    out = tmp_path / "whole.h5"
    result = CliRunner().invoke(create_app(), ["merge", *map(str, paths), "--out", str(out)])
    assert result.exit_code == 0, result.output
    whole = load_dataset(out)
    assert np.array_equal(whole.positions, dataset.positions)
    assert [entry["content"] for entry in whole.job["inputs"]] == [p.content_hash() for p in parts]


def test_what_was_published_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "one.h5"
    write_dataset(path, labelled_dataset())
    before = path.read_bytes()
    result = CliRunner().invoke(create_app(), ["merge", str(path), "--out", str(path)])
    assert isinstance(result.exception, SettingsError)
    assert path.read_bytes() == before
