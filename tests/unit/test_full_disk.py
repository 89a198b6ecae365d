"""A disk without room costs what was to be written, and nothing that was there before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from forcegate_client.dataset import (
    Dataset,
    DatasetNotWrittenError,
    Frame,
    MoleculeTable,
    Source,
    Split,
    append_dataset,
    from_frames,
    load_dataset,
    write_dataset,
)
from forcegate_client.dataset.parts import PartedDataset
from forcegate_service.api.access.keyfile import KeyFileError, create_key, read_keys, revoke_key
from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.watch.capture.store import Captured, CaptureStore
from forcegate_service.watch.shadow.spool import Spool
from support.full_disk import files_may_not_grow, fill, small_disk

# As the system says it.
NO_ROOM = r"No space left|File too large"


class Disk(NamedTuple):
    """A folder, and what takes the room away within a block."""

    folder: Path
    full: Callable[[], AbstractContextManager[object]]


@pytest.fixture(params=["small disk", "limit of file sizes"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    if request.param == "limit of file sizes":
        yield Disk(tmp_path, lambda: files_may_not_grow(16))
        return
    with small_disk(tmp_path / "disk", 2**20) as folder:
        yield Disk(folder, lambda: nullcontext(fill(folder)))


def frames(number: int) -> Dataset:
    table = MoleculeTable.closed_shell(["O"], ["K"], ["K"], [Split.TRAIN])
    rng = np.random.default_rng(number)
    frame = Frame(np.ones(50, dtype=np.int64), rng.normal(size=(50, 3)), 0, Source.LANGEVIN)
    return from_frames([frame] * number, table)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the ballast, by its name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "ballast"
    }


def test_a_dataset_stays_as_it_was_and_the_error_says_why(disk: Disk) -> None:
    path = disk.folder / "d.h5"
    write_dataset(path, frames(2))
    before = contents(disk.folder)
    with disk.full():
        for write in (write_dataset, append_dataset):
            with pytest.raises(DatasetNotWrittenError, match=NO_ROOM):
                write(path, frames(200))
    assert contents(disk.folder) == before
    assert len(load_dataset(path)) == 2


def test_the_pieces_of_long_work_stay_and_the_same_work_goes_on(disk: Disk) -> None:
    out, job = disk.folder / "d.h5", {"command": "test"}
    parts = PartedDataset(out, job, 2)
    parts.add(0, frames(2))
    before = contents(disk.folder)
    with disk.full():
        with pytest.raises(DatasetNotWrittenError):
            parts.add(1, frames(200))
        with pytest.raises(DatasetNotWrittenError):
            PartedDataset(disk.folder / "other.h5", job, 1)
    assert contents(disk.folder) == before
    (disk.folder / "ballast").unlink(missing_ok=True)
    again = PartedDataset(out, job, 2)
    assert again.done() == {0}
    again.add(1, frames(3))
    assert len(again.finish({})) == 5


def captured(seed: int) -> Captured:
    positions = np.random.default_rng(seed).normal(0, 3.0, (20, 3))
    return Captured(np.full(20, 6, dtype=np.int64), positions, {"reason": "novelty"})


def test_captured_structures_stay_and_more_are_kept_once_there_is_room(disk: Disk) -> None:
    folder = disk.folder / "captured"
    store = CaptureStore(folder, 1000, 2**26)
    assert store.add([captured(0)]).outcomes == [None]
    before = contents(disk.folder)
    with disk.full():
        added = store.add([captured(seed) for seed in range(1, 30)])
    assert added.outcomes == ["write_failed"] * 29
    (trouble,) = added.troubles
    assert isinstance(trouble, DatasetNotWrittenError)
    assert contents(disk.folder) == before
    (disk.folder / "ballast").unlink(missing_ok=True)
    # What could not be written is not taken for known.
    assert store.add([captured(0), captured(1)]).outcomes == ["duplicate", None]


def test_a_file_for_the_teacher_is_there_as_a_whole_or_not_at_all(disk: Disk) -> None:
    spool = Spool(disk.folder / "spool")
    spool.put(b"first")
    before = contents(disk.folder)
    with disk.full(), pytest.raises(OSError, match=NO_ROOM):
        spool.put(b"second" * 2000)
    assert contents(disk.folder) == before
    claim = spool.claim()
    assert claim is not None
    assert claim.content == b"first"


def test_keys_stay_in_force_if_another_cannot_be_written(disk: Disk) -> None:
    path = disk.folder / "keys.json"
    create_key(path, "before", ["predict"])
    (known,) = read_keys(path)[0]
    before = contents(disk.folder)
    with disk.full():
        for change in (
            lambda: create_key(path, "after", ["admin"]),
            lambda: revoke_key(path, known),
        ):
            with pytest.raises(KeyFileError, match=r"keys\.json.*(No space|too large)"):
                change()
    assert contents(disk.folder) == before


def test_a_card_stays_as_it_was(disk: Disk) -> None:
    card = write_fake_model(disk.folder)
    before = contents(disk.folder)
    with disk.full(), pytest.raises(OSError, match=NO_ROOM):
        card.save(disk.folder / card.name / card.version)
    assert contents(disk.folder) == before
