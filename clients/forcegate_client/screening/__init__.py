"""Screening of large libraries: resumable, sharded, one row of numbers for each structure."""

from forcegate_client.screening.manifest import Shard
from forcegate_client.screening.merging import merge
from forcegate_client.screening.screening import NO_RETRIES, Progress, Screened, screen
from forcegate_client.screening.tasks import SinglePoint, Task

__all__ = [
    "NO_RETRIES",
    "Progress",
    "Screened",
    "Shard",
    "SinglePoint",
    "Task",
    "merge",
    "screen",
]
