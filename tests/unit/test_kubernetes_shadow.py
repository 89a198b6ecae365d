"""The teacher in the overlays that have one: beside each gateway, and never in its way."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from forcegate_service.api.access.keyfile import create_key
from forcegate_service.settings import Settings
from forcegate_service.watch.disk import make_private
from forcegate_service.watch.shadow.spool import Spool
from support.deployment import ROOT, default_of, dockerfile, project
from support.manifests import (
    container,
    containers,
    environment,
    image_of,
    named,
    of_kind,
    pod,
    ports,
    way,
)
from support.shadow_worker import labels_what_is_put_aside, parsed, put_program, started
from support.watchers import until

OVERLAYS = ("cpu-shadow", "gpu-shadow")
UNITS = {"Mi": 2**20, "Gi": 2**30}

each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


def worker(overlay: str) -> dict[str, Any]:
    return named(pod(overlay, "gateway")["containers"], "shadow")


def script(overlay: str) -> list[str]:
    return [*worker(overlay)["command"], *worker(overlay)["args"]]


def said(overlay: str) -> dict[str, str]:
    """What the worker is given in so many words."""
    return {one["name"]: one["value"] for one in worker(overlay)["env"] if "value" in one}


def mounted(found: dict[str, Any]) -> dict[str, str]:
    """By place: the volume that a container has there."""
    return {mount["mountPath"]: mount["name"] for mount in found["volumeMounts"]}


def document() -> str:
    return (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")


def amount(text: str) -> int:
    return int(text[:-2]) * UNITS[text[-2:]]


def millicores(text: str) -> int:
    return int(text[:-1]) if text.endswith("m") else 1000 * int(text)


@each_overlay
def test_it_comes_with_the_overlay_that_is_named_for_it_and_no_other(
    monkeypatch: pytest.MonkeyPatch, overlay: str
) -> None:
    with_it = {name for name, found in containers(overlay) if found["name"] == "shadow"}
    assert with_it == {"gateway"}
    assert not [found for _, found in containers(way(overlay)) if "trainer" in found["image"]]
    assert not [name for name in environment(way(overlay)) if "SHADOW" in name]
    assert default_of("shadow_fraction") == 0
    for variable, value in environment(overlay).items():
        monkeypatch.setenv(variable, value)
    assert 0 < Settings().shadow_fraction <= 0.01
    assert f"`{overlay}` instead of `{way(overlay)}`" in document()


@each_overlay
def test_all_else_is_as_in_the_overlay_without_it(overlay: str) -> None:
    for kind in ("Service", "NetworkPolicy", "Ingress", "PodDisruptionBudget", "ScaledObject"):
        assert of_kind(overlay, kind) == of_kind(way(overlay), kind)
    found, before = container(overlay, "gateway"), container(way(overlay), "gateway")
    changed = {key for key in found | before if found.get(key) != before.get(key)}
    assert changed == {"env", "volumeMounts"}


@each_overlay
def test_it_runs_the_trainers_image_as_the_user_of_the_gateway(overlay: str) -> None:
    name, _, tag = worker(overlay)["image"].rpartition("/")[2].partition(":")
    assert tag == project()["version"]
    stage = dockerfile()[name.removeprefix("forcegate-")]
    assert stage is dockerfile()["trainer"]
    # The folder has mode 700; the pod says which user, and it is that of both images.
    assert stage.all("USER")[-1] == image_of(overlay).all("USER")[-1]
    assert worker(overlay)["securityContext"].keys().isdisjoint({"runAsUser", "runAsGroup"})


@each_overlay
def test_gateway_and_worker_have_one_folder_that_is_private(overlay: str, tmp_path: Path) -> None:
    folder = Path(environment(overlay)["FORCEGATE_SHADOW_DIR"])
    assert said(overlay)["FORCEGATE_SHADOW_DIR"] == str(folder)
    makes = named(pod(overlay, "gateway")["initContainers"], "spool")
    for found in (container(overlay, "gateway"), worker(overlay), makes):
        assert mounted(found)[str(folder.parent)] == "shadow"
    # As Kubernetes makes a volume for a group: others may look into it, and the gateway would not
    # use it, but what it uses is below.
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(0o2777)
    with pytest.raises(PermissionError):
        make_private(volume)
    *command, place = makes["command"]
    assert place == str(folder)
    for _ in range(2):  # A pod's containers can be started again.
        subprocess.run([*command, volume / folder.name], check=True, timeout=60)
        Spool(volume / folder.name).open()


@each_overlay
def test_a_full_folder_does_not_end_the_pod(overlay: str) -> None:
    most = environment(overlay).get("FORCEGATE_SHADOW_MAX_BYTES", default_of("shadow_max_bytes"))
    volume = named(pod(overlay, "gateway")["volumes"], "shadow")
    assert amount(volume["emptyDir"]["sizeLimit"]) >= 2 * int(most)


@each_overlay
def test_it_asks_less_than_a_gateway_would_notice(overlay: str) -> None:
    own, gateways = worker(overlay)["resources"], container(overlay, "gateway")["resources"]
    weight = millicores(gateways["requests"]["cpu"]) / millicores(own["requests"]["cpu"])
    assert weight >= 100
    assert millicores(own["limits"]["cpu"]) <= 1000
    assert amount(own["limits"]["memory"]) <= UNITS["Gi"]


@each_overlay
def test_its_command_line_is_one_of_the_trainers(overlay: str, tmp_path: Path) -> None:
    programs, told = tmp_path / "programs", tmp_path / "told"
    put_program(
        programs, "forcegate-train", f'printf "%s\\n" "$@" > {told}.new; mv {told}.new {told}'
    )
    with started(script(overlay), said(overlay), programs) as process:
        until(lambda: told.is_file() or process.poll() is not None, "nothing was started")
    options = parsed(told.read_text().splitlines())
    assert str(options["spool"]) == environment(overlay)["FORCEGATE_SHADOW_DIR"]
    # Containers of a pod have one loopback.
    assert options["gateway"] == f"http://127.0.0.1:{ports(overlay, 'gateway')['http']}"
    assert options["once"] is False
    assert options["nice"] == 19


@each_overlay
def test_a_worker_that_fails_does_not_take_its_gateway_out_of_service(
    overlay: str, tmp_path: Path
) -> None:
    programs, starts = tmp_path / "programs", tmp_path / "starts"
    # The third of them works; a pause is none here.
    put_program(
        programs,
        "forcegate-train",
        f'echo >> {starts}; [ "$(wc -l < {starts})" -lt 3 ] && exit 2\n'
        f"trap 'touch {tmp_path}/released; exit 143' TERM\n"
        f"touch {tmp_path}/works; while :; do /bin/sleep 0.01; done",
    )
    put_program(programs, "sleep", "exit 0")
    with started(script(overlay), said(overlay), programs) as process:
        works = tmp_path / "works"
        until(lambda: works.exists() or process.poll() is not None, "it was not started again")
        assert process.poll() is None
        process.terminate()
        assert process.wait(timeout=60) == 143
    assert (tmp_path / "released").exists()
    assert len(starts.read_text().splitlines()) == 3


@each_overlay
def test_it_is_told_to_end_between_two_attempts_too(overlay: str, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    put_program(programs, "forcegate-train", "exit 2")
    put_program(programs, "sleep", f"touch {tmp_path}/waits; exec /bin/sleep 600")
    with started(script(overlay), said(overlay), programs) as process:
        waits = tmp_path / "waits"
        until(lambda: waits.exists() or process.poll() is not None, "it does not wait")
        assert process.poll() is None
        process.terminate()
        assert process.wait(timeout=60) == 143


@each_overlay
def test_it_has_one_key_for_one_thing(overlay: str, tmp_path: Path) -> None:
    (key,) = (one for one in worker(overlay)["env"] if "valueFrom" in one)
    assert key["name"] == "FORCEGATE_API_KEY"
    (source,) = key["valueFrom"].values()
    assert set(key["valueFrom"]) == {"secretKeyRef"}
    (namespace,) = of_kind(overlay, "Namespace")
    made = f"secret generic {source['name']} --namespace {namespace} --from-file={source['key']}="
    (file,) = re.findall(rf"{re.escape(made)}(\S+)", document())
    (scopes,) = re.findall(rf"keys create .*--name \S+ (--scope .*) > {file}\n", document())
    assert scopes == "--scope shadow"
    # It sees no keys of others: no secret is mounted, and no volume that the gateway keeps them in.
    assert set(mounted(worker(overlay)).values()) == {"shadow", "shadow-tmp"}
    keys = tmp_path / "keys.json"
    shadow, predict = (create_key(keys, name, [name]) for name in ("shadow", "predict"))  # type: ignore[list-item]
    labels_what_is_put_aside(
        script(overlay),
        {"FORCEGATE_SHADOW_DIR": str(tmp_path / "spool"), "FORCEGATE_API_KEY": shadow},
        models=tmp_path / "models",
        keys=keys,
        key=predict,
        asked=f"http://127.0.0.1:{ports(overlay, 'gateway')['http']}",
    )
