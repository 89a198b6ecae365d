"""``python -m forcegate_service.inference``: started by the gateway, of no use to anybody else."""

from __future__ import annotations

import argparse
import socket

from forcegate_service.inference.channel import Channel
from forcegate_service.inference.memory import GraphMemory

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

    import torch

    from forcegate_service.compilation.build_id import build_id, resolve_device
    from forcegate_service.inference.child import serve
    from forcegate_service.inference.modules import VerifiedModules

    torch.set_num_threads(given.threads)
    device = resolve_device(given.device)
    channel = Channel(socket.socket(fileno=given.channel))
    greeting = [device, build_id(device, given.threads)]
    memory = GraphMemory(given.memory)
    serve(channel, memory, VerifiedModules(device), greeting, given.awake_s)


if __name__ == "__main__":
    main()
