"""forcegate-client: energies and forces from a forcegate server, or from a student in this process,
for ASE and everything on it.
"""

from forcegate_client.async_client import AsyncClient
from forcegate_client.calculator import RemoteCalculator
from forcegate_client.client import Client
from forcegate_client.errors import ForcegateError
from forcegate_client.local.calculator import LocalCalculator
from forcegate_client.monitor import MDMonitor
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
