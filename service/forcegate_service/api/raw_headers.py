"""A request's headers as they came, decoded when somebody asks for one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from starlette.types import Scope

__all__ = ["RawHeaders", "headers_of"]


class RawHeaders(Mapping[str, str]):
    """Headers by their names in lower case; of one that is there twice, the first."""

    def __init__(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        self._pairs = pairs
        # As the framework reads them.
        self._values = dict(reversed(pairs))

    def __getitem__(self, name: str) -> str:
        return self._values[name.encode("latin-1")].decode("latin-1")

    # That of Mapping raises and catches an error for each header that is not there.
    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """The value of one, ``default`` if there is none."""
        value = self._values.get(name.encode("latin-1"))
        return default if value is None else value.decode("latin-1")

    def among(self, names: frozenset[bytes]) -> tuple[tuple[bytes, bytes], ...]:
        """Those with one of ``names``, as they came: to be remembered what they mean."""
        return tuple([pair for pair in self._pairs if pair[0] in names])

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._values)

    def __len__(self) -> int:
        return len(self._values)


def headers_of(request: Scope) -> RawHeaders:
    """Those of an ASGI request, whoever asks for them first."""
    found: RawHeaders | None = request["state"].get("headers")
    if found is None:
        found = request["state"]["headers"] = RawHeaders(request["headers"])
    return found
