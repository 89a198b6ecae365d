"""What the Dockerfile says holds, as far as that can be known without a container engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from forcegate_service.settings import Settings
from forcegate_trainer.teachers.spec import DEFAULT_TEACHER, recorded_teacher
from support.deployment import (
    ROOT,
    Stage,
    compose,
    default_of,
    dockerfile,
    manifests,
    project,
    routes,
    set_variables,
)
from support.teachers import aimnet2_file

STAGES = dockerfile()
GATEWAYS = ("gateway", "gateway-embedded")
TARGETS = (*GATEWAYS, "trainer")
HEALTHCHECK = "/usr/local/lib/forcegate/healthcheck.py"


def copied(stage: Stage) -> list[str]:
    """What a stage takes from the checkout."""
    own = [rest.split() for rest in stage.all("COPY") if "--from=" not in rest]
    return [source.rstrip("/") for words in own for source in words[:-1]]


def is_sent(path: str) -> bool:
    """Whether .dockerignore lets a path into the build; its last match decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!")
        if line and not line.startswith("#") and fnmatch(path, pattern):
            sent = line.startswith("!")
    return sent


def built(target: str) -> Stage:
    """The stage in which what a target carries was installed."""
    (name,) = {
        found for rest in STAGES[target].all("COPY") for found in re.findall(r"--from=(\S+)", rest)
    }
    return STAGES[name]


def requirements_of(stage: Stage) -> list[str]:
    """The names of the files of requirements that a stage installs, in order."""
    return [
        name
        for command in stage.all("RUN")
        for name in re.findall(r"--requirement requirements/([\w-]+)\.txt", command)
    ]


def packages_of(stage: Stage) -> set[str]:
    """What a stage installs beside this project's own packages."""
    found = {"torch"} if any(command.endswith(" torch") for command in stage.all("RUN")) else set()
    for name in requirements_of(stage):
        text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
        found |= set(re.findall(r"^([\w.-]+)==", text, re.MULTILINE))
    return found


@pytest.mark.parametrize("name", STAGES)
def test_everything_copied_exists_and_reaches_the_build(name: str) -> None:
    for source in copied(STAGES[name]):
        assert (ROOT / source).exists(), source
        assert is_sent(source), source
    for rest in STAGES[name].all("COPY"):
        for earlier in re.findall(r"--from=(\S+)", rest):
            assert earlier in STAGES


def test_data_and_environments_do_not_reach_the_build() -> None:
    assert not any(map(is_sent, (".venv", ".git", "data", "runs", "demo", "tests", "deploy")))


@pytest.mark.parametrize("name", TARGETS)
def test_the_base_image_is_pinned_to_a_python_that_the_packages_support(name: str) -> None:
    image = STAGES[name].image.partition("@")[0]
    match = re.fullmatch(r"python:(\d+\.\d+)(?:\.\d+)?-slim-[a-z]+", image)
    assert match is not None
    for folder in (ROOT, ROOT / "clients"):
        metadata = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
        assert metadata["project"]["requires-python"] == f">={match[1]}"


@pytest.mark.parametrize("name", TARGETS)
def test_no_image_runs_as_root(name: str) -> None:
    user = STAGES[name].all("USER")[-1]
    assert user not in ("root", "0")
    assert any(f"useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home {user}" in rest
               for rest in STAGES[name].all("RUN"))  # fmt: skip


@pytest.mark.parametrize("name", TARGETS)
def test_the_entry_point_is_a_console_script_of_the_project(name: str) -> None:
    (script,) = json.loads(STAGES[name].all("ENTRYPOINT")[-1])
    assert script in project()["scripts"]


@pytest.mark.parametrize("name", STAGES)
def test_pip_installs_by_hash_but_for_the_chosen_torch_and_this_checkout(name: str) -> None:
    allowed = (
        r"--require-hashes --requirement requirements/[\w-]+\.txt"
        r"|--constraint constraints\.txt torch"
        r"|--no-deps --no-build-isolation \./clients \./engine \."
    )
    for command in STAGES[name].all("RUN"):
        if "pip install" in command:
            assert re.fullmatch(rf"pip install (?:{allowed})", command)


