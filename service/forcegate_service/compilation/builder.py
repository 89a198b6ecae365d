"""``python -m forcegate_service.compilation.builder``: builds one package, then ends.

A process of its own, because compiling takes all of a core and half a gigabyte, and because a
package is run for the first time here: code that crashes takes down this process and no server.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from forcegate_client.errors import ForcegateError
from forcegate_service.card import PROGRAM_NAME, ModelCard
from forcegate_service.compilation.cache import PackageCache
from forcegate_service.errors import CompilationFailed
from forcegate_service.kernel.shape import KernelShape

__all__ = ["build", "main"]

# Requests that TorchScript answers meanwhile come first.
_NICENESS = 10


def main() -> None:
    """Build, and print the outcome as one line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--threads", type=int, required=True)
    given = parser.parse_args()
    os.nice(_NICENESS)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Whatever the compiler and its children print must not stand between the reader and the line.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        outcome = build(given.folder, PackageCache(given.cache), given.device, given.threads)
    except ForcegateError as error:
        outcome = {"error": str(error)}
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        outcome = {"error": f"{type(error).__name__}: {lines[0]}"}
    answer.write(json.dumps(outcome) + "\n")
    answer.flush()


def build(folder: Path, cache: PackageCache, device: str, threads: int) -> dict[str, Any]:
    """Compile the version in ``folder`` unless the cache has its package already.

    The result has the package's ``path`` and ``digest``, whether it was ``cached``, and if not the
    ``seconds`` that it took and the largest ``deviation`` of a force in eV/Å.

    Raises:
        ModelRefused: if a file does not match the card, or is not what it should be.
        CompilationFailed: if there is no compiler, or the package gives other answers.
        Exception: whatever Inductor raises.
    """
    started = time.perf_counter()
    card = ModelCard.load(folder)

    import torch

    from forcegate_service.compilation.build_id import build_id, resolve_device
    from forcegate_service.kernel.library import supported

    device = resolve_device(device)
    torch.set_num_threads(threads)
    key = cache.key(card, build_id(device, threads))
    with cache.building(key) as workshop:
        package = cache.find(key)
        if package is not None:
            return {"path": str(package.path), "digest": package.digest, "cached": True}
        _require_compiler()
        # By default Inductor writes to a folder in /tmp whose name anybody can guess.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(workshop / "inductor")
        # Whatever ends this process, the next build here removes what it has left.
        tempfile.tempdir = os.environ["TMPDIR"] = str(workshop)
        os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

        from forcegate_service.compilation.parity import check_parity
        from forcegate_service.compiled import CompiledModule, compile_kernel, compile_program
        from forcegate_service.torchscript import load_script

        built = workshop / "package"
        script = load_script(card.read(folder), device)
        shape = KernelShape.of(card.architecture)
        if shape is not None and device == "cpu" and supported():
            compile_kernel(shape, script.state_dict(), built)
        else:
            compile_program(_program(card, folder), built, device=device)
        deviation = check_parity(card, script, CompiledModule(built), device)
        package = cache.store(key, built)
    return {
        "path": str(package.path),
        "digest": package.digest,
        "cached": False,
        "seconds": time.perf_counter() - started,
        "deviation": deviation,
    }


def _program(card: ModelCard, folder: Path) -> bytes:
    if PROGRAM_NAME not in card.files:
        raise CompilationFailed(
            f"a version without {PROGRAM_NAME}",
            expected="an exported program to compile",
            action="add one with `forcegate-train export-program`",
        )
    return card.read(folder, PROGRAM_NAME)


def _require_compiler() -> None:
    """Look for what Inductor would call, before it has worked for ten seconds in vain."""
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        raise CompilationFailed(
            f"no C++ compiler {compiler!r}",
            expected="a compiler on the PATH, or named by CXX",
            action="install g++ for answers in a fraction of the time",
        )


def _end_with_parent() -> None:
    """End this process and its compilers when whoever started it hangs up, or is gone."""
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
