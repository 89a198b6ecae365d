"""Packages for the models that are served: from the cache at once, else built meanwhile."""

from __future__ import annotations

import logging
import threading
from queue import SimpleQueue

from forcegate_client.errors import ForcegateError
from forcegate_service.card import PROGRAM_NAME
from forcegate_service.compilation.build import Build
from forcegate_service.compilation.cache import PackageCache
from forcegate_service.errors import CompilationFailed
from forcegate_service.inference.host import HostedRuntime, InferenceEvents, InferenceHost
from forcegate_service.kernel.shape import KernelShape

__all__ = ["Compilation"]

logger = logging.getLogger(__name__)


class Compilation:
    """Builds what is missing, one after another, while TorchScript serves.

    Nothing here can keep a model from being served: every failure is one line in the log.
    """

    def __init__(
        self,
        host: InferenceHost,
        cache: PackageCache,
        device: str,
        threads: int,
        events: InferenceEvents,
    ) -> None:
        self._host = host
        self._cache = cache
        self._device = device
        self._threads = threads
        self._events = events
        self._queue: SimpleQueue[HostedRuntime | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._build: Build | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="forcegate-compile", daemon=True)
        self._thread.start()

    def consider(self, runtime: HostedRuntime) -> None:
        """Compiled code for ``runtime``: now if the cache has it, later if it can be built."""
        card = runtime.card
        if PROGRAM_NAME not in card.files and KernelShape.of(card.architecture) is None:
            logger.info(
                "%s version %s is served by TorchScript alone: the kernel does not know its "
                "architecture, and it has no %s, which `forcegate-train export-program` adds",
                *(card.name, card.version, PROGRAM_NAME),
            )
            return
        package = self._cache.find(self._cache.key(card, self._host.build_id()))
        if package is None:
            self._queue.put(runtime)
            return
        try:
            runtime.adopt(package)
            logger.info("%s version %s: compiled code from the cache", card.name, card.version)
        except ForcegateError as error:
            _report(runtime, error)

    def close(self) -> None:
        """End the build that runs, and start no other."""
        with self._lock:
            self._closing = True
            if self._build is not None:
                self._build.stop()
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (runtime := self._queue.get()) is not None and not self._closing:
            try:
                self._compile(runtime)
            except ForcegateError as error:
                if not self._closing:
                    _report(runtime, error)
            except Exception:
                logger.exception("compiling %s failed", runtime.card.name)

    def _compile(self, runtime: HostedRuntime) -> None:
        card = runtime.card
        with self._lock:
            if self._closing:
                return
            cache = self._cache.folder.parent
            self._build = Build(runtime.folder, cache, self._device, self._threads)
        logger.info(
            "%s version %s: compiling in the background; TorchScript serves meanwhile",
            *(card.name, card.version),
        )
        try:
            built = self._build.wait()
        finally:
            with self._lock:
                self._build = None
        if self._closing:
            raise CompilationFailed("the server is stopping")
        runtime.adopt(built.package)
        self._events.compile_took(card, built.seconds)
        logger.info(
            "%s version %s: compiled in %.0f s and in use; forces within %.1g eV/Å of TorchScript",
            *(card.name, card.version, built.seconds, built.deviation),
        )


def _report(runtime: HostedRuntime, error: Exception) -> None:
    card = runtime.card
    logger.warning("%s version %s: TorchScript serves: %s", card.name, card.version, error)
