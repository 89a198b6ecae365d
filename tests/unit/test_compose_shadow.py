"""The teacher of docker-compose.yml: off unless asked for, with a key for one thing alone."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from compose_spec import PyCompose
from prometheus_client import CollectorRegistry

from forcegate_service.api.access.keyfile import read_keys
from forcegate_service.settings import Settings
from forcegate_service.watch.assembly import make_observers
from forcegate_service.watch.shadow.shadow import Shadow
from support.compose_file import (
    SERVICES,
    environment,
    found_by,
    interpolated,
    make_keys,
    mounts,
    script_of,
)
from support.deployment import ROOT, compose, dockerfile, seconds
from support.shadow_worker import labels_what_is_put_aside, parsed, put_program, started

GATEWAYS = {"cpu": "gateway-embedded", "gpu": "gateway"}
WORKER = SERVICES["shadow"]
SPOOL = "/var/lib/forcegate/shadow"
FRACTION = "FORCEGATE_SHADOW_FRACTION"

each_gateway = pytest.mark.parametrize("gateway", GATEWAYS.values())


def told(tmp_path: Path) -> list[str]:
    """What the worker's script starts `forcegate-train` with; its key comes first."""
    programs, key = tmp_path / "programs", tmp_path / "key"
    # What a program is given, one argument a line.
    put_program(programs, "forcegate-train", 'printf "%s\\n" "$FORCEGATE_API_KEY" "$@"')
    key.write_text("fg_abcdefgh_secret\n", encoding="utf-8")
    given = {**WORKER["environment"], "SHADOW_KEY_FILE": str(key)}
    output = subprocess.run(
        script_of("shadow"),
        env={**given, "PATH": f"{programs}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return output.stdout.splitlines()


def test_compose_takes_the_worker_and_no_misspelt_one() -> None:
    text = yaml.safe_dump(compose())
    for word in ("cpu_shares:", "init: true"):
        assert word in text
        with pytest.raises(ValueError, match=r"\w"):
            PyCompose.from_yaml(text.replace(word, f"x{word}")).validate()


@each_gateway
def test_nothing_is_put_aside_unless_somebody_asks_for_it(
    monkeypatch: pytest.MonkeyPatch, gateway: str
) -> None:
    assert WORKER["profiles"] == ["shadow"]
    for environ, expected in (({}, 0.0), ({FRACTION: ""}, 0.0), ({FRACTION: "0.001"}, 0.001)):
        for variable, value in environment(gateway, environ).items():
            monkeypatch.setenv(variable, value)
        settings = Settings()
        assert settings.shadow_fraction == expected
        # The gateway's folder is where Compose mounts it, which is not here.
        assert settings.shadow_dir == Path(SPOOL)


def test_a_fraction_of_zero_means_no_observer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def shadows(fraction: str) -> int:
        monkeypatch.setenv(FRACTION, fraction)
        monkeypatch.setenv("FORCEGATE_SHADOW_DIR", str(tmp_path / "spool"))
        observers = make_observers(Settings(), CollectorRegistry())
        found = [observer for observer in observers if isinstance(observer, Shadow)]
        for observer in found:
            observer.close()
        return len(found)

    off = interpolated(SERVICES["gateway"]["environment"][FRACTION], {})
    assert (shadows(off), shadows("0.001")) == (0, 1)


@each_gateway
def test_the_worker_takes_files_from_where_its_gateway_puts_them(gateway: str) -> None:
    assert environment(gateway)["FORCEGATE_SHADOW_DIR"] == SPOOL
    assert WORKER["environment"]["FORCEGATE_SHADOW_DIR"] == SPOOL
    # It renames what it claims, so both write.
    assert mounts(gateway)[SPOOL] == mounts("shadow")[SPOOL] == ("shadow", True)
    # The folder has mode 700, so both are the same user, in images with the same one.
    targets = [dockerfile()[SERVICES[name]["build"]["target"]] for name in (gateway, "shadow")]
    assert len({stage.all("USER")[-1] for stage in targets}) == 1
    assert "user" not in SERVICES[gateway]
    assert "user" not in WORKER


def test_its_command_line_is_one_of_the_trainers(tmp_path: Path) -> None:
    key, *words = told(tmp_path)
    assert key == "fg_abcdefgh_secret"
    options = parsed(words)
    assert options["spool"] == Path(SPOOL)
    assert options["once"] is False
    assert options["nice"] == 19
    for profile, gateway in GATEWAYS.items():
        address = re.fullmatch(r"http://(\w+):(\d+)", options["gateway"])
        assert address is not None
        assert found_by("shadow", address[1], profile) == [gateway]
        assert address[2] == environment(gateway)["FORCEGATE_PORT"]


def test_without_its_key_it_does_not_begin(tmp_path: Path) -> None:
    given = {**WORKER["environment"], "SHADOW_KEY_FILE": str(tmp_path / "none")}
    put_program(tmp_path / "programs", "forcegate-train", "exit 0")
    with started(script_of("shadow"), given, tmp_path / "programs") as worker:
        assert worker.wait(timeout=60) != 0


def test_its_key_allows_what_it_does_and_nothing_else(tmp_path: Path) -> None:
    make_keys(tmp_path)
    key = (tmp_path / "shadow-key" / "key").read_text()
    record = read_keys(tmp_path / "keys" / "keys.json")[0][key.split("_")[1]]
    assert record.scopes == ("shadow",)
    operator = (tmp_path / "first-key" / "key").read_text()
    assert key != operator
    labels_what_is_put_aside(
        script_of("shadow"),
        {
            "FORCEGATE_SHADOW_DIR": str(tmp_path / "spool"),
            "SHADOW_KEY_FILE": str(tmp_path / "shadow-key" / "key"),
        },
        models=tmp_path / "models",
        keys=tmp_path / "keys" / "keys.json",
        key=operator.strip(),
        asked="http://forcegate:8000",
    )


def test_an_installation_that_has_keys_gets_one_for_the_worker(tmp_path: Path) -> None:
    make_keys(tmp_path)
    key = tmp_path / "shadow-key" / "key"
    first = (tmp_path / "first-key" / "key").read_text()
    # As it was before there was a worker, or if making its key was interrupted.
    for spoil in (lambda: key.unlink(), lambda: key.write_text("")):
        spoil()
        make_keys(tmp_path)
        assert re.fullmatch(r"fg_\w{8}_\S+\n", key.read_text())
        assert key.stat().st_mode & 0o077 == 0
    assert (tmp_path / "first-key" / "key").read_text() == first


def test_nobody_but_the_worker_sees_its_key_and_it_sees_no_other() -> None:
    place = str(Path(WORKER["environment"]["SHADOW_KEY_FILE"]).parent)
    assert mounts("shadow") == {SPOOL: ("shadow", True), place: ("shadow-key", False)}
    made = SERVICES["keys"]["environment"]["SHADOW_KEY_FILE"]
    assert made == WORKER["environment"]["SHADOW_KEY_FILE"]
    assert mounts("keys")[place] == ("shadow-key", True)
    for name in set(SERVICES) - {"keys", "shadow"}:
        assert "shadow-key" not in [outside for outside, _ in mounts(name).values()], name
    assert WORKER["depends_on"] == {"keys": {"condition": "service_completed_successfully"}}


def test_it_reaches_the_gateway_and_nobody_reaches_it() -> None:
    (network,) = WORKER["networks"]
    assert compose()["networks"][network] == {"internal": True}
    beside = {name for name in SERVICES if network in SERVICES[name].get("networks", {})}
    assert beside == {"shadow", *GATEWAYS.values()}
    assert "ports" not in WORKER


def test_it_takes_what_others_leave() -> None:
    assert WORKER["cpus"] <= 1
    # The least that there is; a container that says nothing has 1024.
    assert WORKER["cpu_shares"] == 2
    assert all("cpu_shares" not in SERVICES[name] for name in set(SERVICES) - {"shadow"})


def test_it_is_told_to_end_and_started_again_if_it_ends_by_itself() -> None:
    # Process 1 would ignore the signal until it has a handler.
    assert WORKER["init"] is True
    assert seconds(WORKER["stop_grace_period"]) >= 30
    assert WORKER["restart"] == "unless-stopped"


def test_the_document_says_how_it_is_switched_on() -> None:
    text = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    assert "docker compose --profile cpu --profile shadow up" in text
    assert re.search(rf'echo "{FRACTION}=0\.\d+" >> \.env', text)
    assert "docker compose --profile cpu --profile shadow stop shadow" in text
