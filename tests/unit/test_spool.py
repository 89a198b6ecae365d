"""A spool holds whole files, so many at most; each has one reader, and none is lost with it."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from forcegate_service.watch.shadow.record import (
    ShadowRecord,
    ShadowStructure,
    SpoolFileUnreadable,
    decode,
    encode,
)
from forcegate_service.watch.shadow.spool import Spool, SpoolFull


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spool(folder: Path) -> Spool:
    spool = Spool(folder)
    spool.open()
    return spool


def claimed(spool: Spool) -> bytes:
    claim = spool.claim()
    assert claim is not None
    return claim.content


def test_what_was_put_is_claimed_in_its_order_and_then_gone(spool: Spool, folder: Path) -> None:
    for content in (b"first", b"second"):
        spool.put(content)
    for content in (b"first", b"second"):
        claim = spool.claim()
        assert claim is not None
        assert (claim.content, claim.attempt) == (content, 1)
        claim.done()
    assert spool.claim() is None
    assert list(folder.iterdir()) == []


def test_the_folder_and_its_files_are_this_user_s_alone(spool: Spool, folder: Path) -> None:
    spool.put(b"a structure of somebody")
    (path,) = folder.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_that_others_can_read_is_not_used(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    with pytest.raises(PermissionError, match="700"):
        Spool(folder).open()


@pytest.mark.parametrize(
    "limits", [{"max_files": 3, "max_bytes": 1000}, {"max_files": 1000, "max_bytes": 30}]
)
def test_a_full_spool_takes_nothing_until_something_is_done_and_a_second_has_passed(
    folder: Path, limits: dict[str, int]
) -> None:
    now = 0.0
    spool = Spool(folder, **limits, clock=lambda: now)
    spool.open()
    for _ in range(3):
        spool.put(b"ten  bytes")
    with pytest.raises(SpoolFull):
        spool.put(b"ten  bytes")
    assert len(list(folder.iterdir())) == 3
    claim = spool.claim()
    assert claim is not None
    claim.done()
    with pytest.raises(SpoolFull):
        spool.put(b"ten  bytes")
    now = 1.0
    spool.put(b"ten  bytes")
    with pytest.raises(SpoolFull):
        spool.put(b"ten  bytes")


def test_what_an_earlier_life_left_counts(folder: Path) -> None:
    for _ in range(3):
        Spool(folder, max_files=3).put(b"x")
    with pytest.raises(SpoolFull):
        Spool(folder, max_files=3).put(b"x")


def test_a_half_written_file_is_nobody_s_and_goes_when_it_is_old(
    spool: Spool, folder: Path
) -> None:
    leftover = folder / f".{time.time_ns():020d}-{'a' * 8}.0.msgpack.tmp"
    leftover.write_bytes(b"half of a fi")
    assert spool.claim() is None
    # Of a writer that may be at work.
    Spool(folder).open()
    assert leftover.exists()
    os.utime(leftover, (1.0, 1.0))
    Spool(folder).open()
    assert not leftover.exists()


def test_two_readers_never_hold_the_same_file(spool: Spool, folder: Path) -> None:
    for number in range(3):
        spool.put(str(number).encode())
    other = Spool(folder)
    held = [claim for claim in (spool.claim(), other.claim(), spool.claim()) if claim]
    assert [claim.content for claim in held] == [b"0", b"1", b"2"]
    assert other.claim() is None


def test_what_is_released_is_claimed_again_as_if_for_the_first_time(spool: Spool) -> None:
    spool.put(b"x")
    for _ in range(2):
        claim = spool.claim()
        assert claim is not None
        assert claim.attempt == 1
        claim.release()


KILLED = """
import os, signal, sys
from pathlib import Path
from forcegate_service.watch.shadow.spool import Spool
assert Spool(Path(sys.argv[1])).claim() is not None
print("claimed", flush=True)
signal.pause()
"""


def test_what_a_killed_reader_held_is_taken_up_and_counts_as_another_attempt(
    spool: Spool, folder: Path
) -> None:
    spool.put(b"x")
    reader = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert reader.stdout is not None
    assert reader.stdout.readline() == "claimed\n"
    assert spool.claim() is None
    reader.send_signal(signal.SIGKILL)
    reader.wait()
    reader.stdout.close()
    claim = spool.claim()
    assert claim is not None
    assert (claim.content, claim.attempt) == (b"x", 2)


def record() -> ShadowRecord:
    rng = np.random.default_rng(0)
    structures = [
        ShadowStructure(
            id=str(n) * 32,
            atomic_numbers=np.arange(1, n + 1),
            positions=rng.normal(size=(n, 3)),
            energy=float(rng.normal()),
            forces=rng.normal(size=(n, 3)),
        )
        for n in (1, 4)
    ]
    teacher = {"name": "x:y", "version": "1", "settings": {"accuracy": 0.1}}
    return ShadowRecord("m", "2", "sha256:0", teacher, structures)


def test_a_record_survives_its_file_bit_for_bit() -> None:
    before = record()
    after = decode(encode(before))
    assert (after.model, after.version, after.digest) == ("m", "2", "sha256:0")
    assert after.teacher == before.teacher
    for one, other in zip(before.structures, after.structures, strict=True):
        assert (one.id, one.energy) == (other.id, other.energy)
        for name in ("atomic_numbers", "positions", "forces"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_a_file_that_was_cut_anywhere_is_said_to_be_unreadable() -> None:
    whole = encode(record())
    for length in range(len(whole)):
        with pytest.raises(SpoolFileUnreadable):
            decode(whole[:length])
