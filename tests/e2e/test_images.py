"""What the Dockerfile installs and starts works, replayed without a container engine.

Each target's ``RUN`` lines that install are carried out in an environment of its own, and its entry
point is started with the environment that its image sets. What differs from an image: the packages
lie elsewhere and without bytecode, torch is lent by the environment that runs the tests (it is too
large to be fetched for a test), servers listen on loopback, and no model is compiled, which other
tests are about.
"""

from __future__ import annotations

import http.client
import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path

import pytest

from support.compose_file import make_keys, script_of
from support.deployment import ROOT, Stage, dockerfile
from support.shadow_worker import labels_what_is_put_aside

# Fills virtual environments from the package index.
pytestmark = pytest.mark.system

PREFIX = "/opt/forcegate"
REPOSITORY = "/srv/model_repository"
CHECK = "/usr/local/lib/forcegate/healthcheck.py"
# Of a molecule, by AIMNet2 as wB97M-D3 has it, eV.
WATER_ENERGY = -2081
WATER = {
    "model": "painn_base",
    "properties": ["energy", "forces"],
    "structures": [
        {
            "atomic_numbers": [8, 1, 1],
            "positions": [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]],
        }
    ],
}


def lend_torch(venv: Path) -> None:
    """Let an environment find this one's torch, and nothing else of it."""
    folder = venv.parent / "torch"
    folder.mkdir()
    torch = distribution("torch")
    for file in torch.files or []:
        # Its own packages, and what says that it is installed; scripts lie outside.
        top = file.parts[0]
        if top != ".." and not (folder / top).exists():
            (folder / top).symlink_to(Path(str(torch.locate_file(top))).resolve())
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    packages = venv / "lib" / f"python{version}" / "site-packages"
    (packages / "torch.pth").write_text(f"{folder}\n", encoding="utf-8")


def installing(target: str) -> Stage:
    """The stage whose environment a target copies."""
    stages = dockerfile()
    ((_, source, place),) = [
        rest.split() for rest in stages[target].all("COPY") if "--from=" in rest
    ]
    assert source == place == PREFIX
    (copy,) = [rest for rest in stages[target].all("COPY") if "--from=" in rest]
    return stages[re.findall(r"--from=(\S+)", copy)[0]]


def install(target: str, folder: Path) -> Path:
    """Carry out what the image's environment is made by; returns that environment."""
    source, venv = folder / "source", folder / "opt"
    source.mkdir(parents=True)
    for instruction, rest in installing(target).instructions:
        if instruction == "COPY":
            *names, place = rest.split()
            for name in map(Path, names):
                copy(ROOT / name, source / place)
        elif instruction == "RUN":
            words = [word.replace(PREFIX, str(venv)) for word in shlex.split(rest)]
            if words[0] == "apt-get":
                # This machine is not changed: what the image gets has to be here already.
                packages = words[words.index("--no-install-recommends") + 1 :]
                missing = [package for package in packages if shutil.which(package) is None]
                assert packages
                assert not missing, f"not on this machine: {missing}"
                continue
            own = {name: str(venv / "bin" / name) for name in ("pip", "forcegate-train")}
            program = {"python": sys.executable, **own}[words[0]]
            if words[:2] == ["pip", "install"]:
                # Half of the time that it takes would go into modules that nobody imports here.
                words.append("--no-compile")
            run(program, *words[1:], cwd=source)
            if words[1:3] == ["-m", "venv"]:
                lend_torch(venv)
    return venv


def copy(source: Path, folder: Path) -> None:
    """As COPY does with a folder as its place: what is in a folder, or a file by its name."""
    folder.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.h5")
        shutil.copytree(source, folder, ignore=ignored, dirs_exist_ok=True)
    else:
        shutil.copy(source, folder)


