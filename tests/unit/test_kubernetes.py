"""The manifests are ones that Kubernetes takes, and every name in them stands for something."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from forcegate_client.errors import ForcegateError
from forcegate_service.api.access.keyfile import create_key, read_keys
from forcegate_service.settings import Settings
from support.deployment import (
    ROOT,
    default_of,
    dockerfile,
    labels_of_metrics,
    manifests,
    metrics_named,
    project,
    routes,
    seconds,
)
from support.manifests import (
    container,
    containers,
    environment,
    image_of,
    named,
    of_kind,
    options,
    pod,
    ports,
    selected,
    way,
)

OVERLAYS = ("cpu", "gpu", "cpu-shadow", "gpu-shadow")
# The first that has a preStop sleep without being asked for it, and the newest that is known.
VERSIONS = ("1.30", kubernetes_validate.latest_version())
# KEDA's own objects are in no schema at hand: what its documents say of the fields used here.
COUNTS = {"minReplicaCount", "maxReplicaCount", "pollingInterval"}
SCALED_OBJECT = {"scaleTargetRef", "advanced", "triggers"} | COUNTS
TRIGGERS = {
    "prometheus": {"serverAddress", "query", "threshold"},
    "cpu": {"value", "containerName"},
}
NAME = "app.kubernetes.io/name"
HEALTH_OF_TRITON = {"/v2/health/live", "/v2/health/ready"}

each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


@pytest.mark.parametrize("version", VERSIONS)
@each_overlay
def test_kubernetes_takes_every_manifest(overlay: str, version: str) -> None:
    for manifest in manifests(overlay):
        if manifest["kind"] != "ScaledObject":
            kubernetes_validate.validate(manifest, version, strict=True)


@each_overlay
def test_a_manifest_with_a_wrong_word_is_refused(overlay: str) -> None:
    deployment = of_kind(overlay, "Deployment")["gateway"]
    wrong = deployment | {"spec": deployment["spec"] | {"replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


@each_overlay
def test_everything_is_in_one_namespace_that_refuses_careless_pods(overlay: str) -> None:
    ((name, namespace),) = of_kind(overlay, "Namespace").items()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    rest = [manifest for manifest in manifests(overlay) if manifest["kind"] != "Namespace"]
    assert {manifest["metadata"]["namespace"] for manifest in rest} == {name}


@each_overlay
def test_no_container_may_do_more_than_it_needs(overlay: str) -> None:
    for name, found in containers(overlay):
        whole = pod(overlay, name)
        assert whole["automountServiceAccountToken"] is False
        assert whole["securityContext"]["runAsNonRoot"] is True
        assert whole["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        own = found["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["readOnlyRootFilesystem"] is True
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert found["resources"]["requests"].keys() >= {"cpu", "memory"}
        assert "memory" in found["resources"]["limits"]


@each_overlay
def test_what_is_mounted_is_a_volume_of_the_pod(overlay: str) -> None:
    for name, found in containers(overlay):
        volumes = {volume["name"] for volume in pod(overlay, name)["volumes"]}
        assert {mount["name"] for mount in found["volumeMounts"]} <= volumes


@each_overlay
def test_gateways_run_as_the_user_of_their_image(overlay: str) -> None:
    context = pod(overlay, "gateway")["securityContext"]
    (created,) = [rest for rest in image_of(overlay).all("RUN") if "useradd" in rest]
    assert f"--uid {context['runAsUser']} --gid {context['runAsGroup']} " in created
    assert context["fsGroup"] == context["runAsGroup"]
    home = image_of(overlay).environment()["HOME"]
    assert home in [mount["mountPath"] for mount in container(overlay, "gateway")["volumeMounts"]]


@each_overlay
def test_images_are_pinned_and_ours_are_of_this_version(overlay: str) -> None:
    for _, found in containers(overlay):
        _, _, tag = found["image"].partition("@")[0].rpartition(":")
        assert tag[:1].isdigit(), found["image"]
        if "forcegate" in found["image"]:
            assert tag == project()["version"]
    expected = {"cpu": "gateway-embedded", "gpu": "gateway"}[way(overlay)]
    assert image_of(overlay) is dockerfile()[expected]


@each_overlay
def test_every_variable_is_a_setting_and_its_value_is_valid(
    monkeypatch: pytest.MonkeyPatch, overlay: str
) -> None:
    for variable, value in environment(overlay).items():
        monkeypatch.setenv(variable, value)
    settings = Settings()
    assert settings.host == "0.0.0.0"
    assert settings.runtime == {"cpu": "embedded", "gpu": "triton"}[way(overlay)]
    assert settings.keys_file is not None
    assert not settings.allow_anonymous


@each_overlay
def test_probes_and_scrapes_ask_what_the_servers_answer(overlay: str) -> None:
    assert ports(overlay, "gateway")["http"] == int(environment(overlay)["FORCEGATE_PORT"])
    answered = {"gateway": routes(), "triton": HEALTH_OF_TRITON}
    for name, deployment in of_kind(overlay, "Deployment").items():
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container(overlay, name)[probe]["httpGet"]
            assert asked["path"] in answered[name]
            assert asked["port"] in ports(overlay, name)
        assert container(overlay, name)["livenessProbe"]["httpGet"]["path"].endswith("/live")
        assert container(overlay, name)["readinessProbe"]["httpGet"]["path"].endswith("/ready")
        scraped = deployment["spec"]["template"]["metadata"]["annotations"]
        named = {"gateway": "http", "triton": "metrics"}[name]
        assert scraped["prometheus.io/port"] == str(ports(overlay, name)[named])
        assert scraped["prometheus.io/path"] == "/metrics"
    assert "/metrics" in routes()
    assert environment(overlay)["FORCEGATE_PUBLIC_METRICS"] == "true"


@each_overlay
def test_a_pod_ends_only_after_it_answered_what_it_had(overlay: str) -> None:
    drain_s = int(environment(overlay)["FORCEGATE_DRAIN_TIMEOUT_S"])
    needed_s = {"gateway": drain_s}
    if way(overlay) == "gpu":
        needed_s["triton"] = int(options(overlay)["--exit-timeout-secs"])
    for name, own_s in needed_s.items():
        sleep_s = container(overlay, name)["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert sleep_s >= 10
        assert pod(overlay, name)["terminationGracePeriodSeconds"] >= sleep_s + own_s + 5


@each_overlay
def test_services_and_budgets_select_pods_that_exist(overlay: str) -> None:
    for name, service in of_kind(overlay, "Service").items():
        assert selected(overlay, service["spec"]["selector"]) == {name}
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in ports(overlay, name)
    budgets = of_kind(overlay, "PodDisruptionBudget")
    assert set(budgets) == set(of_kind(overlay, "Deployment"))
    for name, budget in budgets.items():
        assert selected(overlay, budget["spec"]["selector"]["matchLabels"]) == {name}
        assert budget["spec"]["maxUnavailable"] == 1


def test_gateways_ask_every_triton_server_where_it_listens() -> None:
    service = of_kind("gpu", "Service")["triton"]
    host, _, port = environment("gpu")["FORCEGATE_TRITON_URL"].partition(":")
    assert host == f"triton.{service['metadata']['namespace']}.svc"
    assert service["spec"]["clusterIP"] == "None"
    (asked,) = service["spec"]["ports"]
    # Nothing translates ports of a service without an address.
    assert int(port) == asked["port"] == ports("gpu", "triton")[asked["targetPort"]]


def test_tritons_ports_are_those_of_its_command_line() -> None:
    for name in ("http", "grpc"):
        assert options("gpu")[f"--{name}-port"] == str(ports("gpu", "triton")[name])
        assert options("gpu")[f"--{name}-address"] == "0.0.0.0"
    assert options("gpu")["--metrics-port"] == str(ports("gpu", "triton")["metrics"])
    assert options("gpu")["--model-control-mode"] == "none"


def test_triton_serves_the_models_of_the_gateways_image() -> None:
    (models,) = pod("gpu", "triton")["initContainers"]
    assert models["image"] == container("gpu", "gateway")["image"]
    command, _, source, target = models["command"]
    assert command == "cp"
    assert source == f"{image_of('gpu').environment()['FORCEGATE_MODEL_REPOSITORY']}/."
    (filled,) = models["volumeMounts"]
    assert target == f"{filled['mountPath']}/"
    served = {m["name"]: m["mountPath"] for m in container("gpu", "triton")["volumeMounts"]}
    assert served[filled["name"]] == options("gpu")["--model-repository"]


def test_an_inference_takes_no_more_threads_than_its_limit_of_processors() -> None:
    limit = int(container("cpu", "gateway")["resources"]["limits"]["cpu"])
    assert int(environment("cpu")["FORCEGATE_TORCH_THREADS"]) == limit - 1


@each_overlay
def test_nobody_is_talked_to_but_by_permission(overlay: str) -> None:
    policies = of_kind(overlay, "NetworkPolicy")
    nobody = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert [policy["spec"] for policy in policies.values()].count(nobody) == 1
    for policy in policies.values():
        chosen = selected(overlay, policy["spec"]["podSelector"].get("matchLabels", {}))
        assert chosen
        for rule in policy["spec"].get("ingress", []):
            # A rule without them would let everybody in, or in everywhere.
            assert rule["from"]
            assert rule["ports"]
            for port in rule["ports"]:
                assert all(port["port"] in ports(overlay, name) for name in chosen)


def test_only_gateways_reach_triton() -> None:
    let_in: dict[str, list[Any]] = {}
    for policy in of_kind("gpu", "NetworkPolicy").values():
        if selected("gpu", policy["spec"]["podSelector"].get("matchLabels", {})) != {"triton"}:
            continue
        for rule in policy["spec"]["ingress"]:
            for port in rule["ports"]:
                let_in.setdefault(port["port"], []).extend(rule["from"])
    assert set(let_in) == {"grpc", "metrics"}
    (peer,) = let_in["grpc"]
    assert set(peer) == {"podSelector"}
    assert selected("gpu", peer["podSelector"]["matchLabels"]) == {"gateway"}
    way_out = of_kind("gpu", "NetworkPolicy")["gateway-to-triton"]["spec"]
    assert selected("gpu", way_out["podSelector"]["matchLabels"]) == {"gateway"}
    to = way_out["egress"][0]["to"][0]["podSelector"]["matchLabels"]
    assert selected("gpu", to) == {"triton"}
    assert way_out["egress"][0]["ports"] == [{"protocol": "TCP", "port": "grpc"}]


@each_overlay
def test_the_ingress_leads_to_everything_but_metrics(overlay: str) -> None:
    (ingress,) = of_kind(overlay, "Ingress").values()
    ((rule,), (tls,)) = ingress["spec"]["rules"], ingress["spec"]["tls"]
    assert tls["hosts"] == [rule["host"]]
    paths = rule["http"]["paths"]
    for path in paths:
        service = of_kind(overlay, "Service")[path["backend"]["service"]["name"]]
        assert path["backend"]["service"]["port"]["name"] in [
            port["name"] for port in service["spec"]["ports"]
        ]

    def reached(route: str) -> bool:
        return any(
            route == path["path"]
            or (path["pathType"] == "Prefix" and route.startswith(f"{path['path']}/"))
            for path in paths
        )

    assert {route for route in routes() if not reached(route)} == {"/metrics"}
    assert all(any(route.startswith(path["path"]) for route in routes()) for path in paths)


@each_overlay
def test_the_ingress_lets_through_what_the_gateway_takes(overlay: str) -> None:
    (ingress,) = of_kind(overlay, "Ingress").values()
    given = ingress["metadata"]["annotations"]
    limit = int(environment(overlay).get("FORCEGATE_MAX_BODY_BYTES", default_of("max_body_bytes")))
    longest_s = default_of("request_timeout_s")
    for name, value in given.items():
        if name.endswith("-body-size"):
            assert int(value.removesuffix("m")) * 2**20 == limit
        else:
            assert name.endswith(("proxy-read-timeout", "proxy-send-timeout"))
            assert seconds(value) > longest_s
    assert len(given) == 6


@each_overlay
def test_a_secret_becomes_a_file_of_keys_that_the_gateway_takes(
    overlay: str, tmp_path: Path
) -> None:
    keys = named(pod(overlay, "gateway")["initContainers"], "keys")
    *command, source, target = keys["command"]
    assert target == environment(overlay)["FORCEGATE_KEYS_FILE"]
    mounted = {mount["mountPath"]: mount["name"] for mount in keys["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod(overlay, "gateway")["volumes"]}
    secret = volumes[mounted[str(Path(source).parent)]]["secret"]
    shared = mounted[str(Path(target).parent)]
    assert {"name": shared, "mountPath": str(Path(target).parent), "readOnly": True} in container(
        overlay, "gateway"
    )["volumeMounts"]
    # As Kubernetes lays the files of a secret: links, and a group may read what they lead to.
    create_key(tmp_path / "made.json", "somebody", ["predict"])
    (tmp_path / "made.json").chmod(secret["defaultMode"])
    (tmp_path / "link.json").symlink_to("made.json")
    with pytest.raises(ForcegateError, match="mode 440"):
        read_keys(tmp_path / "link.json")
    copy = [*command, tmp_path / "link.json", tmp_path / "copy.json"]
    for _ in range(2):  # A pod's containers can be started again.
        subprocess.run(copy, check=True, timeout=60)
    assert len(read_keys(tmp_path / "copy.json")[0]) == 1
    text = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    told = set(re.findall(r"secret generic (\S+) --namespace (\S+) --from-file=(\S+)", text))
    (namespace,) = of_kind(overlay, "Namespace")
    assert (secret["secretName"], namespace, Path(source).name) in told


@each_overlay
def test_what_is_scaled_exists_and_chooses_its_own_number(overlay: str) -> None:
    scaled = of_kind(overlay, "ScaledObject")
    assert set(scaled) == set(of_kind(overlay, "Deployment"))
    for name, found in scaled.items():
        assert found["apiVersion"] == "keda.sh/v1alpha1"
        spec = found["spec"]
        assert set(spec) == SCALED_OBJECT
        assert spec["scaleTargetRef"] == {"name": name}
        assert "replicas" not in of_kind(overlay, "Deployment")[name]["spec"]
        assert 1 <= spec["minReplicaCount"] < spec["maxReplicaCount"]
        # KEDA hands this part on to Kubernetes, in whose schema it is.
        assert set(spec["advanced"]) == {"horizontalPodAutoscalerConfig"}
        behaviour = spec["advanced"]["horizontalPodAutoscalerConfig"]
        reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
        scaler = {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": name},
            "spec": {"scaleTargetRef": reference, "maxReplicas": 2, **behaviour},
        }
        kubernetes_validate.validate(scaler, VERSIONS[-1], strict=True)


@each_overlay
def test_scaling_looks_at_metrics_that_gateways_export(overlay: str) -> None:
    (namespace,) = of_kind(overlay, "Namespace")
    looked_at = set()
    for found in of_kind(overlay, "ScaledObject").values():
        for trigger in found["spec"]["triggers"]:
            if trigger["type"] == "cpu":
                # What another container of the pod does is no reason for more pods.
                target = found["spec"]["scaleTargetRef"]["name"]
                assert trigger["metadata"]["containerName"] == target
            assert set(trigger) <= {"type", "name", "metricType", "metadata"}
            assert set(trigger["metadata"]) == TRIGGERS[trigger["type"]]
            assert all(isinstance(value, str) for value in trigger["metadata"].values())
            for metric, labels in metrics_named(trigger["metadata"].get("query", "")):
                looked_at.add(metric)
                # Prometheus adds where a pod runs; the rest is ours.
                assert labels.pop("namespace") == namespace
                assert set(labels) <= labels_of_metrics()[metric], metric
                assert labels.get("route", "/v1/predict") in routes()
                assert labels.get("code", "429") == "429"
    assert looked_at == {"forcegate_runtime_busy_seconds_total", "forcegate_requests_total"}
