"""A key, ``fg_<id>_<secret>``: the id finds its record, which knows of the secret a digest only.

The secret is 256 random bits, so a plain SHA-256 of it cannot be searched, and nothing slower is
needed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Annotated, Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

__all__ = ["SCOPES", "KeyRecord", "Scope", "new_key", "now", "redacted", "secret_matches", "split"]

Scope = Literal["predict", "report", "shadow", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

_SECRET_BYTES = 32
_ID_LENGTH = 8
_ID_LETTERS = string.ascii_lowercase + string.digits
_KEY = re.compile(rf"fg_([a-z0-9]{{{_ID_LENGTH}}})_([A-Za-z0-9_-]{{43}})")
# Wider than a key, because one that was cut off or mistyped gives most of itself away.
_TRACE = re.compile(r"fg_([A-Za-z0-9]+)_[A-Za-z0-9_-]+")
# The digest of no secret that anybody will find.
_NOBODY = "0" * 64


class KeyRecord(BaseModel):
    """What is kept of a key: all but its secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern=rf"^[a-z0-9]{{{_ID_LENGTH}}}$")]
    name: str
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]
    created: AwareDatetime
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", repr=False)]
    revoked: AwareDatetime | None = None
    expires: AwareDatetime | None = None
    structures_per_hour: Annotated[int, Field(gt=0)] | None = None

    @property
    def is_expired(self) -> bool:
        """Whether its time is over."""
        return self.expires is not None and datetime.now(UTC) >= self.expires

    @property
    def is_in_force(self) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked is None and not self.is_expired


def new_key(
    name: str,
    scopes: Collection[Scope],
    *,
    expires: datetime | None = None,
    structures_per_hour: int | None = None,
) -> tuple[str, KeyRecord]:
    """A key and its record; the key is not to be found again."""
    key_id = "".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH))
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    record = KeyRecord(
        id=key_id,
        name=name,
        scopes=tuple(scope for scope in SCOPES if scope in scopes),
        created=now(),
        sha256=_digest(secret),
        expires=expires,
        structures_per_hour=structures_per_hour,
    )
    return f"fg_{key_id}_{secret}", record


def now() -> datetime:
    """The time in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def split(key: str) -> tuple[str, str] | None:
    """Id and secret of a key's text; None if it is not one."""
    match = _KEY.fullmatch(key)
    return None if match is None else (match[1], match[2])


def secret_matches(record: KeyRecord | None, secret: str) -> bool:
    """Whether ``secret`` is the record's; takes as long to say no where there is no record."""
    expected = _NOBODY if record is None else record.sha256
    return hmac.compare_digest(_digest(secret), expected)


def redacted(text: str) -> str:
    """``text`` without the secret of anything in it that looks like a key."""
    return _TRACE.sub(r"fg_\1_…", text)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
