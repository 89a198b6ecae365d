"""One Triton server: looked for, recognised, asked, and looked at again."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress

from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.errors import ModelRefused, RuntimeFault
from forcegate_service.contract.graph import Graph
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.runtimes.triton.client import Connection, ConnectionLost, NotServed
from forcegate_service.runtimes.triton.recognition import recognised

__all__ = ["Link"]

logger = logging.getLogger(__name__)

_PAUSE_S = 0.5
# A server can be told to load other weights without going away.
_LOOK_AGAIN_S = 5.0


class Link:
    """Keeps a connection to the server at ``address``; lives on one event loop.

    Nothing is asked of it before all ``cards`` were looked for at this very connection. A version
    that was not recognised is not asked for, and looked for again every few seconds.
    """

    def __init__(self, address: str, timeout_s: float, cards: Mapping[str, ModelCard]) -> None:
        self.address = address
        self._timeout_s = timeout_s
        self._cards = cards
        self._connection: Connection | None = None
        # By name and version: how many instances there are, or why there are none.
        self._found: dict[str, int | str] = {}
        self._in_flight: Counter[str] = Counter()
        self._silent = False
        self._dropped = asyncio.Event()
        self._keeping = asyncio.create_task(self._keep())

    @property
    def connected(self) -> bool:
        """Whether the server is there, whatever it serves."""
        return self._connection is not None

    def instances(self, card: ModelCard) -> int:
        """How many batches of a version it computes at the same time; 0 if it is not served."""
        found = self._found.get(_key(card)) if self.connected else None
        return found if isinstance(found, int) else 0

    def in_flight(self, card: ModelCard) -> int:
        """How many batches of a version it has been given and has not answered."""
        return self._in_flight[_key(card)]

    async def look_for(self, card: ModelCard) -> str | None:
        """Recognise one version now; why that failed, if it did.

        Raises:
            ConnectionLost: if the server is not there.
        """
        connection = self._connection
        if connection is None:
            raise ConnectionLost(f"no connection to {self.address}")
        await self._recognise(connection, card)
        found = self._found[_key(card)]
        return found if isinstance(found, str) else None

    async def evaluate(self, card: ModelCard, graph: Graph) -> ModelOutput:
        """The answer of a version that is served here.

        Raises:
            RuntimeFault: if the model failed on it.
            ConnectionLost: if it was not answered.
            NotServed: if the server does not have it any more.
        """
        connection = self._connection
        if connection is None:
            raise ConnectionLost(f"no connection to {self.address}")
        self._in_flight[_key(card)] += 1
        try:
            return await connection.evaluate(card, graph)
        except NotServed as error:
            self._note(card, str(error))
            raise
        except ConnectionLost as error:
            self._drop(connection, str(error))
            raise
        finally:
            self._in_flight[_key(card)] -= 1

    def forget(self, card: ModelCard) -> None:
        """What was found of a version does not count any more."""
        self._found.pop(_key(card), None)

    async def stop(self) -> None:
        """Hang up."""
        self._keeping.cancel()
        with suppress(asyncio.CancelledError):
            await self._keeping

    async def _keep(self) -> None:
        while True:
            connection = Connection(self.address, self._timeout_s)
            lost = None
            try:
                await connection.connected()
                # From now on: whoever was recognised must still be there when the others were.
                lost = asyncio.create_task(connection.lost())
                await self._recognise_all(connection)
                if not connection.intact():
                    raise ConnectionLost("the connection went while models were looked for")
                self._connection, self._silent = connection, False
                self._dropped.clear()
                logger.info("connected to Triton at %s", self.address)
                await self._look_after(connection, lost)
            except ConnectionLost as error:
                self._drop(connection, str(error))
            except Exception:
                # A defect of ours must not leave the server unwatched for ever.
                logger.exception("Triton at %s", self.address)
                self._connection = None
            finally:
                self._connection = None
                if lost is not None:
                    lost.cancel()
                await connection.close()
            await asyncio.sleep(_PAUSE_S)

    async def _look_after(self, connection: Connection, lost: asyncio.Task[None]) -> None:
        """Return when the connection is not to be used any more."""
        dropped = asyncio.create_task(self._dropped.wait())
        try:
            while self._connection is connection:
                done, _ = await asyncio.wait(
                    {lost, dropped}, timeout=_LOOK_AGAIN_S, return_when=asyncio.FIRST_COMPLETED
                )
                if done:
                    raise ConnectionLost("the connection is gone")
                await connection.connected()
                await self._recognise_all(connection)
        finally:
            dropped.cancel()

    async def _recognise_all(self, connection: Connection) -> None:
        for card in list(self._cards.values()):
            await self._recognise(connection, card)

    async def _recognise(self, connection: Connection, card: ModelCard) -> None:
        try:
            found: int | str = await recognised(connection, card)
        except (ModelRefused, NotServed, RuntimeFault) as error:
            found = str(error)
        self._note(card, found)

    def _note(self, card: ModelCard, found: int | str) -> None:
        before = self._found.get(_key(card))
        self._found[_key(card)] = found
        if found == before:
            return
        name = f"{card.name} version {card.version}"
        if isinstance(found, str):
            logger.error("%s is not asked of Triton at %s: %s", name, self.address, found)
        else:
            logger.info("Triton at %s has %d instance(s) of %s", self.address, found, name)

    def _drop(self, connection: Connection, reason: str) -> None:
        if self._connection is connection:
            self._connection = None
            self._dropped.set()
            logger.error("Triton at %s is away: %s", self.address, reason)
        elif not self._silent:
            self._silent = True
            logger.warning("no Triton at %s: %s; it is looked for", self.address, reason)


def _key(card: ModelCard) -> str:
    return f"{card.name}/{card.version}"
