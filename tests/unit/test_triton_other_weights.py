"""A Triton server with other weights never answers a user, however it came to have them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.runtimes.triton import link
from support.fake_triton import FakeTriton, fake_triton, until
from support.triton_answers import MIXED, Caller, answered, opened, right, servers_at

CARBON = 6
OTHER_WEIGHTS = {"1": 1.5}
# Answers that are waited for before and after whatever happens.
MANY = 50


@pytest.fixture(autouse=True)
def no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows must not depend on it."""
    monkeypatch.setattr(link, "_PAUSE_S", 0.02)
    monkeypatch.setattr(link, "_LOOK_AGAIN_S", 3600.0)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for version in ("1", "2"):
        write_fake_model(tmp_path, version=version)
    return tmp_path


@contextmanager
def calling(*callers: Caller) -> Iterator[None]:
    for caller in callers:
        caller.start()
    try:
        yield
    finally:
        for caller in callers:
            caller.stop()


def about_users(triton: FakeTriton, version: str) -> int:
    return sum(one.version == version and one.about({CARBON}) for one in list(triton.asked))


def dies_and_another_comes(old: FakeTriton, new: FakeTriton) -> None:
    old.stop()
    new.start()


def dies_beside_another(old: FakeTriton, new: FakeTriton) -> None:
    new.start()
    old.stop()


def retires_beside_another(old: FakeTriton, new: FakeTriton) -> None:
    new.start()
    old.retire()


@pytest.mark.parametrize(
    "swap", [dies_and_another_comes, dies_beside_another, retires_beside_another]
)
def test_not_one_wrong_answer_comes_of_a_server_that_comes_back_with_other_weights(
    repository: Path, swap: Callable[[FakeTriton, FakeTriton], None]
) -> None:
    with ExitStack() as stack:
        old = stack.enter_context(fake_triton(repository))
        new = FakeTriton(repository, port=old.port, scale=OTHER_WEIGHTS)
        stack.callback(new.stop)
        servers = stack.enter_context(servers_at(old))
        changed, same = opened(servers, repository, "1"), opened(servers, repository, "2")
        of_changed = [Caller(changed, repository) for _ in range(3)]
        of_same = [Caller(same, repository) for _ in range(2)]

        def counted(callers: list[Caller], outcome: str) -> int:
            return sum(caller.outcomes[outcome] for caller in callers)

        with calling(*of_changed, *of_same):
            until(lambda: counted(of_changed, "right") > MANY < counted(of_same, "right"))
            swap(old, new)
            # The other version is answered by the new server; this one is by nobody.
            until(lambda: about_users(new, "2") > MANY)
            # What was on its way in that moment may have come to it; its answer was thrown away.
            asked = about_users(new, "1")
            assert asked <= len(of_changed)
            before = counted(of_changed, "away"), counted(of_same, "right")
            until(lambda: counted(of_changed, "away") > before[0] + MANY)
            until(lambda: counted(of_same, "right") > before[1] + MANY)
        for caller in of_changed + of_same:
            assert set(caller.outcomes) <= {"right", "away"}
        assert about_users(new, "1") == asked
        assert servers.available()
        assert (servers.instances(changed.card), servers.instances(same.card)) == (0, 1)


def test_weights_that_change_between_two_looks_at_one_server_are_not_mixed_up(
    repository: Path,
) -> None:
    """The server retires while version 2 is described; version 1 was recognised before."""
    with ExitStack() as stack:
        old = stack.enter_context(fake_triton(repository))
        new = FakeTriton(repository, port=old.port, scale=OTHER_WEIGHTS)
        stack.callback(new.stop)
        servers = stack.enter_context(servers_at(old))
        changed, same = opened(servers, repository, "1"), opened(servers, repository, "2")
        retired = threading.Event()

        def retire(version: str) -> None:
            if version == "2" and not retired.is_set():
                retired.set()
                new.start()
                old.retire()
                # It has yet to finish this, and the word that it goes comes first.
                threading.Event().wait(0.2)

        old.stop()
        old.on_description = retire
        old.start()
        until(lambda: answered(same, MIXED))
        assert retired.is_set()
        with calling(caller := Caller(changed, repository)):
            until(lambda: caller.outcomes.total() > MANY)
        assert set(caller.outcomes) == {"away"}
        assert about_users(new, "1") == 0
        assert right(same.evaluate(MIXED), repository, MIXED)


def test_weights_that_are_exchanged_behind_a_connection_are_noticed_by_the_next_look(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "_LOOK_AGAIN_S", 0.1)
    with fake_triton(repository) as triton, servers_at(triton) as servers:
        changed, same = opened(servers, repository, "1"), opened(servers, repository, "2")
        triton.scale = OTHER_WEIGHTS
        until(lambda: not servers.instances(changed.card))
        triton.asked.clear()
        assert not answered(changed, MIXED)
        assert right(same.evaluate(MIXED), repository, MIXED)
        assert (about_users(triton, "1"), about_users(triton, "2")) == (0, 1)
        triton.scale = {}
        until(lambda: answered(changed, MIXED))
        assert right(changed.evaluate(MIXED), repository, MIXED)


def test_a_version_that_is_unloaded_is_noticed_by_whoever_asks_for_it(repository: Path) -> None:
    with fake_triton(repository) as triton, servers_at(triton) as servers:
        gone, same = opened(servers, repository, "1"), opened(servers, repository, "2")
        triton.absent = {"1"}
        assert not answered(gone, MIXED)
        assert servers.instances(gone.card) == 0
        assert right(same.evaluate(MIXED), repository, MIXED)
        # It may come back as anything, so nobody asks before it was looked at.
        triton.absent, triton.scale = set(), OTHER_WEIGHTS
        assert not answered(gone, MIXED)
        assert about_users(triton, "1") == 0
