"""Molecular dynamics where the forces are: a server takes the steps, and streams frames."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Any

from ase import Atoms

from forcegate_client.errors import UnprocessableRequest
from forcegate_client.http.calculator import RemoteCalculator
from forcegate_client.http.client import Client
from forcegate_client.md.frames import State
from forcegate_client.md.served import ServerDynamics, Together
from forcegate_client.retry import PATIENT

__all__ = ["RemoteDynamics", "RemoteReplicas"]


class RemoteDynamics(ServerDynamics):
    """Dynamics like ASE's whose steps a server takes, of which frames come back as a stream.

    Velocity Verlet at constant energy; with ``temperature_K`` and ``friction`` (1/time, in ASE's
    unit) Langevin dynamics. ``attach``, ``trajectory``, ``logfile``, ``run`` and ``irun`` are
    ASE's. After a lost connection, or while the server is away or restarts, it goes on from the
    last frame by itself, to the last bit as if nothing had happened. Whoever is slow to look slows
    the run down.
    """

    def __init__(
        self,
        atoms: Atoms,
        url: str | None = None,
        *,
        timestep: float,
        model: str = "painn_base",
        version: str | int | None = None,
        digest: str | None = None,
        client: Client | None = None,
        **options: Any,
    ) -> None:
        """``timestep`` in ASE's unit. ``atoms`` get a ``RemoteCalculator`` of ``url`` or ``client``
        and ``model``, unless they have one and neither is named. ``options`` are those of
        ``ServerDynamics`` and ``FrameDynamics``.

        Raises:
            InvalidStructure: if a constraint holds anything but whole atoms.
            ForcegateError: if there can be no server at ``url``.
        """
        if not isinstance(atoms.calc, RemoteCalculator) or url is not None or client is not None:
            atoms.calc = RemoteCalculator(
                url, model, version, digest=digest, client=client, use="md"
            )
        super().__init__(atoms, timestep, **options)

    def _frames(self, until: int) -> Generator[State]:
        for _, state in _moved([self], until):
            yield state
        if self.error is not None:
            raise self.error


class RemoteReplicas:
    """Runs of several structures, which a server moves together; one that fails does so alone.

    ``runs`` has a ``RemoteDynamics`` for each, with observers, ``nsteps``, ``end`` and ``error`` of
    its own. Each has the noise of its place, or of its ``stream``.
    """

    def __init__(
        self,
        structures: Sequence[Atoms],
        url: str | None = None,
        *,
        model: str = "painn_base",
        version: str | int | None = None,
        client: Client | None = None,
        **options: Any,
    ) -> None:
        """``options`` are those of ``RemoteDynamics``.

        Raises:
            ValueError: if there are no structures.
            InvalidStructure: if a constraint holds anything but whole atoms.
        """
        if not structures:
            raise ValueError("no structures; expected at least one")
        shared = client or Client(url, retry=PATIENT)
        for place, atoms in enumerate(structures):
            # What validation says of the model is said once.
            atoms.calc = RemoteCalculator(
                None, model, version, client=shared, use="" if place else "md"
            )
        self.runs = [
            RemoteDynamics(atoms, **({"stream": place} | options))
            for place, atoms in enumerate(structures)
        ]

    def run(self, steps: int = 50) -> bool:
        """Run all steps of all of them; whether none has failed."""
        for _ in self.irun(steps):
            pass
        return all(run.error is None for run in self.runs)

    def irun(self, steps: int = 50) -> Iterator[RemoteDynamics]:
        """As ``run``; yields after each frame the run that it is of.

        Raises:
            ForcegateError: what ended all of them.
        """
        going = [run for run in self.runs if run.error is None]
        for run in going:
            try:
                run.begin(steps)
            except UnprocessableRequest as error:
                run.error = error
            yield run
        while going := [run for run in going if run.error is None and not run.converged()]:
            terms = [run.terms for run in going]
            with closing(_moved(going, going[0].max_steps)) as moved:
                for run, state in moved:
                    run.show(state)
                    yield run
                    # Asked anew, each goes on from where it is.
                    if run.has_left(state, terms[going.index(run)]):
                        break


def _moved(runs: Sequence[RemoteDynamics], until: int) -> Generator[tuple[RemoteDynamics, State]]:
    """To which states ``runs`` come on their way to step ``until``."""
    together = Together(runs, until)
    client: Client = runs[0].atoms.calc.client
    with closing(client.stream(together.request)) as records:
        for record in records:
            place = together.take(record)
            if place is not None:
                run, state = place
                yield runs[run], state
