"""All Triton servers behind an address, asked from any thread."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.errors import ModelAbsent, nobody_evaluates
from forcegate_service.contract.graph import Graph, listed
from forcegate_service.contract.reference import reference_graph
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.contract.size import torchscript_need
from forcegate_service.contract.structures import Structures, merge
from forcegate_service.runtimes.triton.client import ConnectionLost, NotServed
from forcegate_service.runtimes.triton.link import Link

__all__ = ["TritonRuntime", "TritonServers"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

# Servers come and go behind one name.
_RESOLVE_AGAIN_S = 5.0
_LOOK_S = 0.1
_TELL_EVERY_S = 30.0


class TritonServers:
    """Connections to each server behind ``addresses``, on an event loop and a thread of their own.

    Every address of a name is a server by itself: a check must have been passed by the very
    process that answers. The one with the least to do is asked; a batch whose server goes away is
    asked of another one.
    """

    def __init__(self, addresses: str, timeout_s: float) -> None:
        """``addresses`` are ``host:port``, several of them separated by commas."""
        self._addresses = [part.strip() for part in addresses.split(",") if part.strip()]
        self._timeout_s = timeout_s
        self._cards: dict[str, ModelCard] = {}
        self._links: dict[str, Link] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="forcegate-triton", daemon=True
        )
        self._thread.start()
        self._resolving = self._call(self._start())

    def open(self, folder: Path) -> TritonRuntime:
        """The version in ``folder``, as the servers have it.

        Raises:
            ModelRefused: if the files do not match the card.
            ModelAbsent: if no server has what it describes.
            RuntimeUnavailable: if no server is there.
        """
        card = ModelCard.load(folder)
        self._call(self._open(card))
        return TritonRuntime(self, card)

    def available(self) -> bool:
        """Whether any server is there, and has anything of what was opened."""
        cards = list(self._cards.values())
        return any(
            link.connected and (not cards or any(map(link.instances, cards)))
            for link in list(self._links.values())
        )

    async def reached(self) -> None:
        """Return when a server is there; may be awaited on any loop."""
        waited = 0.0
        while not self.available():
            if waited >= _TELL_EVERY_S:
                logger.warning("still no Triton server at %s", ", ".join(self._addresses))
                waited = 0.0
            await asyncio.sleep(_LOOK_S)
            waited += _LOOK_S

    def lanes(self) -> int:
        """Batches that all servers together compute at the same time, one model at a time."""
        cards = list(self._cards.values())
        return max((self.instances(card) for card in cards), default=1) or 1

    def instances(self, card: ModelCard) -> int:
        """How many instances of a version all servers have together."""
        return sum(link.instances(card) for link in list(self._links.values()))

    def evaluate(self, card: ModelCard, structures: Structures) -> ModelOutput:
        """The answer of any server that has the version.

        Raises:
            RuntimeFault: if the model failed on it.
            RuntimeUnavailable: if no server answers.
        """
        graph = listed(structures, *card.reach)
        if graph.n_edges:
            return self._call(self._evaluate(card, graph))
        # Triton's backends do not agree on tensors without elements; so something has edges.
        both = listed(merge([graph, reference_graph(card)]), *card.reach)
        return _first(self._call(self._evaluate(card, both)), graph)

    def forget(self, card: ModelCard) -> None:
        """Look for one version no longer."""
        self._call(self._forget(card))

    def close(self) -> None:
        """Hang up everywhere and end the thread."""
        with suppress(RuntimeError):
            self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _start(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._keep_resolving())

    async def _stop(self) -> None:
        self._resolving.cancel()
        with suppress(asyncio.CancelledError):
            await self._resolving
        await asyncio.gather(*(link.stop() for link in self._links.values()))
        self._links.clear()

    async def _keep_resolving(self) -> None:
        while True:
            found = await self._resolve()
            if found is not None:
                for address in found - self._links.keys():
                    self._links[address] = Link(address, self._timeout_s, self._cards)
                for address in self._links.keys() - found:
                    await self._links.pop(address).stop()
            await asyncio.sleep(_RESOLVE_AGAIN_S)

    async def _resolve(self) -> set[str] | None:
        """The servers that there are now; None if that cannot be told."""
        found: set[str] = set()
        for address in self._addresses:
            host, _, port = address.rpartition(":")
            try:
                infos = await self._loop.getaddrinfo(
                    host.strip("[]"), port, type=socket.SOCK_STREAM
                )
            except (OSError, UnicodeError) as error:
                logger.warning("%s cannot be resolved: %s", address, error)
                return None
            for family, *_, place in infos:
                kind = "ipv6:[{}]:{}" if family == socket.AF_INET6 else "ipv4:{}:{}"
                found.add(kind.format(place[0], place[1]))
        return found

    async def _open(self, card: ModelCard) -> None:
        name = f"{card.name}/{card.version}"
        self._cards[name] = card
        links = list(self._links.values())
        found = await asyncio.gather(*(_looked_for(link, card) for link in links))
        if None in found:
            return
        del self._cards[name]
        reasons = [
            f"Triton at {link.address}: {reason}"
            for link, reason in zip(links, found, strict=True)
            if reason
        ]
        if not reasons:
            raise nobody_evaluates()
        raise ModelAbsent(
            f"{card.name} version {card.version}, which no server has: " + "; ".join(reasons),
            expected="a Triton server that serves the gateway's model repository",
            action="look at Triton's own log; give both the same repository",
        )

    async def _forget(self, card: ModelCard) -> None:
        self._cards.pop(f"{card.name}/{card.version}", None)
        for link in self._links.values():
            link.forget(card)

    async def _evaluate(self, card: ModelCard, graph: Graph) -> ModelOutput:
        asked: set[str] = set()
        while True:
            link = self._least_busy(card, asked)
            if link is None:
                raise nobody_evaluates(f"no Triton server has {card.name} version {card.version}")
            asked.add(link.address)
            try:
                return await link.evaluate(card, graph)
            except (ConnectionLost, NotServed) as error:
                logger.warning("Triton at %s did not answer: %s", link.address, error)

    def _least_busy(self, card: ModelCard, asked: set[str]) -> Link | None:
        able = [
            link
            for address, link in self._links.items()
            if address not in asked and link.instances(card)
        ]
        return min(able, key=lambda link: link.in_flight(card) / link.instances(card), default=None)


class TritonRuntime:
    """One version of a model, on as many servers as have it."""

    def __init__(self, servers: TritonServers, card: ModelCard) -> None:
        self.card = card
        self.memory = torchscript_need(card.architecture)
        self._servers = servers

    @property
    def concurrency(self) -> int:
        """A batch for each instance, and one that is on its way meanwhile."""
        return self._servers.instances(self.card) + 1

    def evaluate(self, structures: Structures) -> ModelOutput:
        """The model's answer for all ``structures``.

        Raises:
            RuntimeFault: if the model failed on it.
            RuntimeUnavailable: if no server answers.
        """
        return self._servers.evaluate(self.card, structures)

    def close(self) -> None:
        """Let the servers' versions be looked for no longer."""
        self._servers.forget(self.card)


async def _looked_for(link: Link, card: ModelCard) -> str | None:
    """Why a server does not have a version, empty if nobody is there; None if it has it."""
    try:
        return await link.look_for(card)
    except ConnectionLost:
        return ""


def _first(output: ModelOutput, graph: Graph) -> ModelOutput:
    """The rows of ``graph``, which stood before others."""
    structures, atoms = len(graph.n_atoms), len(graph.atomic_numbers)
    return ModelOutput(
        energy=output.energy[:structures],
        forces=output.forces[:atoms],
        virial=output.virial[:structures],
        energy_uncertainty=output.energy_uncertainty[:structures],
        atom_novelty=output.atom_novelty[:atoms],
    )
