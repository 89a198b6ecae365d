"""Keys are recognised without being stored, kept in a private file, and revoked while in use."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from forcegate_client.errors import Forbidden, Unauthorized
from forcegate_client.testing import FakeClock
from forcegate_service.api.access.caller import ANONYMOUS, Access, Caller
from forcegate_service.api.access.keyfile import KeyFileError, create_key, read_keys, revoke_key
from forcegate_service.api.access.keyring import KeyRing
from forcegate_service.api.access.keys import SCOPES, split
from forcegate_service.settings import Settings

COMMAND = [sys.executable, "-c", "from forcegate_service.cli import main; main()"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def key(path: Path) -> str:
    return create_key(path, "Ada", ["predict"])


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def access(path: Path, key: str, clock: FakeClock) -> Access:
    return Access(KeyRing(path, clock), allow_anonymous=False)


def parts(key: str) -> tuple[str, str]:
    found = split(key)
    assert found is not None
    return found


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_key_is_256_random_bits_behind_an_id(path: Path) -> None:
    keys = {create_key(path, "Ada", ["predict"]) for _ in range(20)}
    assert len(keys) == 20
    for key in keys:
        prefix, key_id, secret = key.split("_", 2)
        assert (prefix, len(key_id), len(secret)) == ("fg", 8, 43)


def test_the_file_knows_the_digest_of_the_secret_and_not_the_secret(path: Path, key: str) -> None:
    key_id, secret = parts(key)
    assert secret not in path.read_text()
    record = read_keys(path)[0][key_id]
    assert record.sha256 == hashlib.sha256(secret.encode()).hexdigest()
    assert (record.name, record.scopes, record.revoked) == ("Ada", ("predict",), None)
    assert record.created.utcoffset().total_seconds() == 0  # type: ignore[union-attr]


def test_the_file_is_its_owners_alone_and_nothing_lies_beside_it(path: Path, key: str) -> None:
    revoke_key(path, parts(key)[0])
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")
def test_what_root_writes_belongs_to_the_server(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    os.chown(folder, 12345, 12346)
    path = folder / "keys.json"
    key = create_key(path, "Ada", ["predict"])
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12346)
    os.chown(folder, 0, 0)
    revoke_key(path, parts(key)[0])
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12346)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602, 0o610])
def test_a_file_that_others_reach_is_refused(path: Path, key: str, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"mode {mode:o}.*chmod 600") as caught:
        read_keys(path)
    assert str(path) in str(caught.value)
    with pytest.raises(KeyFileError, match="chmod 600"):
        create_key(path, "Eve", ["admin"])


DAMAGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "another schema": lambda content: content.update(schema_version=2),
    "an unknown field": lambda content: content.update(more=1),
    "an unknown scope": lambda content: content["keys"][0].update(scopes=["everything"]),
    "no scope": lambda content: content["keys"][0].update(scopes=[]),
    "a secret in clear": lambda content: content["keys"][0].update(sha256="hunter2hunter2"),
    "a time of nowhere": lambda content: content["keys"][0].update(created="2026-01-01T00:00:00"),
    "one id twice": lambda content: content["keys"].append(content["keys"][0]),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_file_that_is_not_what_was_written_is_refused(path: Path, key: str, damage: str) -> None:
    rewrite(path, DAMAGE[damage])
    with pytest.raises(KeyFileError, match="key records of schema 1") as caught:
        read_keys(path)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]"])
def test_a_file_that_is_no_json_object_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="key records of schema 1"):
        read_keys(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for path, reason in (
        (tmp_path / "nothing", "no key file"),
        (tmp_path, "not a file|directory"),
        (pipe, "not a file"),
    ):
        with pytest.raises(KeyFileError, match=reason):
            read_keys(path)
    with pytest.raises(KeyFileError, match="No such file"):
        create_key(tmp_path / "no" / "folder", "Ada", ["predict"])


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", "a" * 101, "\x1b[2J"])
def test_a_name_that_does_not_fit_on_a_line_is_refused(path: Path, name: str) -> None:
    with pytest.raises(KeyFileError, match="printable"):
        create_key(path, name, ["predict"])
    assert not path.exists()


def test_nobody_loses_a_key_or_a_revocation_to_somebody_else(path: Path) -> None:
    before = [parts(create_key(path, f"old {number}", ["predict"]))[0] for number in range(10)]

    def change(number: int) -> str:
        revoke_key(path, before[number])
        return parts(create_key(path, f"new {number}", ["report"]))[0]

    with ThreadPoolExecutor(10) as pool:
        after = list(pool.map(change, range(10)))
    records = read_keys(path)[0]
    assert set(records) == {*before, *after}
    assert {key_id for key_id, record in records.items() if record.revoked} == set(before)


def test_revoking_twice_keeps_the_first_date_and_an_unknown_id_is_named(
    path: Path, key: str
) -> None:
    first = revoke_key(path, parts(key)[0])
    rewrite(path, lambda content: content["keys"][0].update(revoked="2020-01-01T00:00:00Z"))
    second = revoke_key(path, parts(key)[0])
    assert first.revoked is not None
    assert second.revoked is not None
    assert second.revoked.year == 2020
    with pytest.raises(KeyFileError, match="nobody01"):
        revoke_key(path, "nobody01")


def test_a_key_says_who_is_asking(access: Access, key: str) -> None:
    caller = access.identify(bearer(key))
    assert caller == Caller(parts(key)[0], frozenset({"predict"}))
    assert access.identify({"authorization": f"bearer  {key}"}) == caller


def test_what_is_no_valid_key_is_nobody(access: Access, key: str) -> None:
    key_id, secret = parts(key)
    other = "A" if secret[0] != "A" else "B"
    for header in (
        f"Bearer fg_{key_id}_{other}{secret[1:]}",
        f"Bearer fg_nobody01_{secret}",
        f"Bearer {key[:-1]}",
        f"Bearer {key}=",
        f"Bearer {key_id}",
        f"Basic {key}",
        key,
        "Bearer",
        "",
        f"Bearer {key} {key}",
        f"Bearer fg_{key_id}_{'é' * 43}",
    ):
        with pytest.raises(Unauthorized, match="Bearer") as caught:
            access.identify({"authorization": header})
        assert secret[1:] not in str(caught.value)
    with pytest.raises(Unauthorized, match="without a key"):
        access.identify({"x-api-key": key})


def test_an_unknown_id_costs_the_comparison_of_a_known_one(
    access: Access, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def counted(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    for key_id in (parts(key)[0], "nobody01"):
        with pytest.raises(Unauthorized):
            access.identify(bearer(f"fg_{key_id}_{'A' * 43}"))
    assert compared == [(64, 64)] * 2


def test_a_scope_is_had_or_not(access: Access, key: str, path: Path) -> None:
    caller = access.identify(bearer(key))
    access.require(caller, "predict")
    for scope in ("report", "admin"):
        with pytest.raises(Forbidden, match=f"the scope {scope}"):
            access.require(caller, scope)
    every = create_key(path, "root", SCOPES)
    access.reload()
    for scope in SCOPES:
        access.require(access.identify(bearer(every)), scope)


def test_without_a_keys_file_everybody_is_anonymous_and_nobody_is_admin(key: str) -> None:
    access = Access(None, allow_anonymous=False)
    for headers in ({}, bearer(key), {"authorization": "Basic eA=="}):
        assert access.identify(headers) is ANONYMOUS
    access.require_key(ANONYMOUS)
    access.require(ANONYMOUS, "predict")
    access.require(ANONYMOUS, "report")
    with pytest.raises(Forbidden, match="a server without keys, where nobody has that right"):
        access.require(ANONYMOUS, "admin")


def test_who_shows_a_key_where_none_is_needed_must_show_a_valid_one(path: Path, key: str) -> None:
    access = Access(KeyRing(path), allow_anonymous=True)
    assert access.identify({}) is ANONYMOUS
    assert access.identify(bearer(key)).id == parts(key)[0]
    with pytest.raises(Unauthorized):
        access.identify(bearer(f"fg_nobody01_{'A' * 43}"))
    with pytest.raises(Unauthorized):
        access.require_key(ANONYMOUS)


def test_a_change_of_the_file_is_seen_within_a_second(
    access: Access, path: Path, key: str, clock: FakeClock
) -> None:
    revoke_key(path, parts(key)[0])
    clock.sleep(0.9)
    access.identify(bearer(key))
    clock.sleep(0.2)
    with pytest.raises(Unauthorized, match="revoked"):
        access.identify(bearer(key))
    late = create_key(path, "Bob", ["report"])
    with pytest.raises(Unauthorized):
        access.identify(bearer(late))
    access.reload()
    assert access.identify(bearer(late)).scopes == {"report"}


@pytest.mark.parametrize("damage", ["content", "mode", "absence"])
def test_a_file_that_turns_bad_leaves_the_keys_in_force(
    access: Access,
    path: Path,
    key: str,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    revoke_key(path, parts(key)[0])
    good = path.read_text()
    if damage == "content":
        path.write_text("{")
    elif damage == "mode":
        path.chmod(0o644)
    else:
        path.unlink()
    for _ in range(3):
        clock.sleep(1.1)
        access.identify(bearer(key))
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert str(path) in caplog.text
    path.touch(0o600)
    path.chmod(0o600)
    path.write_text(good)
    clock.sleep(1.1)
    with pytest.raises(Unauthorized, match="revoked"):
        access.identify(bearer(key))


def test_a_file_that_others_may_read_is_told_of_each_time_it_comes_to_that(
    access: Access, path: Path, key: str, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        caplog.clear()
        path.chmod(0o640)
        for _ in range(3):
            clock.sleep(1.1)
            # Whoever had a key before is let in.
            assert access.identify(bearer(key)).id == parts(key)[0]
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "mode 640" in caplog.text
        assert f"chmod 600 {path}" in caplog.text
        assert "mode 640" in access.reload()
        path.chmod(0o600)
        clock.sleep(1.1)
        access.identify(bearer(key))
        assert access.reload() == ""


def test_a_bad_file_is_an_error_from_the_start(path: Path) -> None:
    with pytest.raises(KeyFileError, match="forcegate-serve keys create"):
        Access.from_settings(Settings(keys_file=path))


def test_no_secret_and_no_digest_is_shown_by_anything(path: Path, key: str) -> None:
    _, secret = parts(key)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    settings = Settings(keys_file=path)
    access = Access.from_settings(settings)
    shown = repr([settings, access, vars(access), access.identify(bearer(key)), read_keys(path)])
    assert secret not in shown
    assert digest not in shown


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env=os.environ | environment,
    )


def test_keys_are_made_listed_and_revoked_on_the_command_line(path: Path) -> None:
    made = run(
        *("keys", "create", "--name", "Ada Lovelace", "--scope", "predict", "--scope", "report"),
        FORCEGATE_KEYS_FILE=str(path),
    )
    assert made.returncode == 0, made.stderr
    key = made.stdout.removesuffix("\n")
    key_id, secret = parts(key)
    assert "Ada Lovelace" in made.stderr
    assert secret not in made.stderr
    revoked = run("keys", "revoke", key_id, "--keys-file", str(path))
    assert (revoked.returncode, revoked.stdout) == (0, "")
    # Before `keys` too, where it is the server's; and in either place it wins.
    listed = run("--keys-file", str(path), "keys", "list", FORCEGATE_KEYS_FILE="/nowhere")
    head, line = listed.stdout.splitlines()
    assert head.split() == ["id", "name", "scopes", "created", "expires", "per_hour", "revoked"]
    assert line.startswith(f"{key_id}  Ada Lovelace  predict,report  20")
    assert line.count("Z") == 2
    assert secret not in listed.stdout


def test_a_command_that_cannot_be_done_says_why_in_one_line(tmp_path: Path) -> None:
    unknown = run("keys", "revoke", "nobody01", "--keys-file", str(tmp_path / "keys.json"))
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr.startswith("forcegate-serve: no key file")
    assert len(unknown.stderr.splitlines()) == 1
    beyond = run(
        *("keys", "create", "--name", "Eve", "--scope", "everything"),
        FORCEGATE_KEYS_FILE=str(tmp_path / "keys.json"),
    )
    assert (beyond.returncode, beyond.stdout) == (2, "")
    # Without the box that it is drawn in.
    said = " ".join(beyond.stderr.replace("│", " ").split())
    assert "predict, report, shadow, admin" in said
    nowhere = run("keys", "list")
    assert nowhere.returncode == 2
    assert "FORCEGATE_KEYS_FILE" in nowhere.stderr
