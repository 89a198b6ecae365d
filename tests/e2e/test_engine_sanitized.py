"""A hundred thousand calls of the engine with whatever comes, under the compiler's sanitizers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.engine import CHARGED, build_script, weights

# Compiles the engine twice.
pytestmark = pytest.mark.system

NATIVE = Path(__file__).parents[2] / "engine" / "forcegate_engine" / "native"
PROGRAM = Path(__file__).parents[1] / "support" / "engine_fuzz.cpp"
CALLS = 100_000
# What is watched costs: of what threads share a tenth of the calls has to do.
WATCHED = [("address,undefined", CALLS), ("thread", CALLS // 10)]


@pytest.mark.parametrize(("sanitizer", "calls"), WATCHED)
def test_no_call_reads_or_writes_what_is_not_its_own(
    sanitizer: str, calls: int, tmp_path: Path
) -> None:
    flags = ("-g", "-O1", f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all")
    library = tmp_path / "libforcegate.so"
    build_script().compile_library(library, flags)
    command = ["g++", "-std=c++20", "-pthread", *flags, f"-I{NATIVE}", str(PROGRAM), str(library)]
    program = tmp_path / "fuzz"
    subprocess.run([*command, "-o", str(program)], check=True)
    (tmp_path / "weights").write_bytes(weights(CHARGED))
    done = subprocess.run(
        [str(program), str(tmp_path / "weights"), str(calls), "7", "2"],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    ended = {int(code): int(count) for code, count in map(str.split, done.stdout.splitlines())}
    assert sum(ended.values()) == calls
    # Most of what can be wrong was, and much was right.
    assert ended[0] > calls / 3
    assert all(ended[code] for code in (1, 2, 3, 4, 7, 8))
    assert ended[10] == 0
