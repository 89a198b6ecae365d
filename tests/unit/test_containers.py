"""What the container files say holds, as far as that can be known without a container engine."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from forcegate_service.settings import Settings

ROOT = Path(__file__).parents[2]
FIELDS = Settings.model_fields


@dataclass
class Stage:
    """One stage of the Dockerfile, with all that it inherits from the stage it is built on."""

    image: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        return [rest for instruction, rest in self.instructions if instruction == name]

    def environment(self) -> dict[str, str]:
        pairs = [pair for rest in self.all("ENV") for pair in shlex.split(rest)]
        return dict(pair.split("=", 1) for pair in pairs)


def dockerfile() -> dict[str, Stage]:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for line in filter(str.strip, joined.splitlines()):
        name, rest = line.split(maxsplit=1)
        if name == "FROM":
            source, _, alias = rest.split()
            for argument, default in arguments.items():
                source = source.replace(f"${{{argument}}}", default)
            before = stages.get(source)
            stage = Stage(before.image, list(before.instructions)) if before else Stage(source)
            stages[alias] = stage
        elif stage is None:
            assert name == "ARG"
            argument, default = rest.split("=", 1)
            arguments[argument] = default
        else:
            stage.instructions.append((name, rest))
    return stages


def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]


def copied(stage: Stage) -> list[str]:
    """What a stage takes from the checkout."""
    own = [rest.split() for rest in stage.all("COPY") if "--from=" not in rest]
    return [source.rstrip("/") for words in own for source in words[:-1]]


def is_sent(path: str) -> bool:
    """Whether .dockerignore lets a top-level path into the build; its last match decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!")
        if line and not line.startswith("#") and fnmatch(path, pattern):
            sent = line.startswith("!")
    return sent


STAGES = dockerfile()
TARGETS = ("gateway-embedded", "trainer")
GATEWAY = STAGES["gateway-embedded"]
SERVICE = compose()["gateway"]


@pytest.mark.parametrize("name", STAGES)
def test_everything_copied_exists_and_reaches_the_build(name: str) -> None:
    for source in copied(STAGES[name]):
        assert (ROOT / source).exists(), source
        assert is_sent(source), source
    for rest in STAGES[name].all("COPY"):
        for earlier in re.findall(r"--from=(\S+)", rest):
            assert earlier in STAGES


def test_data_and_environments_do_not_reach_the_build() -> None:
    assert not any(map(is_sent, (".venv", ".git", "data", "runs", "demo", "tests")))


@pytest.mark.parametrize("name", TARGETS)
def test_the_base_image_is_pinned_to_a_python_that_the_packages_support(name: str) -> None:
    match = re.fullmatch(r"python:(\d+\.\d+)(?:\.\d+)?-slim-[a-z]+", STAGES[name].image)
    assert match is not None
    for project in (ROOT, ROOT / "clients"):
        metadata = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
        assert metadata["project"]["requires-python"] == f">={match[1]}"


@pytest.mark.parametrize("name", TARGETS)
def test_no_image_runs_as_root(name: str) -> None:
    user = STAGES[name].all("USER")[-1]
    assert user not in ("root", "0")
    assert any(f"useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home {user}" in rest
               for rest in STAGES[name].all("RUN"))  # fmt: skip


@pytest.mark.parametrize("name", TARGETS)
def test_the_entry_point_is_a_console_script_of_the_project(name: str) -> None:
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (script,) = json.loads(STAGES[name].all("ENTRYPOINT")[-1])
    assert script in metadata["project"]["scripts"]


@pytest.mark.parametrize("name", STAGES)
def test_pip_installs_pinned_versions_of_extras_that_exist(name: str) -> None:
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for command in STAGES[name].all("RUN"):
        if "pip install" in command:
            assert "--constraint constraints.txt" in command
            extras = set(re.findall(r"'\.\[([a-z]+)\]'", command))
            assert extras <= set(metadata["project"]["optional-dependencies"])


@pytest.mark.parametrize("name", TARGETS)
def test_no_index_stays_in_an_image(name: str) -> None:
    assert STAGES[name].all("ARG") == []


def forcegate_variables() -> list[tuple[str, str]]:
    variables = [pair for stage in STAGES.values() for pair in stage.environment().items()]
    variables += SERVICE["environment"].items()
    return [(name, value) for name, value in variables if name.startswith("FORCEGATE_")]


def test_every_variable_is_a_setting_and_its_value_is_valid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in forcegate_variables():
        assert name.removeprefix("FORCEGATE_").lower() in FIELDS
        monkeypatch.setenv(name, value)
    assert Settings().host == "0.0.0.0"


def test_the_image_alone_refuses_to_serve_strangers() -> None:
    assert GATEWAY.environment()["FORCEGATE_HOST"] == "0.0.0.0"
    assert not any("FORCEGATE_ALLOW_ANONYMOUS" in stage.environment() for stage in STAGES.values())


def test_the_exposed_port_is_the_one_the_server_listens_on_by_default() -> None:
    port = FIELDS["port"].default
    assert GATEWAY.all("EXPOSE") == [str(port)]
    assert GATEWAY.environment()["FORCEGATE_PORT"] == str(port)


def test_the_models_are_where_the_server_looks_for_them() -> None:
    folder = GATEWAY.environment()["FORCEGATE_MODEL_REPOSITORY"]
    assert [rest for rest in GATEWAY.all("COPY") if rest.split()[-1].rstrip("/") == folder]
    assert SERVICE["volumes"] == [f"./{FIELDS['model_repository'].default}:{folder}:ro"]


def test_every_service_builds_a_target_that_exists() -> None:
    for service in compose().values():
        assert service["build"]["target"] in TARGETS
        declared = set(STAGES["build"].all("ARG"))
        assert set(service["build"]["args"]) <= declared


def test_ports_are_published_on_loopback_only() -> None:
    for service in compose().values():
        for published in service["ports"]:
            address, outside, inside = published.split(":")
            assert address == "127.0.0.1"
            assert outside == inside == str(FIELDS["port"].default)


def test_the_container_may_do_no_more_than_it_needs() -> None:
    assert SERVICE["read_only"] is True
    assert SERVICE["tmpfs"] == [GATEWAY.environment()["HOME"]]
    assert SERVICE["cap_drop"] == ["ALL"]
    assert SERVICE["security_opt"] == ["no-new-privileges:true"]
    assert SERVICE["mem_limit"] == "4g"


def test_running_requests_are_finished_before_the_container_is_killed() -> None:
    grace_s = int(SERVICE["stop_grace_period"].removesuffix("s"))
    assert grace_s > FIELDS["drain_timeout_s"].default


class Answer(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        ready = self.path == "/health/ready"
        self.send_response(self.status if ready else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_tells_ready_from_not_ready(
    server: HTTPServer, monkeypatch: pytest.MonkeyPatch, status: int, healthy: bool
) -> None:
    monkeypatch.setattr(Answer, "status", status)
    (check,) = GATEWAY.all("HEALTHCHECK")
    python, *arguments = json.loads(check.partition("CMD ")[2])
    assert python == "python"
    # A proxy of the environment must not be asked about this machine.
    environment = {"FORCEGATE_PORT": str(server.server_port), "http_proxy": "http://127.0.0.1:9"}
    done = subprocess.run([sys.executable, *arguments], env=environment, timeout=60)
    assert (done.returncode == 0) is healthy
