"""Optimizers like ASE's whose steps a server takes; every step is seen here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import aclosing
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.optimize.optimize import DEFAULT_MAX_STEPS, Optimizer

from forcegate_client.constraints import fixed_atoms
from forcegate_client.http.async_client import AsyncClient
from forcegate_client.http.calculator import ModelCalculator, RemoteCalculator, ToldCalculator
from forcegate_client.http.client import Client
from forcegate_client.http.course import error_in, response_of
from forcegate_client.runs import End, Frame, Record, RunHeader, RunRequest
from forcegate_client.structures import StructureBatch

__all__ = ["AsyncRemoteRelaxation", "RemoteRelaxation"]

Method = Literal["fire", "lbfgs"]


class _ServerRelaxation(Optimizer):  # type: ignore[misc]  # ASE has no type information
    """Positions alone move, and of them those that no ``FixAtoms`` holds."""

    def __init__(
        self, atoms: Atoms, method: Method, properties: Sequence[str] = ("forces",), **options: Any
    ) -> None:
        fixed_atoms(atoms)
        self.method: Method = method
        self._properties = tuple(properties)
        self._header: RunHeader | None = None
        self._arrived = False
        # Where the stream that is being read began, and where its last frame was.
        self._base = 0
        self._last: npt.NDArray[np.float64] | None = None
        super().__init__(atoms, **options)

    def gradient_converged(self, gradient: npt.NDArray[np.float64]) -> bool:
        """Whether the server says so, or the forces do."""
        return self._arrived or bool(super().gradient_converged(gradient))

    @property
    def _is_disturbed(self) -> bool:
        """Whether the atoms are not where the stream has left them."""
        return self._last is None or not np.array_equal(self._last, self.atoms.positions)

    def _request(self) -> RunRequest:
        calculator: ModelCalculator = self.atoms.calc
        self._base, self._last = self.nsteps, self.atoms.positions.copy()
        self._arrived = False
        assert self.fmax is not None
        return RunRequest(
            task="relax",
            structures=StructureBatch.from_atoms([self.atoms]),
            model=calculator.model,
            version=calculator.version,
            method=self.method,
            steps=min(int(self.max_steps - self.nsteps), 10**12),
            frame_interval=1,
            properties=self._properties,
            fixed=fixed_atoms(self.atoms),
            fmax=self.fmax,
        )

    def _take(self, record: Record) -> bool:
        """Whether ``record`` has brought the atoms on by a step.

        Raises:
            ForcegateError: if it tells that the relaxation has failed.
        """
        if isinstance(record, RunHeader):
            self._header = record
        if isinstance(record, Frame) and record.step > self.nsteps - self._base:
            assert self._header is not None
            moved = self.atoms.copy()
            moved.arrays["positions"][:] = record.positions
            self.atoms.calc.adopt(moved, response_of(self._header, record))
            self.atoms.arrays["positions"][:] = self._last = record.positions
            return True
        if isinstance(record, End):
            error = error_in(record)
            if error is not None:
                raise error
            self._arrived = record.reason == "converged"
        return False


class RemoteRelaxation(_ServerRelaxation):
    """An optimizer like ASE's whose steps a server takes.

    ``run(fmax, steps)``, ``irun``, ``converged()``, ``attach``, ``trajectory`` and ``logfile`` are
    ASE's. ``method`` is ``fire`` or ``lbfgs``. Should the server restart, the path is the same.
    """

    def __init__(
        self,
        atoms: Atoms,
        url: str | None = None,
        *,
        method: Method = "lbfgs",
        model: str = "painn_base",
        version: str | int | None = None,
        client: Client | None = None,
        **options: Any,
    ) -> None:
        """``atoms`` get a ``RemoteCalculator`` of ``url`` or ``client`` and ``model``, unless they
        have one and neither is named. ``options`` are those of ASE's optimizers.

        Raises:
            InvalidStructure: if a constraint holds anything but whole atoms.
            ForcegateError: if there can be no server at ``url``.
        """
        if not isinstance(atoms.calc, RemoteCalculator) or url is not None or client is not None:
            atoms.calc = RemoteCalculator(url, model, version, client=client, use="relax")
        self._records: Generator[Record] | None = None
        super().__init__(atoms, method, **options)

    def irun(self, fmax: float = 0.05, steps: int = DEFAULT_MAX_STEPS) -> Generator[bool]:
        """Run; yields after each step whether the atoms have converged.

        Raises:
            ForcegateError: what the calculator would have raised.
        """
        self.close_stream()
        try:
            yield from super().irun(fmax, steps)
        finally:
            self.close_stream()

    def run(self, fmax: float = 0.05, steps: int = DEFAULT_MAX_STEPS) -> bool:
        """Run until no atom has a force of ``fmax`` (eV/Å) or more, or all steps are done."""
        return list(self.irun(fmax, steps))[-1]

    def step(self) -> None:
        """The next step of the server's."""
        if self._records is None or self._is_disturbed:
            self.close_stream()
            self._records = self.atoms.calc.client.stream(self._request())
        for record in self._records:
            if self._take(record):
                return
        self.close_stream()

    def close_stream(self) -> None:
        """Want no more steps of the server's."""
        if self._records is not None:
            self._records.close()
        self._records = None


class AsyncRemoteRelaxation(_ServerRelaxation):
    """As ``RemoteRelaxation``, with ``run`` to be awaited and ``irun`` for ``async for``.

    ``atoms.calc`` has what the last step says and computes nothing.
    """

    def __init__(
        self,
        atoms: Atoms,
        client: AsyncClient,
        *,
        method: Method = "lbfgs",
        model: str = "painn_base",
        version: str | int | None = None,
        **options: Any,
    ) -> None:
        """As ``RemoteRelaxation``."""
        self._client = client
        atoms.calc = ToldCalculator(model, version, use="relax")
        super().__init__(atoms, method, **options)

    async def irun(self, fmax: float = 0.05, steps: int = DEFAULT_MAX_STEPS) -> AsyncIterator[bool]:
        """Run; yields after each step whether the atoms have converged.

        Raises:
            ForcegateError: what ended it.
        """
        calculator: ToldCalculator = self.atoms.calc
        if calculator.check_state(self.atoms):
            asked = (self.atoms, calculator.model, calculator.version)
            calculator.adopt(self.atoms, await self._client.predict(*asked))
        self.fmax, self.max_steps = fmax, self.nsteps + steps
        if self.nsteps == 0:
            self._look()
        yield self.converged()
        while not self.converged() and self.nsteps < self.max_steps:
            async with aclosing(self._client.stream(self._request())) as records:
                async for record in records:
                    if self._take(record):
                        self.nsteps += 1
                        self._look()
                        yield self.converged()
                        if self._is_disturbed:
                            break

    async def run(self, fmax: float = 0.05, steps: int = DEFAULT_MAX_STEPS) -> bool:
        """Run until no atom has a force of ``fmax`` (eV/Å) or more, or all steps are done."""
        done = False
        async for now in self.irun(fmax, steps):
            done = now
        return done

    def _look(self) -> None:
        self.log(self.optimizable.get_gradient())
        self.call_observers()
