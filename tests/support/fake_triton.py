"""Stand-ins for Triton servers: gRPC servers in this process that serve the toy model.

What they say and what their errors are called is as Triton 2.51 has it. They lie, hang, fail, go
away and come back on the same port, as a test wants it.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from forcegate_service.contract.graph import Graph
from forcegate_service.contract.neighbors.pairs import PairList
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.runtimes.fake import FakeRuntime, load_fake
from forcegate_service.runtimes.triton.interface import Tensor, input_tensors, output_tensors

__all__ = ["WAIT_S", "Asked", "FakeTriton", "fake_triton", "free_port", "until"]

# Nothing takes so long but a hang.
WAIT_S = 60.0
_THREADS = 16
_DTYPES = {"FP64": "<f8", "INT64": "<i8"}
_NOT_FOUND, _INTERNAL = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INTERNAL


@dataclass(frozen=True)
class Asked:
    """One inference that a server was asked for: the version, and its inputs as they came."""

    version: str
    arrays: dict[str, npt.NDArray[Any]]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of all inputs."""
        return [array.shape for array in self.arrays.values()]

    def about(self, elements: Iterable[int]) -> bool:
        """Whether an atom of these elements is in it."""
        return bool(np.isin(self.arrays["atomic_numbers"], list(elements)).any())


@dataclass
class FakeTriton:
    """A server for the versions in ``repository``; listens from ``start`` to ``stop``.

    The fields may be changed while it runs. ``scale`` multiplies the answers of a version, as other
    weights would. Structures with ``failing`` elements end with INTERNAL, those with ``holding``
    ones are not answered before ``release``; a ``frozen`` server answers nothing at all.
    ``on_description`` hears of a version before its metadata are given. ``asked`` is all that it
    was ever asked to infer.
    """

    repository: Path
    port: int = 0
    scale: dict[str, float] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    failing: set[int] = field(default_factory=set)
    holding: set[int] = field(default_factory=set)
    frozen: bool = False
    alive: bool = True
    ready: bool = True
    instances: int = 1
    gpus: tuple[int, ...] = ()
    max_batch_size: int = 0
    inputs: tuple[Tensor, ...] = input_tensors(1)
    outputs: tuple[Tensor, ...] = output_tensors(1)
    on_description: Callable[[str], None] = lambda version: None
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._server: grpc.Server | None = None
        self._released = threading.Event()

    @property
    def address(self) -> str:
        """Where it listens, once it was started."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen; always on the same port, even while another one still does."""
        assert self._server is None
        self._released = threading.Event()
        self._pool = ThreadPoolExecutor(_THREADS, "fake-triton")
        self._server = grpc.server(self._pool)
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Servicer(self), self._server)
        self.port = self._server.add_insecure_port(self.address)
        self._server.start()

    def retire(self) -> None:
        """Take nothing new, but finish what was begun, as a server does that is asked to end."""
        assert self._server is not None
        self._server.stop(WAIT_S)

    def stop(self) -> None:
        """Go away at once, in the middle of whatever it is doing."""
        if self._server is not None:
            stopped = self._server.stop(0)
            # Nobody hears any more what the threads have to say, but they must end.
            self._released.set()
            assert stopped.wait(WAIT_S)
            self._server = None
            self._pool.shutdown()

    def release(self) -> None:
        """Answer what was held back, and hold nothing back any more."""
        self.holding.clear()
        self.frozen = False
        self._released.set()

    def asked_about(self, *elements: int) -> int:
        """How often it was asked about structures with one of ``elements``."""
        return sum(asked.about(elements) for asked in list(self.asked))

    def pause(self) -> None:
        """Wait until it is released or stopped."""
        assert self._released.wait(WAIT_S)

    def runtime(self, name: str, version: str, context: grpc.ServicerContext) -> FakeRuntime:
        """The toy, unless it is not there."""
        folder = self.repository / name / version
        if version in self.absent or not folder.is_dir():
            context.abort(
                _NOT_FOUND, f"Request for unknown model: '{name}' version {version} is not found"
            )
        return load_fake(folder)


