"""The GPU's benchmark runs the same code on a CPU, where there is no clock to trust."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "forcegate_bench", "gpu", *arguments]
    environment = os.environ | {"PYTHONPATH": str(BENCHMARKS)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_a_dry_run_agrees_with_the_cpu_and_writes_its_table(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    done = run(
        *("--device", "cpu", "--preset", "painn_ultra_tiny", "--no-boxes"),
        *("--largest-batch", "8", "--seconds", "0", "--out", str(out)),
        *("--model-repository", str(tmp_path / "nothing here")),
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(out.read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in document["rows"]}
    for label in ("aspirin (21 atoms)", "aspirin (21 atoms) × 8"):
        where = f"painn_ultra_tiny, eager, {label}"
        assert rows[f"{where}: largest deviation from the CPU"]["ok"]
        assert rows[f"{where}: throughput"]["unit"] == "atoms/s"
    assert document["notes"] == []
    assert out.with_suffix(".md").is_file()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so() -> None:
    done = run()
    assert done.returncode == 2
    assert "no CUDA device here" in done.stderr
