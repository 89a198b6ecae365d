"""Streams of records, read as a client reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx

from forcegate_client.runs import (
    RUN_PATHS,
    End,
    Frame,
    Record,
    RunHeader,
    RunRequest,
    RunSummary,
)
from forcegate_client.wire import MEDIA_TYPE
from forcegate_client.wire.run_records import JSON_LINES, RECORDS, RecordReader, StreamForm
from forcegate_client.wire.run_request import encode_run

__all__ = ["Run", "bits", "read", "records_of", "sent"]


class Run:
    """What came of a request that was answered to its end."""

    def __init__(self, records: Sequence[Record]) -> None:
        header, summary = records[0], records[-1]
        assert isinstance(header, RunHeader)
        assert isinstance(summary, RunSummary)
        self.header, self.summary = header, summary
        self.frames = [one for one in records if isinstance(one, Frame)]
        self.ends = {one.structure: one for one in records if isinstance(one, End)}

    def of(self, structure: int) -> list[Frame]:
        """The frames of one structure, in order."""
        return [frame for frame in self.frames if frame.structure == structure]


def sent(request: RunRequest) -> dict[str, Any]:
    """The arguments of a POST."""
    return {
        "url": RUN_PATHS[request.task],
        "content": encode_run(request),
        "headers": {"Content-Type": MEDIA_TYPE},
    }


def records_of(response: httpx.Response) -> list[Record]:
    """All records of an answer, which is whole."""
    form: StreamForm = RECORDS if response.headers["content-type"] == RECORDS else JSON_LINES
    reader = RecordReader(form)
    records = list(reader.feed(response.content))
    assert not reader.within_record
    return records


async def read(client: httpx.AsyncClient, request: RunRequest) -> Run:
    """The answer to ``request``."""
    response = await client.post(**sent(request))
    assert response.status_code == 200, response.text
    return Run(records_of(response))


def bits(frame: Frame) -> tuple[int, bytes, bytes, float]:
    """What must be the same, whatever happened on the way."""
    velocities = b"" if frame.velocities is None else frame.velocities.tobytes()
    return frame.step, frame.positions.tobytes(), velocities, frame.energy
