"""Whatever arrives at the engine's border is answered by an error that says what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from forcegate_engine import EngineError, Model
from forcegate_engine.errors import (
    BadArgument,
    BadStructure,
    ChargeMismatch,
    KernelMissing,
    NoCharges,
    TooLarge,
    UnknownElement,
    WeightsRefused,
)
from support.engine import CHARGED, NEUTRAL, engine, weights

WATER = np.array([[0.0, 0.0, 0.1], [0.0, 0.8, -0.5], [0.0, -0.8, -0.5]])
NAN = float("nan")


@pytest.mark.parametrize(
    ("numbers", "positions", "options", "error", "said"),
    [
        ([8, 1], WATER, {}, BadArgument, r"positions of shape \(3, 3\); expected \[2, 3\]"),
        ([8, 1, 1], WATER[:, :2], {}, BadArgument, r"expected \[3, 3\]"),
        ([8, 1, 1], WATER, {"n_atoms": [2]}, BadArgument, "2 atoms in all.*total_atoms, 3"),
        ([8, 1, 1], WATER, {"n_atoms": [2, 2]}, BadArgument, "2 atoms in a structure; .* 1 to 1"),
        ([8, 1, 1], WATER, {"n_atoms": [3, 0]}, BadArgument, "0 atoms in a structure"),
        ([8, 1, 1], WATER, {"n_atoms": [4, -1]}, BadArgument, "4 atoms in a structure"),
        ([8, 1, 1], WATER, {"pbc": [[1, 0, 0]]}, BadArgument, "without cells"),
        ([8, 1, 1], WATER, {"threads": -1}, BadArgument, "-1 threads"),
        ([8, 1, 1], WATER, {"cells": np.eye(3)}, BadArgument, r"cells of shape \(3, 3\)"),
        (["O", "H", "H"], WATER, {}, BadArgument, "atomic_numbers"),
        ([8, 1, 80], WATER, {}, UnknownElement, "atom 2 of element 80"),
        ([8, 1, -1], WATER, {}, UnknownElement, "atom 2 of element -1"),
        ([8, 1, 2**40], WATER, {}, UnknownElement, "atom 2 of element"),
        ([8, 1, 1], WATER * NAN, {}, BadStructure, "atom 0 at nan"),
        ([8, 1, 1], WATER * 1e9, {}, BadStructure, "within 1e\\+06 Å"),
        (
            *([8, 1, 1], WATER, {"cells": np.zeros((1, 3, 3)), "pbc": [[1, 1, 1]]}),
            *(BadStructure, "volume 0"),
        ),
        (
            *([8, 1, 1], WATER, {"cells": np.full((1, 3, 3), NAN), "pbc": [[0, 1, 0]]}),
            *(BadStructure, "cell vector with nan"),
        ),
        (
            *([8, 1, 1], WATER, {"cells": np.eye(3)[None] * 1e-3, "pbc": [[1, 1, 1]]}),
            *(BadStructure, "0.001 Å thin"),
        ),
        ([1] * 5000, np.zeros((5000, 3)), {}, TooLarge, "more than 4096 neighbors"),
        ([8, 1, 1], WATER, {"charges": [NAN]}, BadStructure, "net charge of nan"),
        ([8, 1, 1], WATER, {"charges": [7]}, ChargeMismatch, r"charge of \+7 for atoms"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_with_what_is_wrong(
    numbers: list[int],
    positions: np.ndarray,
    options: dict[str, object],
    error: type[EngineError],
    said: str,
) -> None:
    model = engine(CHARGED)
    with pytest.raises(error, match=said):
        model.evaluate(numbers, positions, **options)
    # And the next one is answered.
    assert np.isfinite(model.evaluate([8, 1, 1], WATER).energy[0])


def test_an_error_names_the_structure_to_blame() -> None:
    positions = np.concatenate([WATER, WATER, WATER * NAN])
    with pytest.raises(BadStructure, match="structure 2: ") as caught:
        engine(CHARGED).evaluate([8, 1, 1] * 3, positions, n_atoms=[3, 3, 3])
    assert caught.value.structure == 2


def test_a_student_of_neutral_structures_takes_no_ion() -> None:
    model = engine(NEUTRAL)
    with pytest.raises(NoCharges, match="net charge of 1"):
        model.evaluate([8, 1, 1], WATER, charges=[1])
    assert model.evaluate([8, 1, 1], WATER, charges=[0]).charges is None


def test_a_kernel_that_does_not_run_here_is_refused() -> None:
    with pytest.raises(KernelMissing, match="no kernel abacus"):
        Model(weights(CHARGED), kernel="abacus")


def test_weights_cut_short_or_changed_in_the_header_are_refused() -> None:
    content = weights(CHARGED)
    for length in (0, 7, 8, 100, len(content) // 2, len(content) - 1):
        with pytest.raises(WeightsRefused):
            Model(content[:length])
    with pytest.raises(WeightsRefused, match="after the last tensor"):
        Model(content + b"x")
    for old, new, said in (
        (b'"interface":"2"', b'"interface":"3"', "interface 3"),
        (b'"format_version":"1"', b'"format_version":"9"', "later release"),
        (b'"width":"20"', b'"width":"21"', "expected F32"),
        (b'"depth":"3"', b'"depth":"4"', "layers.2.update.gate.weight is F32"),
        (b'"pairs.cutoff"', b'"pairs.custom"', "no tensor pairs.cutoff"),
        (b'"dtype":"F32"', b'"dtype":"F16"', "type F16"),
        (b"data_offsets", b"data_offset5", "data_offsets"),
    ):
        assert old in content
        with pytest.raises(WeightsRefused, match=said):
            Model(content.replace(old, new, 1))


def test_weights_that_are_not_finite_are_refused() -> None:
    content = weights(CHARGED)
    with pytest.raises(WeightsRefused, match="not finite"):
        Model(content[:-4] + np.float32(np.inf).tobytes())


def test_a_folder_without_weights_is_refused_with_how_to_write_them(tmp_path: Path) -> None:
    with pytest.raises(WeightsRefused, match="export-weights"):
        Model.open(tmp_path)


FUZZ = """
import ctypes, random, sys
from pathlib import Path
import numpy as np
from forcegate_engine import EngineError, Model
from forcegate_engine.dynamics import _ENSEMBLE
from forcegate_engine.relaxation import FIRE
from forcegate_engine.library import (
    Answers, Dynamics, Motion, Relaxation, Structures, Survey, library,
)

