"""Where the benchmarks read and write."""

from pathlib import Path

__all__ = ["CACHE", "PEERS", "RESULTS", "ROOT"]

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
# Ignored by git; deleting them costs the time to make them again.
CACHE = ROOT / ".bench" / "cache"
PEERS = ROOT / ".bench" / "peers"