@pytest.mark.parametrize("name", TARGETS)
def test_an_image_installs_the_requirements_of_its_name_last(name: str) -> None:
    assert requirements_of(built(name))[-1] == name


@pytest.mark.parametrize("name", TARGETS)
def test_no_index_stays_in_an_image(name: str) -> None:
    assert STAGES[name].all("ARG") == []


def test_each_gateway_brings_what_its_runtime_needs_and_no_other_ones() -> None:
    heavy = {"torch", "tritonclient"}
    for target, brought in (("gateway", {"tritonclient"}), ("gateway-embedded", set())):
        assert packages_of(built(target)) & heavy == brought
    assert STAGES["gateway"].environment()["FORCEGATE_RUNTIME"] == "triton"
    assert STAGES["gateway-embedded"].environment()["FORCEGATE_RUNTIME"] == "embedded"


def test_what_compiles_at_run_time_has_a_compiler() -> None:
    assert any(" g++ " in f"{rest} " for rest in STAGES["trainer"].all("RUN"))


def test_the_trainer_has_the_teacher_that_the_cards_name() -> None:
    # A worker with another file would leave every structure to somebody else.
    fetching = f"forcegate-train teacher fetch {DEFAULT_TEACHER} --in-environment"
    assert fetching in built("trainer").all("RUN")
    aimnet2_file()
    cards = list((ROOT / "model_repository").glob("*/*/model_card.json"))
    assert cards
    for card in cards:
        teacher = json.loads(card.read_text(encoding="utf-8"))["teacher"]
        brought = recorded_teacher(teacher)
        assert brought is not None
        record = brought.record
        assert (record.version, record.settings) == (teacher["version"], teacher["settings"])


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # whoever imports it fails
from forcegate_service import cli
from forcegate_service.api import server
from forcegate_service.api.app import create_app
from forcegate_service.settings import Settings
from starlette.testclient import TestClient
settings = Settings(runtime="triton", triton_url="127.0.0.1:9", model_repository=sys.argv[1])
with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
    for path in ("/health/live", "/health/ready", "/metrics", "/openapi.json"):
        print(client.get(path).status_code)
    body = {"model": "default", "structures": [{"atomic_numbers": [1], "positions": [[0, 0, 0]]}]}
    print(client.post("/v1/predict", json=body).status_code)
