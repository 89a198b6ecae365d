"""What the log looks like: lines of text or of JSON, with the request's id and without keys."""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from forcegate_service.api.access.keys import redacted
from forcegate_service.settings import Settings

__all__ = ["configure_logging", "current_request_id", "make_formatter"]

current_request_id: ContextVar[str | None] = ContextVar("current_request_id", default=None)


def configure_logging(settings: Settings) -> None:
    """Log to standard error; for the process that serves, and once."""
    handler = logging.StreamHandler()
    handler.setFormatter(make_formatter(settings))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])
    logging.captureWarnings(True)
    if settings.log_level == "info":
        # Its start and stop are told in our own words.
        logging.getLogger("uvicorn").setLevel(logging.WARNING)


def make_formatter(settings: Settings) -> logging.Formatter:
    """What turns a record into a line (of text: into lines, if there is an exception)."""
    if settings.log_format == "json":
        return _JsonLines()
    return _Text("%(asctime)s %(levelname)s %(name)s: %(message)s")


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        # Nothing logs keys on purpose. What is looked at here is what gets written, so no argument,
        # no field and no exception escapes as it might escape a filter of records.
        return redacted(super().format(record))


class _JsonLines(logging.Formatter):
    """One object a line; ``fields`` of a record (given as ``extra``) become its members."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        request_id = current_request_id.get()
        if request_id is not None:
            line["request_id"] = request_id
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        # ASCII only, so that a line is valid whatever encoding the stream has.
        return redacted(json.dumps(line))
