"""``RemoteDynamics`` for programs that run on an event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from ase import Atoms

from forcegate_client.http.async_client import AsyncClient
from forcegate_client.http.calculator import ToldCalculator
from forcegate_client.md.served import ServerDynamics, Together

__all__ = ["AsyncRemoteDynamics"]


class AsyncRemoteDynamics(ServerDynamics):
    """As ``RemoteDynamics``, with ``run`` to be awaited and ``irun`` for ``async for``.

    Observers are plain functions. ``atoms.calc`` has what the last frame says and computes nothing:
    what it does not have is a ``PropertyNotImplementedError``. Each run is a request of ``client``
    that is under way until its end, so that as many run at a time as it has ``connections``.
    """

    def __init__(
        self,
        atoms: Atoms,
        client: AsyncClient,
        *,
        timestep: float,
        model: str = "painn_base",
        version: str | int | None = None,
        digest: str | None = None,
        **options: Any,
    ) -> None:
        """As ``RemoteDynamics``."""
        self._client = client
        atoms.calc = ToldCalculator(model, version, digest=digest, use="md")
        super().__init__(atoms, timestep, **options)

    async def irun(self, steps: int = 50) -> AsyncIterator[bool]:  # type: ignore[override]
        """Run; yields after each frame whether all steps are done.

        Raises:
            ForcegateError: what ended the run.
        """
        calculator: ToldCalculator = self.atoms.calc
        if self.nsteps == 0:
            response = await self._client.predict(self.atoms, calculator.model, calculator.version)
            calculator.adopt(self.atoms, response)
        self.begin(steps)
        yield self.converged()
        while not self.converged():
            terms, together = self.terms, Together([self], self.max_steps)
            async with aclosing(self._client.stream(together.request)) as records:
                async for record in records:
                    place = together.take(record)
                    if place is None:
                        continue
                    self.show(place[1])
                    yield self.converged()
                    if self.has_left(place[1], terms):
                        break
            if self.error is not None:
                raise self.error

    async def run(self, steps: int = 50) -> bool:  # type: ignore[override]
        """Run all steps."""
        done = False
        async for now in self.irun(steps):
            done = now
        return done
