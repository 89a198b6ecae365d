"""The ablation gives each variant the same work, and says what came of it."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def ablation() -> ModuleType:
    path = ROOT / "benchmarks" / "ablation.py"
    spec = importlib.util.spec_from_file_location("ablation", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its settings are a dataclass, which looks for its module.
    sys.modules["ablation"] = module
    spec.loader.exec_module(module)
    return module


def test_variants_of_the_same_work_are_trained_and_tabulated(
    ablation: ModuleType, dataset_file: Path, exported: Path, tmp_path: Path
) -> None:
    arguments = {
        "datasets": [dataset_file],
        "out": tmp_path,
        "steps": 10,
        "model": "painn_ultra_tiny",
        "mentor": exported,
        "extra": None,
        "only": "adamw,longer,atomic,hessian",
        "seeds": "0,1",
        "longer": 2.0,
        "batch_size": 6,
        "learning_rate": 1e-3,
        "validate_steps": 5,
        "workers": 1,
        "compile_step": False,
        "atomic_weight": 1.0,
        "feature_weight": 0.1,
        "hessian_weight": 0.1,
        "clock_steps": 2,
    }
    ablation.main(**arguments)
    found = json.loads((tmp_path / "ablation.json").read_text())["variants"]
    assert list(found) == ["plain", "adamw", "longer", "atomic", "hessian"]
    assert (found["plain"]["steps"], found["longer"]["steps"]) == (10, 20)
    assert found["plain"]["asking_s"] is None
    assert found["hessian"]["asking_s"] > 0
    for name, one in found.items():
        expected = {"longer": 20}.get(name, 10) / one["cost"]
        assert one["steps"] == max(1, round(expected))
        for run in one["runs"].values():
            assert run["force_rmse"] > 0
    table = (tmp_path / "ablation.md").read_text()
    assert table.count("\n| ") == 1 + len(found)
    # Called again it trains nothing, and tells the same.
    ablation.main(**arguments)
    assert json.loads((tmp_path / "ablation.json").read_text())["variants"] == found