def run(*command: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(
        words, capture_output=True, text=True, cwd=cwd or "/", env=env, timeout=900
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def environment(target: str, venv: Path) -> dict[str, str]:
    """What the image sets, with its places where they are here; nothing of this process's own."""
    found = dockerfile()[target].environment()
    for inside, outside in ((PREFIX, venv), (REPOSITORY, ROOT / "model_repository")):
        found = {name: value.replace(inside, str(outside)) for name, value in found.items()}
    return {
        **found,
        "PATH": found["PATH"].replace("$PATH", "/usr/bin:/bin"),
        "HOME": str(venv.parent),
        # Two cores are shared with other tests.
        "OMP_NUM_THREADS": "1",
        "FORCEGATE_TORCH_THREADS": "1",
    }


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def started(target: str, settings: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The entry point of an image, found on the path that the image sets."""
    (script,) = json.loads(dockerfile()[target].all("ENTRYPOINT")[-1])
    program = shutil.which(script, path=settings["PATH"])
    assert program is not None
    server = subprocess.Popen([program], env=settings, cwd="/")
    try:
        yield server
        server.terminate()
        assert server.wait(timeout=120) == 0
    finally:
        server.kill()
        server.wait()


def ask(port: int, path: str, body: object = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        if body is None:
            connection.request("GET", path)
        else:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def ask_until(server: subprocess.Popen[bytes], port: int, path: str, status: int) -> None:
    for _ in range(1200):
        assert server.poll() is None
        try:
            if ask(port, path)[0] == status:
                return
        except OSError:
            pass
        time.sleep(0.25)
    raise AssertionError(f"{path} never answered {status}")


def is_healthy(target: str, settings: dict[str, str]) -> bool:
    """What the image's health check says."""
    (check,) = dockerfile()[target].all("HEALTHCHECK")
    python, script = json.loads(check.partition("CMD ")[2])
    assert script == CHECK
    program = shutil.which(python, path=settings["PATH"])
    command = [str(program), str(ROOT / "deploy" / "healthcheck.py")]
    return subprocess.run(command, env=settings, timeout=60).returncode == 0


def has(venv: Path, module: str) -> bool:
    code = f"from importlib.util import find_spec; print(find_spec('{module}') is not None)"
    return run(venv / "bin" / "python", "-I", "-c", code).strip() == "True"


def consenting(settings: dict[str, str]) -> tuple[dict[str, str], int]:
    """As an operator would start it, but for loopback; and the port."""
    port = free_port()
    given = {"FORCEGATE_HOST": "127.0.0.1", "FORCEGATE_ALLOW_ANONYMOUS": "true"}
    return {**settings, **given, "FORCEGATE_PORT": str(port)}, port


def test_the_gateway_lives_without_triton_and_is_not_ready(tmp_path: Path) -> None:
    venv = install("gateway", tmp_path)
    (venv / "lib" / f"python3.{sys.version_info.minor}" / "site-packages" / "torch.pth").unlink()
    assert not has(venv, "torch")
    settings, port = consenting(environment("gateway", venv))
    settings["FORCEGATE_TRITON_URL"] = f"127.0.0.1:{free_port()}"
    with started("gateway", settings) as server:
        ask_until(server, port, "/health/live", 200)
        assert ask(port, "/health/ready")[0] == 503
        # The files of the page are in the wheel.
        for path in ("/", "/page/main.js", "/page/style.css"):
            assert ask(port, path)[0] == 200
        assert not is_healthy("gateway", settings)
        status, answer = ask(port, "/v1/predict", WATER)
        assert (status, json.loads(answer)["status"]) == (503, 503)
        assert b"forcegate_runtime_up 0.0" in ask(port, "/metrics")[1]


def test_the_embedded_gateway_predicts(tmp_path: Path) -> None:
    venv = install("gateway-embedded", tmp_path)
    assert not has(venv, "tritonclient")
    image = environment("gateway-embedded", venv)
    # Nobody has consented to strangers yet.
    program = str(venv / "bin" / "forcegate-serve")
    refused = subprocess.run([program], env=image, cwd="/", capture_output=True, timeout=300)
    assert refused.returncode == 2
    assert b"FORCEGATE_ALLOW_ANONYMOUS" in refused.stderr
    settings, port = consenting(image)
    with started("gateway-embedded", settings) as server:
        ask_until(server, port, "/health/ready", 200)
        assert is_healthy("gateway-embedded", settings)
        status, answer = ask(port, "/v1/predict", WATER)
        assert status == 200
        (result,) = json.loads(answer)["results"]
        # Water by wB97M-D3, to which the model was fitted.
        assert result["energy"] == pytest.approx(WATER_ENERGY, abs=1)
        assert len(result["forces"]) == 3


def test_the_trainer_has_its_commands_and_labels_beside_a_gateway(tmp_path: Path) -> None:
    venv = install("trainer", tmp_path)
    settings = environment("trainer", venv)
    (script,) = json.loads(dockerfile()["trainer"].all("ENTRYPOINT")[-1])
    arguments = json.loads(dockerfile()["trainer"].all("CMD")[-1])
    shown = run(venv / "bin" / script, *arguments, env=settings)
    assert {"fit", "validate"} <= set(re.findall(r"\w+", shown))
    for module in ("torch", "tblite", "rdkit", "matplotlib", "tensorboard"):
        assert has(venv, module), module
    # As Compose starts it beside a gateway, with the key that Compose made for it.
    make_keys(tmp_path)
    worker = {
        **settings,
        # Nothing of the environment that runs the tests.
        "PYTHONPATH": "",
        "FORCEGATE_SHADOW_DIR": str(tmp_path / "spool"),
        "SHADOW_KEY_FILE": str(tmp_path / "shadow-key" / "key"),
    }
    labels_what_is_put_aside(
        script_of("shadow"),
        worker,
        models=tmp_path / "models",
        keys=tmp_path / "keys" / "keys.json",
        key=(tmp_path / "first-key" / "key").read_text().strip(),
        asked="http://forcegate:8000",
        programs=venv / "bin",
    )
