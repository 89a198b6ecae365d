"""A line of the log can be read by people or programs, and holds no key."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from forcegate_service.api.access.keyfile import create_key
from forcegate_service.api.logs import current_request_id, make_formatter
from forcegate_service.settings import Settings

FORMATS = ["text", "json"]


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def logger(request: pytest.FixtureRequest, stream: io.StringIO) -> Iterator[logging.Logger]:
    """One that writes to ``stream`` in the format that the test is given."""
    logger = logging.Logger("forcegate_test")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(make_formatter(Settings(log_format=request.param)))
    logger.addHandler(handler)
    yield logger
    handler.close()


@pytest.fixture
def key(tmp_path: Path) -> str:
    return create_key(tmp_path / "keys.json", "Ada", ["predict"])


@pytest.mark.parametrize("logger", ["json"], indirect=True)
def test_json_is_one_object_a_line(logger: logging.Logger, stream: io.StringIO) -> None:
    logger.warning("two\nlines of %d Å", 7)
    (line,) = stream.getvalue().splitlines()
    document = json.loads(line)
    time = datetime.fromisoformat(document.pop("time"))
    assert time.utcoffset() is not None
    assert document == {
        "level": "warning",
        "logger": "forcegate_test",
        "message": "two\nlines of 7 Å",
    }
    assert line.isascii()


@pytest.mark.parametrize("logger", ["json"], indirect=True)
def test_json_names_the_request_and_tells_the_exception(
    logger: logging.Logger, stream: io.StringIO
) -> None:
    token = current_request_id.set("run-7")
    try:
        raise ValueError("seven")
    except ValueError:
        logger.exception("failed", extra={"fields": {"status": 500}})
    finally:
        current_request_id.reset(token)
    logger.info("later")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["request_id"], first["status"], first["message"]) == ("run-7", 500, "failed")
    assert first["exception"].startswith("Traceback")
    assert first["exception"].endswith("ValueError: seven")
    assert "request_id" not in second


@pytest.mark.parametrize("logger", ["text"], indirect=True)
def test_text_is_time_level_logger_and_message(logger: logging.Logger, stream: io.StringIO) -> None:
    logger.error("seven")
    assert stream.getvalue().endswith(" ERROR forcegate_test: seven\n")


@pytest.mark.parametrize("logger", FORMATS, indirect=True)
def test_no_key_gets_through_wherever_it_stands(
    logger: logging.Logger, stream: io.StringIO, key: str
) -> None:
    _, key_id, secret = key.split("_", 2)
    logger.warning("plain %s", key)
    logger.warning(f"twice {key}{key}, in a URL ?key={key}&b=1, cut off {key[:-9]}")
    logger.warning("as an argument of a type of its own: %r", {"Authorization": [f"Bearer {key}"]})
    logger.warning("as bytes %s, after a newline\n%s", key.encode(), key)
    logger.warning("in a field", extra={"fields": {"caller": key}})
    logger.warning("with a stack", stack_info=True)
    try:
        try:
            raise KeyError(key)
        except KeyError as error:
            raise ValueError(f"because of {key}") from error
    except ValueError:
        logger.exception("in an exception and its cause")
    written = stream.getvalue()
    assert "ValueError" in written
    assert f"fg_{key_id}_…" in written
    for start in range(len(secret) - 8):
        assert secret[start : start + 8] not in written
