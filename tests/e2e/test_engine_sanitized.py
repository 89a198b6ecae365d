"""Random calls of the engine, and its own tests, under the compiler's sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.engine import CHARGED, build_script, weights

# Compiles the engine, for each sanitizer.
pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "engine" / "forcegate_engine"
NATIVE = PACKAGE / "native"
PROGRAM = ROOT / "tests" / "support" / "engine_fuzz.cpp"
CALLS = 100_000
# What is watched costs: of what threads share a tenth of the calls has to do.
WATCHED = {"address,undefined": CALLS, "thread": CALLS // 10}
FLAGS = ("-g", "-O1", "-fno-sanitize-recover=all")
# What Python loads before anything else, and what makes a report an error of the process.
RUNTIMES = {"address": "libasan.so", "thread": "libtsan.so"}
OPTIONS = {
    # Python keeps some memory until its end; a sanitizer of threads may only see this library's.
    "ASAN_OPTIONS": "detect_leaks=0:exitcode=77",
    "TSAN_OPTIONS": "halt_on_error=1:exitcode=77:ignore_noninstrumented_modules=1",
    "UBSAN_OPTIONS": "halt_on_error=1:exitcode=77",
    # Arrays of their own in memory, so that what is read beyond their end is nobody's.
    "PYTHONMALLOC": "malloc",
}
# What is true of any potential, every refusal, runs and minima; and what several threads do.
CHOSEN = {
    "address,undefined": (
        "engine_physics or engine_border or engine_survey or (engine_dynamics and not thermostat) "
        "or engine_relaxation or same_bits or mostly_empty or no_structure or finds_the_neighbors",
        "not no_bad_call",
    ),
    "thread": ("many_threads or number_of_threads or in_any_company or way_that_it_goes_alone", ""),
}


def compiled(folder: Path, native: Path = NATIVE) -> None:
    """The package, with a library that the sanitizer of the folder's name watches."""
    copy = folder / PACKAGE.name
    unused = shutil.ignore_patterns("native", "*.so", "__pycache__")
    shutil.copytree(PACKAGE, copy, ignore=unused)
    script = build_script()
    script.__dict__["_NATIVE"] = native
    flags = (*FLAGS, f"-fsanitize={folder.name}")
    script.compile_library(copy / "libforcegate.so", flags)


@pytest.fixture(scope="module", params=WATCHED)
def watched(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a package of each kind, with the sanitizer's name."""
    folder = tmp_path_factory.mktemp("watched") / str(request.param)
    compiled(folder)
    return folder


def under(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python on the package in a folder, with what its library needs."""

    def library(name: str) -> str:
        found = subprocess.run(
            ["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True
        )
        return found.stdout.strip()

    preload = [library(RUNTIMES[folder.name.partition(",")[0]]), library("libstdc++.so.6")]
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    settings = {"LD_PRELOAD": " ".join(preload), "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=1500,
        env=os.environ | OPTIONS | settings,
    )


def test_no_call_reads_or_writes_what_is_not_its_own(watched: Path, tmp_path: Path) -> None:
    library = watched / PACKAGE.name / "libforcegate.so"
    flags = (*FLAGS, f"-fsanitize={watched.name}", f"-I{NATIVE}")
    command = ["g++", "-std=c++20", "-pthread", *flags, str(PROGRAM), str(library)]
    program, calls = tmp_path / "fuzz", WATCHED[watched.name]
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


def test_the_engines_own_tests_pass_under_watch(watched: Path) -> None:
    chosen, without = CHOSEN[watched.name]
    files = [str(file) for file in sorted((ROOT / "tests" / "unit").glob("test_engine*.py"))]
    expression = f"({chosen}) and ({without})" if without else chosen
    done = under(watched, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files, "-k", expression)
    print(f"{watched.name}: {expression}\n{done.stdout[-600:]}")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def test_what_is_read_beyond_an_array_is_reported(tmp_path: Path) -> None:
    """The watch itself, on a library that reads an atom more than there are."""
    sources = tmp_path / "native"
    shutil.copytree(NATIVE, sources)
    file, line = sources / "evaluate.cpp", "std::memcpy(positions, s.positions + 3 * begin, 3 *"
    text = file.read_text(encoding="utf-8")
    assert text.count(line) == 1
    file.write_text(text.replace(line, line.replace("begin,", "begin + 3,")), encoding="utf-8")
    folder = tmp_path / "address"
    compiled(folder, sources)
    (tmp_path / "weights").write_bytes(weights(CHARGED))
    one_atom = (
        "import sys, numpy as np; from forcegate_engine import Model; "
        "Model(open(sys.argv[1], 'rb').read()).evaluate([8], np.zeros((1, 3)))"
    )
    done = under(folder, "-c", one_atom, str(tmp_path / "weights"))
    assert done.returncode == 77, done.stdout + done.stderr
    assert "heap-buffer-overflow" in done.stderr
