"""What is asked of Triton servers in tests, and whether the answers are the toy's."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule

from forcegate_client.errors import RuntimeUnavailable
from forcegate_client.structures import StructureBatch
from forcegate_service.contract.graph import Graph, build_graph
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.runtimes.fake import load_fake
from forcegate_service.runtimes.triton.servers import TritonRuntime, TritonServers
from support.fake_triton import WAIT_S, FakeTriton, until

__all__ = ["METHANOL", "MIXED", "Caller", "answered", "graph_of", "opened", "right", "servers_at"]

# eV and eV/Å: the same formula in the same process.
_EXACT = 1e-12


def graph_of(*structures: Atoms) -> Graph:
    """With the cutoff of the toy."""
    return build_graph(StructureBatch.from_atoms(list(structures)), 5.0)


# Every one has carbon in it, which the reference structure has not.
METHANOL = graph_of(molecule("CH3OH"))
MIXED = graph_of(
    molecule("CH3CH2OH"),
    Atoms("C"),
    Atoms("CH4", molecule("CH4").positions, cell=4.0 * np.eye(3), pbc=True),
    Atoms("O2", [(0, 0, 0), (0, 0, 9)]),
    molecule("CH3Cl"),
)


@contextmanager
def servers_at(*tritons: FakeTriton, timeout_s: float = WAIT_S) -> Iterator[TritonServers]:
    """Connected to all of ``tritons``."""
    servers = TritonServers(",".join(triton.address for triton in tritons), timeout_s)
    try:
        until(lambda: sum(link.connected for link in servers._links.values()) == len(tritons))
        yield servers
    finally:
        # Whoever still waits would wait for the server.
        for triton in tritons:
            triton.release()
        servers.close()


def opened(servers: TritonServers, repository: Path, version: str = "1") -> TritonRuntime:
    """A version of the toy."""
    return servers.open(repository / "fake" / version)


def right(output: ModelOutput, repository: Path, graph: Graph) -> bool:
    """Whether it is the answer of the toy, whose versions are all alike."""
    wanted = load_fake(repository / "fake" / "1").evaluate(graph)
    columns = output.columns
    return columns.keys() == wanted.columns.keys() and all(
        columns[name].shape == other.shape
        and np.allclose(columns[name], other, rtol=0, atol=_EXACT)
        for name, other in wanted.columns.items()
    )


def answered(runtime: TritonRuntime, graph: Graph) -> bool:
    """Whether anybody answers."""
    try:
        runtime.evaluate(graph)
    except RuntimeUnavailable:
        return False
    return True


class Caller(threading.Thread):
    """Asks a runtime for ``MIXED`` again and again until it is told to stop.

    ``outcomes`` counts what came of it: right, wrong, away, and the names of other errors.
    """

    def __init__(self, runtime: TritonRuntime, repository: Path) -> None:
        super().__init__(name="caller")
        self._runtime, self._repository = runtime, repository
        self._stopping = threading.Event()
        self.outcomes: Counter[str] = Counter()

    def run(self) -> None:
        while not self._stopping.is_set():
            self.outcomes[self._ask()] += 1

    def stop(self) -> None:
        """Let it finish."""
        self._stopping.set()
        self.join()

    def _ask(self) -> str:
        try:
            output = self._runtime.evaluate(MIXED)
        except RuntimeUnavailable:
            # Without a break, nobody else would get a turn.
            self._stopping.wait(0.002)
            return "away"
        except Exception as error:
            return type(error).__name__
        return "right" if right(output, self._repository, MIXED) else "wrong"
