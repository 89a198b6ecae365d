"""What an installation lacks is said in one line, with a command that is true."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from forcegate_client.extras import install_command, needing

# Each command without the packages that extras bring, in one process that never had them.
WITHOUT_EXTRAS = """
import json, sys
for package in ("h5py", "rdkit", "pyarrow", "forcegate_engine", "forcegate_models"):
    sys.modules[package] = None
from typer.testing import CliRunner
from forcegate_client.cli.app import app
results = []
for command in json.loads(sys.argv[1]):
    done = CliRunner().invoke(app, command)
    results.append((done.exit_code, done.output, repr(done.exception)))
print(json.dumps(results))
"""
XYZ = "1\n\nH 0 0 0\n"
COMMANDS = [
    (["screen", "a.xyz", "--out", "s"], "h5py"),
    (["merge", "s"], "h5py"),
    (["screen", "a.xyz", "--out", "s", "--export", "parquet"], "h5py"),
    (["predict", "a.h5"], "h5py"),
    (["predict", "a.sdf"], "rdkit"),
    (["relax", "a.smi"], "rdkit"),
    (["md", "a.mol2"], "rdkit"),
    (["predict", "--smiles", "CCO"], "rdkit"),
    (["predict", "a.xyz", "--local"], "forcegate_engine"),
    (["relax", "a.xyz", "--local", "--repository", "."], "forcegate_engine"),
    (["models", "--local"], "forcegate_engine"),
]


def test_no_command_without_an_extra_is_a_traceback(tmp_path: Path) -> None:
    for name in ("a.xyz", "a.h5", "a.sdf", "a.smi", "a.mol2"):
        (tmp_path / name).write_text(XYZ)
    commands = json.dumps([command for command, _ in COMMANDS])
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, commands],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    for (command, package), (code, output, exception) in zip(COMMANDS, results, strict=True):
        assert (code, exception[:11]) == (1, "SystemExit("), (command, output)
        (line,) = output.strip().splitlines()
        assert f"without the package {package}" in line
        assert re.search(r"pip install (\S+ )*'", line)
        assert "'forcegate-client" not in line
    assert not (tmp_path / "s").exists()


def test_the_command_names_a_place_and_not_a_name_that_anybody_could_register() -> None:
    source = install_command("screening").split("'")[1]
    assert source.endswith("[screening]")
    path = Path(source.removesuffix("[screening]"))
    assert str(path) == "clients" or (path / "pyproject.toml").is_file() or path.suffix == ".whl"


def test_what_is_missing_by_mistake_is_not_blamed_on_an_extra() -> None:
    with pytest.raises(ModuleNotFoundError), needing("data", "HDF5"):
        import forcegate_client.no_such_module  # noqa: F401
