"""The JSON file with the records of all keys: private, whole at every moment, changed in turn."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from forcegate_client.errors import ForcegateError
from forcegate_service.api.access.keys import KeyRecord, Scope, new_key, now

__all__ = ["KeyFileError", "Stamp", "create_key", "read_keys", "revoke_key", "stamp_of"]

_LONGEST_NAME = 100


class KeyFileError(ForcegateError):
    """The file of keys cannot be used, or not in the way that was asked for."""

    default_code = "key_file_error"
    title = "The file of keys cannot be used"


class Stamp(NamedTuple):
    """By which a file is known that was written again, or that others may now read."""

    inode: int
    size: int
    modified_ns: int
    mode: int


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    keys: tuple[KeyRecord, ...] = ()


def read_keys(path: Path) -> tuple[Mapping[str, KeyRecord], Stamp]:
    """All records by id, revoked ones too, and the stamp of the very file that was read.

    Raises:
        KeyFileError: if the file is missing, not private, or not a valid file of keys.
    """
    try:
        # Does not wait for a writer should the path lead to a pipe, which is then refused.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(stream.fileno())
            _require_private(path, status)
            content = stream.read()
    except FileNotFoundError:
        raise KeyFileError(
            f"no key file {path}",
            expected="a file made by `forcegate-serve keys create`",
            action="make the first key, or set FORCEGATE_KEYS_FILE to where the file is",
        ) from None
    except OSError as error:
        raise _unusable(path, error) from error
    return _parse(path, content), _stamp(status)


def stamp_of(path: Path) -> Stamp | None:
    """The stamp of the file as it is now; None if there is none to be seen."""
    try:
        return _stamp(path.stat())
    except OSError:
        return None


def create_key(
    path: Path,
    name: str,
    scopes: Collection[Scope],
    *,
    expires: datetime | None = None,
    structures_per_hour: int | None = None,
) -> str:
    """Add a key to the file, which is made if there is none; returns the key itself.

    It is refused from ``expires`` on, and may ask for ``structures_per_hour``; None is no limit.

    Raises:
        KeyFileError: if the file cannot be used, or the name cannot be shown on a line.
    """
    if not (name.isprintable() and name.strip() and len(name) <= _LONGEST_NAME):
        raise KeyFileError(
            f"the name {name!r}",
            expected=f"1 to {_LONGEST_NAME} printable characters",
            action="name the person or program that gets the key",
        )
    with _alone(path) as file:
        records = dict(read_keys(file)[0]) if file.exists() else {}
        limits: Any = {"expires": expires, "structures_per_hour": structures_per_hour}
        key, record = new_key(name, scopes, **limits)
        while record.id in records:
            key, record = new_key(name, scopes, **limits)
        _write(file, [*records.values(), record])
    return key


def revoke_key(path: Path, key_id: str) -> KeyRecord:
    """Let the key be refused from now on; returns its record. Revoking twice changes nothing.

    Raises:
        KeyFileError: if the file cannot be used, or has no key of this id.
    """
    with _alone(path) as file:
        records = dict(read_keys(file)[0])
        if key_id not in records:
            raise KeyFileError(
                f"the id {key_id!r}",
                expected=f"that of a key in {path}: what stands between fg_ and the next _",
                action="`forcegate-serve keys list` shows all ids",
            )
        if records[key_id].revoked is None:
            records[key_id] = records[key_id].model_copy(update={"revoked": now()})
            _write(file, records.values())
        return records[key_id]


@contextmanager
def _alone(path: Path) -> Iterator[Path]:
    """What ``path`` leads to, while nobody else who asks like this changes it."""
    file = path.resolve()
    try:
        # The folder, because the file itself is replaced, and a lock beside it would stay behind.
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(folder)
    except OSError as error:
        raise _unusable(path, error) from error


def _write(file: Path, records: Collection[KeyRecord]) -> None:
    content = _Content(keys=tuple(records)).model_dump_json(indent=1) + "\n"
    # Made for this user alone.
    descriptor, aside = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            # What root writes must stay readable to the server, which may run as somebody else.
            owner = (file if file.exists() else file.parent).stat()
            if os.geteuid() == 0:
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
        Path(aside).replace(file)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def _parse(path: Path, content: bytes) -> Mapping[str, KeyRecord]:
    try:
        records = _Content.model_validate_json(content).keys
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise _invalid(path, f"{field}: {first['msg']}" if field else first["msg"]) from None
    by_id = {record.id: record for record in records}
    if len(by_id) < len(records):
        raise _invalid(path, "an id that stands in it twice")
    return by_id


def _require_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(
            f"the key file {path}: not a file",
            expected="a file made by `forcegate-serve keys create`",
            action="set FORCEGATE_KEYS_FILE to where it is",
        )
    if status.st_mode & 0o077:
        raise KeyFileError(
            f"the key file {path}: mode {stat.S_IMODE(status.st_mode):o}",
            expected="a file that nobody but its owner can read or write",
            action=f"chmod 600 {path}",
        )


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode)


def _invalid(path: Path, reason: str) -> KeyFileError:
    return KeyFileError(
        f"the key file {path}: {reason}",
        expected="key records of schema 1",
        action="restore the file from a copy, or move it away and make new keys",
    )


def _unusable(path: Path, error: OSError) -> KeyFileError:
    return KeyFileError(
        f"the key file {path}: {error.strerror}",
        expected="a file that this user can use, in a folder that exists",
        action="run as the owner of the file, or set FORCEGATE_KEYS_FILE to another",
    )
