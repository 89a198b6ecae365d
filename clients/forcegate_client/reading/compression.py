"""Files that may be compressed, as streams of the bytes inside."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from forcegate_client.reading.formats import COMPRESSED

__all__ = ["Bytes", "opened", "uncompressed"]

# What the first bytes of a compressed file are, whatever it is called.
_MAGIC: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
_DAMAGED = (EOFError, OSError, zlib.error, lzma.LZMAError)


class Bytes(io.RawIOBase):
    """A stream to read and seek in that ends where its compressed data are damaged.

    ``damage`` then says how; what came before is as good as ever.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.damage = ""

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is; going back in compressed data begins again from the front."""
        return True

    def readinto(self, buffer: object) -> int:
        """As many bytes as there are, at most as many as ``buffer`` takes."""
        view = memoryview(cast(bytearray, buffer)).cast("B")
        try:
            data = self._stream.read(len(view))
        except _DAMAGED as error:
            self.damage = str(error) or type(error).__name__
            return 0
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go there; not beyond the damage."""
        try:
            return self._stream.seek(offset, whence)
        except _DAMAGED as error:
            self.damage = str(error) or type(error).__name__
            return self._stream.tell()

    def tell(self) -> int:
        """Where it stands among the bytes inside."""
        return self._stream.tell()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        super().close()


def opened(path: Path) -> tuple[io.BufferedReader, Bytes]:
    """A buffered stream of the bytes in ``path``, and the raw one that knows of damage."""
    with path.open("rb") as file:
        head = file.read(6)
    unpack = next((unpack for magic, unpack in _MAGIC.items() if head.startswith(magic)), None)
    stream = path.open("rb") if unpack is None else unpack(path)
    raw = Bytes(stream)
    return io.BufferedReader(raw, 1 << 16), raw


@contextmanager
def uncompressed(path: Path) -> Iterator[Path]:
    """The path of a file with the bytes inside ``path``: itself, or a temporary one."""
    with path.open("rb") as file:
        head = file.read(6)
    if not any(head.startswith(magic) for magic in _MAGIC):
        yield path
        return
    name = path.name
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    with tempfile.TemporaryDirectory(prefix="forcegate-") as folder:
        target = Path(folder) / name
        buffered, raw = opened(path)
        with buffered, target.open("wb") as out:
            shutil.copyfileobj(buffered, out)
        if raw.damage:
            raise EOFError(f"its compressed data are damaged: {raw.damage}")
        yield target