class _Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """The calls that forcegate makes; the names are those of Triton's protocol."""

    def __init__(self, triton: FakeTriton) -> None:
        self._triton = triton

    def ServerLive(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self._wait()
        return service_pb2.ServerLiveResponse(live=self._triton.alive)

    def ServerReady(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self._wait()
        return service_pb2.ServerReadyResponse(ready=self._triton.ready)

    def ModelReady(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self._wait()
        self._triton.runtime(request.name, request.version, context)
        return service_pb2.ModelReadyResponse(ready=True)

    def ModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self._wait()
        self._triton.on_description(request.version)
        self._triton.runtime(request.name, request.version, context)
        response = service_pb2.ModelMetadataResponse(
            name=request.name, versions=[request.version], platform="python"
        )
        # Triton shows the axis along which it would batch as part of the shape.
        leading = [-1] if self._triton.max_batch_size else []
        for kind in ("inputs", "outputs"):
            for tensor in getattr(self._triton, kind):
                getattr(response, kind).add(
                    name=tensor.name, datatype=tensor.kind, shape=[*leading, *tensor.dims]
                )
        return response

    def ModelConfig(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self._wait()
        self._triton.runtime(request.name, request.version, context)
        config = model_config_pb2.ModelConfig(
            name=request.name, backend="python", max_batch_size=self._triton.max_batch_size
        )
        groups = model_config_pb2.ModelInstanceGroup
        config.instance_group.add(
            kind=getattr(groups, "KIND_GPU" if self._triton.gpus else "KIND_CPU"),
            count=self._triton.instances,
            gpus=self._triton.gpus,
        )
        return service_pb2.ModelConfigResponse(config=config)

    def ModelInfer(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self._wait()
        triton = self._triton
        version = request.model_version
        runtime = triton.runtime(request.model_name, version, context)
        asked = Asked(version, _arrays(request))
        triton.asked.append(asked)
        if asked.about(triton.holding):
            triton.pause()
        if asked.about(triton.failing):
            context.abort(_INTERNAL, "the model failed: index out of range in self")
        arrays = [asked.arrays[tensor.name] for tensor in triton.inputs]
        positions, numbers, edge_index, edge_shift, _, n_atoms, *pairs = arrays
        # The toy looks at the edges alone.
        cells, pbc = np.zeros((len(n_atoms), 3, 3)), np.zeros((len(n_atoms), 3), dtype=np.bool_)
        lists = PairList(*pairs) if pairs else None
        graph = Graph(positions, numbers, n_atoms, cells, pbc, edge_index, edge_shift, lists)
        output = runtime.evaluate(graph)
        factor = triton.scale.get(version, 1.0)
        response = service_pb2.ModelInferResponse(
            model_name=request.model_name, model_version=version
        )
        for tensor in triton.outputs:
            column = factor * getattr(output, _field(tensor))
            response.outputs.add(name=tensor.name, datatype=tensor.kind, shape=column.shape)
            response.raw_output_contents.append(column.astype("<f8").tobytes())
        return response

    def _wait(self) -> None:
        if self._triton.frozen:
            self._triton.pause()


def _field(tensor: Tensor) -> str:
    return ModelOutput._fields[output_tensors(2).index(tensor)]


def _arrays(request: Any) -> dict[str, npt.NDArray[Any]]:
    pairs = zip(request.inputs, request.raw_input_contents, strict=True)
    return {
        given.name: np.frombuffer(raw, _DTYPES[given.datatype]).reshape(given.shape)
        for given, raw in pairs
    }


@contextmanager
def fake_triton(repository: Path, **options: Any) -> Iterator[FakeTriton]:
    """A server that is there, and gone afterwards."""
    triton = FakeTriton(repository, **options)
    triton.start()
    try:
        yield triton
    finally:
        triton.stop()


def free_port() -> int:
    """On which nobody listens yet."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def until(condition: Callable[[], bool]) -> None:
    """Wait for ``condition``, which comes true in a moment or never."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
