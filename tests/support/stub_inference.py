"""An inference process whose models are toys that misbehave on purpose.

Run as a script in place of ``python -m forcegate_service.inference``. Scripts and packages are the
soft repulsion of the fake runtime, with these exceptions:

- fluorine ends the process, as code does that writes where it must not;
- chlorine waits until the file that ``STUB_GATE`` names exists;
- a package whose file holds ``crash`` ends the process whenever it runs, and one that holds
  ``wrong`` has other forces.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from forcegate_service.card import ModelCard, file_digest
from forcegate_service.fake import FakeRuntime
from forcegate_service.graph import Graph
from forcegate_service.inference.channel import Channel
from forcegate_service.inference.child import Module, serve
from forcegate_service.inference.memory import GraphMemory

COMMAND = (sys.executable, str(Path(__file__)))
FLUORINE, CHLORINE = 9, 17


class StubModules:
    """Opens toys."""

    device = "cpu"

    def script(self, folder: Path, digest: str) -> Module:
        """The soft repulsion of a fake version."""
        # As loaders do that unpack code.
        tempfile.mkdtemp(prefix="unpacked-")
        card = ModelCard.load(folder)
        assert card.digest == digest
        runtime = FakeRuntime(card)

        def evaluate(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            numbers = tensors[1]
            # Atoms alone are asked about when a version is opened.
            molecules = bool((tensors[5] > 1).any())
            if molecules and (numbers == FLUORINE).any():
                os.kill(os.getpid(), signal.SIGSEGV)
            gate = Path(os.environ["STUB_GATE"])
            while molecules and (numbers == CHLORINE).any() and not gate.exists():
                time.sleep(0.01)
            graph = Graph(*(tensor.numpy() for tensor in tensors))
            return tuple(
                torch.from_numpy(np.asarray(row))
                for row in runtime.evaluate(graph).columns.values()
            )

        self._last = evaluate
        return evaluate

    def package(self, path: Path, digest: str) -> Module:
        """The same, with the flaw that the file names."""
        if file_digest(path) != digest:
            raise ValueError("the package was changed")
        flaw = path.read_text(encoding="utf-8")
        script = self._last

        def evaluate(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            if flaw == "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            energy, forces, *rest = script(*tensors)
            return energy, forces + (1e-3 if flaw == "wrong" else 0.0), *rest

        return evaluate


def main() -> None:
    """Serve toys over the inherited descriptors."""
    parser = argparse.ArgumentParser()
    for name in ("channel", "memory", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--awake-s", type=float)
    given = parser.parse_args()
    torch.set_num_threads(1)
    channel = Channel(socket.socket(fileno=given.channel))
    serve(channel, GraphMemory(given.memory), StubModules(), ["cpu", "stub"])


if __name__ == "__main__":
    main()
