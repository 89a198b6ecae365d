"""A request's headers as they came, decoded when somebody asks for one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

__all__ = ["RawHeaders"]


class RawHeaders(Mapping[str, str]):
    """Headers by their names in lower case; of one that is there twice, the first."""

    def __init__(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        # As the framework reads them.
        self._values = dict(reversed(pairs))

    def __getitem__(self, name: str) -> str:
        return self._values[name.encode("latin-1")].decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._values)

    def __len__(self) -> int:
        return len(self._values)
