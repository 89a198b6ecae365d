"""An inference process whose models are toys that misbehave on purpose.

Run as a script in place of ``python -m forcegate_service.runtimes.process``. Models are the soft
repulsion of the fake runtime, with these exceptions:

- fluorine ends the process, as code does that writes where it must not;
- chlorine waits until the file that ``STUB_GATE`` names exists.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import time
from pathlib import Path

from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.contract.structures import Structures
from forcegate_service.runtimes.fake import FakeRuntime
from forcegate_service.runtimes.here import Opened
from forcegate_service.runtimes.process.channel import Channel
from forcegate_service.runtimes.process.child import serve
from forcegate_service.runtimes.process.memory import StructureMemory

COMMAND = (sys.executable, str(Path(__file__)))
FLUORINE, CHLORINE = 9, 17


class Misbehaving(FakeRuntime):
    """The toy, until it meets a halogen."""

    def evaluate(self, structures: Structures) -> ModelOutput:
        """The soft repulsion."""
        numbers = structures.atomic_numbers
        # Atoms alone are asked about when a version is opened.
        molecules = bool((structures.n_atoms > 1).any())
        if molecules and (numbers == FLUORINE).any():
            os.kill(os.getpid(), signal.SIGSEGV)
        gate = Path(os.environ.get("STUB_GATE", "/"))
        while molecules and (numbers == CHLORINE).any() and not gate.exists():
            time.sleep(0.01)
        return super().evaluate(structures)


def main() -> None:
    """Serve toys over the inherited descriptors."""
    parser = argparse.ArgumentParser()
    for name in ("channel", "memory", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--awake-s", type=float)
    given = parser.parse_args()
    channel = Channel(socket.socket(fileno=given.channel))

    def opened(folder: Path) -> Opened:
        return Opened(Misbehaving(ModelCard.load(folder)))

    serve(channel, StructureMemory(given.memory), opened)


if __name__ == "__main__":
    main()
