"""``python -m forcegate_service.runtimes.process``: the gateway starts it."""

from __future__ import annotations

import argparse
import socket
from functools import partial

from forcegate_service.runtimes.here import open_here, resolve_device
from forcegate_service.runtimes.process.channel import Channel
from forcegate_service.runtimes.process.child import serve
from forcegate_service.runtimes.process.memory import StructureMemory

__all__ = ["main"]


def main() -> None:
    """Serve over the inherited descriptors until the gateway hangs up."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--memory", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--awake-s", type=float, default=0.0)
    given = parser.parse_args()
    channel = Channel(socket.socket(fileno=given.channel))
    opened = partial(open_here, threads=given.threads, device=resolve_device(given.device))
    serve(channel, StructureMemory(given.memory), opened, given.awake_s)


if __name__ == "__main__":
    main()