"""


def test_a_gateway_in_front_of_triton_works_without_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT_TORCH, ROOT / "model_repository"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.split() == ["200", "503", "200", "200", "503"], done.stderr


@pytest.mark.parametrize("name", GATEWAYS)
def test_every_variable_is_a_setting_and_its_value_is_valid(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    consent = {"FORCEGATE_ALLOW_ANONYMOUS": "true"}
    for variable, value in set_variables(STAGES[name], consent).items():
        monkeypatch.setenv(variable, value)
    assert Settings().host == "0.0.0.0"


@pytest.mark.parametrize("name", GATEWAYS)
def test_the_image_alone_refuses_to_serve_strangers(name: str) -> None:
    assert STAGES[name].environment()["FORCEGATE_HOST"] == "0.0.0.0"
    assert "FORCEGATE_ALLOW_ANONYMOUS" not in STAGES[name].environment()


@pytest.mark.parametrize("name", GATEWAYS)
def test_the_exposed_port_is_the_one_the_server_listens_on_by_default(name: str) -> None:
    port = default_of("port")
    assert STAGES[name].all("EXPOSE") == [str(port)]
    assert STAGES[name].environment()["FORCEGATE_PORT"] == str(port)


@pytest.mark.parametrize("name", GATEWAYS)
def test_the_models_are_where_the_server_looks_for_them(name: str) -> None:
    folder = STAGES[name].environment()["FORCEGATE_MODEL_REPOSITORY"]
    assert f"model_repository/ {folder}/" in STAGES[name].all("COPY")


@pytest.mark.parametrize("name", GATEWAYS)
def test_the_health_check_is_a_file_of_the_image(name: str) -> None:
    (check,) = STAGES[name].all("HEALTHCHECK")
    assert json.loads(check.partition("CMD ")[2]) == ["python", HEALTHCHECK]
    assert f"deploy/healthcheck.py {HEALTHCHECK}" in STAGES[name].all("COPY")
    assert "/health/ready" in routes()


class Answer(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        ready = self.path == "/health/ready"
        self.send_response(self.status if ready else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate and its key for the name that others see, not for 127.0.0.1."""
    if shutil.which("openssl") is None:
        pytest.skip("certificates are made by the openssl command")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=forcegate.example.org", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(params=["http", "https"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Port of a gateway's stand-in, and what its container's environment says about it."""
    said: dict[str, str] = {}
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        if request.param == "https":
            shown, key = certificate(tmp_path)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(shown, key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            said = {"FORCEGATE_TLS_CERTIFICATE": str(shown)}
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port, said
        server.shutdown()
        thread.join()


def check(port: int, said: dict[str, str]) -> int:
    # A proxy of the environment must not be asked about this machine.
    proxies = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, ROOT / "deploy" / "healthcheck.py"],
        env={"FORCEGATE_PORT": str(port), **proxies, **said},
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr
    return done.returncode


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_tells_ready_from_not_ready(
    server: tuple[int, dict[str, str]], monkeypatch: pytest.MonkeyPatch, status: int, code: int
) -> None:
    monkeypatch.setattr(Answer, "status", status)
    assert check(*server) == code


def test_a_gateway_that_does_not_listen_is_not_healthy() -> None:
    assert check(9, {}) == 1


def test_the_health_check_needs_nothing_but_the_standard_library() -> None:
    folder = ROOT / "deploy"
    code = "import sys; sys.path.insert(0, sys.argv[1]); import healthcheck"
    command = [sys.executable, "-I", "-S", "-c", code, folder]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    assert subprocess.run(command, timeout=60, env=environment).returncode == 0


def document(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def test_every_image_of_others_stands_in_the_document_as_one_that_was_never_run() -> None:
    used = {stage.image for stage in STAGES.values()}
    used |= {service["image"] for service in compose()["services"].values()}
    for overlay in ("cpu", "gpu"):
        for manifest in manifests(overlay):
            if manifest["kind"] == "Deployment":
                pod = manifest["spec"]["template"]["spec"]
                used |= {found["image"] for found in pod["initContainers"] + pod["containers"]}
    others = {image for image in used if "forcegate" not in image}
    told = re.findall(
        r"^\| `([^`]+)` \| .* \| unverified: never run here \|$", document("deploy.md"), re.M
    )
    assert set(told) == others


def test_the_document_names_what_exists() -> None:
    text = document("deploy.md")
    for target in re.findall(r"--target (\S+) --tag forcegate-(\S+) ", text):
        assert target[0] in TARGETS
        assert target[0].removesuffix("-embedded") in target[1]
    assert set(re.findall(r"docker build --target (\S+)", text)) == set(TARGETS)
    for variable in re.findall(r"`(FORCEGATE_[A-Z_]+)", text):
        assert variable.removeprefix("FORCEGATE_").lower() in Settings.model_fields, variable
    services = compose()["services"]
    for service in re.findall(r"docker compose run --rm --entrypoint \S+ (\S+)", text):
        assert service in services
    for path in re.findall(r"--entrypoint (?:cat|rm) keys (\S+)", text):
        assert path.rstrip("`") in services["keys"]["environment"].values()
    for service in re.findall(r"`(?:docker compose --profile cpu )?restart (\S+)`", text):
        assert service in services
    for folder in re.findall(r"kubectl apply -k (\S+)", text):
        assert (ROOT / folder / "kustomization.yaml").is_file()
