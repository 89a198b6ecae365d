"""forcegate-client: energies and forces from a forcegate server, or from a student in this process,
for ASE and everything on it.

Its rooms, none of which knows those after it:

    checks/      what is refused, and what is remarked on
    wire/        the format of questions and answers
    http/        clients of a server, and ASE's calculator
    writing/     files that are there whole or not at all
    dataset/     the HDF5 data sets
    reading/     structures from files of every kind, and from SMILES
    md/          monitor, reports, the NVE protocol, checkpoints, trajectories
    relaxation/  many structures to their minima
    local/       students in this process, by the engine
    images/      many images of a molecule in one request: reaction paths, vibrations
    integrations/ engines and workflows of others: a file for each
    screening/   libraries of structures, in parts that outlive a kill
    cli/         the ``forcegate`` command
    nve.py       the NVE protocol, by the name that scripts import
    remote.py    dynamics and relaxation on a server, by the name that scripts import
    testing.py   a small server for tests, over springs

The other files are known by all, and know none of these.
"""

from forcegate_client.errors import ForcegateError
from forcegate_client.http.async_client import AsyncClient
from forcegate_client.http.calculator import RemoteCalculator
from forcegate_client.http.client import Client
from forcegate_client.local.calculator import LocalCalculator
from forcegate_client.md.monitor import MDMonitor
from forcegate_client.structures import StructureBatch

__all__ = [
    "AsyncClient",
    "Client",
    "ForcegateError",
    "LocalCalculator",
    "MDMonitor",
    "RemoteCalculator",
    "StructureBatch",
]