content = Path(sys.argv[1]).read_bytes()
rng = np.random.default_rng(int(sys.argv[2]))
rounds = int(sys.argv[3])
good = Model(content)
codes = set()


def pick(*values):
    return values[rng.integers(len(values))]


def tensor(*shape):
    values = rng.normal(size=shape) * 10.0 ** rng.integers(-3, 9)
    if values.size and rng.random() < 0.1:
        values.flat[rng.integers(values.size)] = pick(np.nan, np.inf, -np.inf, 1e300)
    return np.ascontiguousarray(values)


def address(array):
    return None if array is None or rng.random() < 0.05 else array.ctypes.data


for _ in range(rounds):
    if rng.random() < 0.3:
        length = pick(len(content), len(content), int(rng.integers(len(content))))
        broken = bytearray(content[:length])
        for _ in range(rng.integers(1, 6)):
            if broken:
                place = int(rng.integers(min(len(broken), pick(8, 4000, len(broken)))))
                broken[place] = int(rng.integers(256))
        try:
            Model(bytes(broken)).evaluate([8, 1, 1], np.eye(3))
            codes.add("read")
        except EngineError as error:
            codes.add(type(error).__name__)
        continue
    b = int(rng.integers(0, 4))
    counts = rng.integers(1, 5, b)
    n = int(counts.sum())
    if rng.random() < 0.1 and b:
        counts[rng.integers(b)] = pick(0, -1, 10**6, 2**62, -(2**62))
    numbers = rng.choice([1, 6, 7, 8], n)
    if rng.random() < 0.1 and n:
        numbers[rng.integers(n)] = pick(0, -5, 2, 300, 2**62, -(2**62))
    counts, numbers = counts.astype(np.int64), numbers.astype(np.int64)
    positions, cells, charges = tensor(n, 3), tensor(b, 3, 3), tensor(b)
    if rng.random() < 0.3:
        positions = np.ascontiguousarray(rng.uniform(0, 4, (n, 3)))
        cells = np.ascontiguousarray(np.eye(3) * rng.uniform(2, 6, (b, 1, 1)))
    pbc = rng.integers(0, 2, (b, 3)).astype(np.uint8)
    structures = Structures(
        b if rng.random() < 0.95 else pick(-1, 2**62),
        n if rng.random() < 0.95 else pick(-1, 0, 2**62),
        address(counts), address(numbers), address(positions), address(cells), address(pbc),
        address(charges),
    )
    outputs = [np.empty(size) for size in (b, 3 * n, 9 * b, n, b, n)]
    answers = Answers(*map(address, outputs))
    code = library().forcegate_evaluate(
        good.handle if rng.random() < 0.98 else None,
        ctypes.byref(structures) if rng.random() < 0.98 else None,
        ctypes.byref(answers) if rng.random() < 0.98 else None,
        pick(0, 1, 2, 3, -7), None,
    )
    codes.add(code)
    table = tensor(9, 9)
    seen = [np.zeros(size, kind) for size, kind in
            ((b, "i8"), (b, "i8"), (n, "f8"), (b, "f8"), (b, "f8"), (2 * b, "i8"))]
    survey = Survey(
        pick(5.0, 5.0, 5.0, np.nan, 1e9), pick(0.0, 8.0, 8.0, -1.0), pick(9, 9, 9, 8, 0, 2**62),
        address(table), *map(address, seen),
    )
    codes.add(library().forcegate_survey(
        ctypes.byref(structures), ctypes.byref(survey) if rng.random() < 0.98 else None, None,
    ))
    if rng.random() < 0.3:
        fixed, speeds = rng.integers(0, 2, n).astype(np.uint8), tensor(n, 3)
        flags = [np.zeros(b, np.int64), np.zeros(b, np.uint8), fixed]
        force, most = rng.choice([0.05, 0.05, 0.0, np.nan], b), rng.choice([0, 1, 5, -1], b)
        fires = np.zeros(b, FIRE)
        fires["started"], fires["step"] = rng.integers(0, 2, b), rng.choice([0.1, np.inf, -1.0], b)
        relaxation = Relaxation(
            address(force), address(most), address(flags[2]), None, address(positions),
            *pick((None, None), (address(speeds), address(fires))),
            address(flags[0]), address(flags[1]),
        )
        codes.add(library().forcegate_relax(
            good.handle, ctypes.byref(structures), ctypes.byref(relaxation),
            ctypes.byref(answers), 1, None,
        ))
        masses = rng.uniform(-1.0, 9.0, n)
        each = np.zeros(b, _ENSEMBLE)
        each["start_step"] = rng.choice([0, 5, -1, 2**62], b)
        each["timestep"] = rng.choice([0.5, 0.5, 0.0, np.nan], b)
        each["friction"] = rng.choice([0.0, 0.1, -1.0], b)
        each["temperature"] = rng.choice([300.0, np.inf], b)
        dynamics = Dynamics(pick(0, 1, 3, -1), address(each), address(masses), address(flags[2]))
        motion = Motion(address(positions), address(speeds), None, 0)
        codes.add(library().forcegate_integrate(
            good.handle, ctypes.byref(structures), ctypes.byref(dynamics), ctypes.byref(motion),
            ctypes.byref(answers), 1, None,
        ))
print(sorted(map(str, codes)))
"""


def test_no_bad_call_ends_the_process(tmp_path: Path) -> None:
    """Null pointers, absurd sizes, numbers that are none, bits of the weights turned around."""
    file = tmp_path / "model.safetensors"
    file.write_bytes(weights(CHARGED))
    command = [sys.executable, "-c", FUZZ, str(file), "0", "4000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    # It found the good and the bad, or it looked at nothing.
    for code in ("'0'", "'1'", "'3'", "'4'", "WeightsRefused"):
        assert code in done.stdout
