"""A model as a force engine for ASE's SocketIOCalculator.

``ase_engine.py FOLDER UNIX_SOCKET STRUCTURE``; the file of the structure says what its atoms are.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ase.calculators.socketio import SocketClient
from ase.io import read
from served_model import open_runtime

from forcegate_trainer.simulation.exported import RuntimeCalculator


def main(folder: Path, socket: str, structure: Path) -> None:
    """Answer until the other side hangs up."""
    atoms = read(structure)
    runtime = open_runtime(folder)
    atoms.calc = RuntimeCalculator(runtime)
    atoms.get_forces()
    SocketClient(unixsocket=socket).run(atoms)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
