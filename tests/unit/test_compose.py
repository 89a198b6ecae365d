"""docker-compose.yml is one that Compose takes, and every name in it stands for something."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from forcegate_service.api.access.keyfile import read_keys
from forcegate_service.api.access.keys import SCOPES
from forcegate_service.settings import Settings
from support.compose_file import SERVICES, environment, found_by, make_keys, mounts
from support.deployment import ROOT, compose, default_of, dockerfile, routes, seconds
from support.watchers import tool

GATEWAYS = ("gateway", "gateway-embedded")
PROFILES = ("cpu", "gpu")
# The teacher comes on top of a gateway.
STARTED = [{"cpu"}, {"gpu"}, {"cpu", "shadow"}, {"gpu", "shadow"}]
BUILT = sorted(name for name, service in SERVICES.items() if "build" in service)
MEMORY = {"m": 2**20, "g": 2**30}


def configuration(name: str) -> Any:
    path = ROOT / "deploy" / name
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def options_of(name: str) -> dict[str, str]:
    """The command line of a service: options by name."""
    words = [word for word in SERVICES[name]["command"] if word.startswith("--")]
    return {option: value for option, _, value in (word.partition("=") for word in words)}


def test_it_is_a_compose_file() -> None:
    PyCompose.from_yaml(yaml.safe_dump(compose())).validate()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("read_only:", "readonly:"), ("start_period", "start_periode"), ("- keys:/", "- kyes:/")],
)
def test_a_compose_file_with_a_wrong_word_is_none(right: str, wrong: str) -> None:
    text = yaml.safe_dump(compose())
    assert right in text
    with pytest.raises(ValueError, match=r"\w"):
        PyCompose.from_yaml(text.replace(right, wrong)).validate()


def test_every_service_belongs_to_profiles_that_can_be_started_together() -> None:
    assert set().union(*(service["profiles"] for service in SERVICES.values())) == {
        *PROFILES, "shadow",
    }  # fmt: skip
    for profiles in STARTED:
        started = {name for name in SERVICES if profiles & set(SERVICES[name]["profiles"])}
        assert len(started & set(GATEWAYS)) == 1
        published = [port for name in started for port in SERVICES[name].get("ports", [])]
        assert len(published) == len(set(published))
        for name in started:
            assert set(SERVICES[name].get("depends_on", {})) <= started
    assert SERVICES["triton"]["profiles"] == ["gpu"]


@pytest.mark.parametrize("name", BUILT)
def test_what_is_built_is_a_target_that_exists_with_arguments_that_it_takes(name: str) -> None:
    build = SERVICES[name]["build"]
    assert (ROOT / build["context"]).resolve() == ROOT
    assert SERVICES[name]["image"] == f"forcegate-{build['target']}"
    stage = dockerfile()["source"]
    assert build["target"] in dockerfile()
    assert set(build["args"]) <= set(stage.all("ARG"))


def test_ports_are_published_on_loopback_only() -> None:
    for service in SERVICES.values():
        for published in service.get("ports", []):
            address, outside, inside = published.split(":")
            assert address == "127.0.0.1"
            assert outside == inside


@pytest.mark.parametrize("name", GATEWAYS)
def test_the_published_port_is_the_gateways(name: str) -> None:
    port = environment(name)["FORCEGATE_PORT"]
    assert SERVICES[name]["ports"] == [f"127.0.0.1:{port}:{port}"]


@pytest.mark.parametrize("name", GATEWAYS)
def test_every_variable_is_a_setting_and_its_value_is_valid(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for variable, value in environment(name).items():
        monkeypatch.setenv(variable, value)
    settings = Settings()
    assert settings.host == "0.0.0.0"
    assert settings.keys_file is not None
    assert not settings.allow_anonymous
    assert settings.runtime == {"gateway": "triton", "gateway-embedded": "embedded"}[name]


@pytest.mark.parametrize("name", SERVICES)
def test_no_container_may_do_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"] <= 512
    number, unit = re.fullmatch(r"(\d+)([mg])", service["mem_limit"]).groups()  # type: ignore[union-attr]
    assert 0 < int(number) * MEMORY[unit] <= 16 * MEMORY["g"]
    assert any(mounted.split(":")[0] == "/tmp" for mounted in service["tmpfs"])


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"keys", "shadow"}))
def test_every_server_is_watched_and_started_again(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"
    # How to ask a gateway is said in its image.
    assert "test" in SERVICES[name]["healthcheck"] or name in GATEWAYS
    assert {"interval", "timeout", "retries"} <= set(SERVICES[name]["healthcheck"])


@pytest.mark.parametrize("name", SERVICES)
def test_everything_mounted_exists(name: str) -> None:
    for place, (outside, writable) in mounts(name).items():
        assert place.startswith("/")
        if outside.startswith("."):
            assert (ROOT / outside).is_dir(), outside
            assert not writable
        else:
            assert outside in compose()["volumes"]


@pytest.mark.parametrize("name", BUILT)
def test_volumes_are_mounted_where_the_image_has_a_folder_of_its_user(name: str) -> None:
    stage = dockerfile()[SERVICES[name]["build"]["target"]]
    (made,) = [rest for rest in stage.all("RUN") if rest.startswith("install --directory")]
    assert "--owner=forcegate --group=forcegate --mode=0700" in made
    for place, (outside, _) in mounts(name).items():
        if not outside.startswith("."):
            assert place in made.split()


@pytest.mark.parametrize("name", GATEWAYS)
def test_the_gateway_reads_keys_and_models_where_they_are_mounted(name: str) -> None:
    said = environment(name)
    keys = Path(said["FORCEGATE_KEYS_FILE"])
    assert mounts(name)[str(keys.parent)] == ("keys", False)
    assert mounts("keys")[str(keys.parent)] == ("keys", True)
    repository = (f"./{default_of('model_repository')}", False)
    assert mounts(name)[said["FORCEGATE_MODEL_REPOSITORY"]] == repository


@pytest.mark.parametrize("name", GATEWAYS)
def test_running_requests_are_finished_before_the_container_is_killed(name: str) -> None:
    drain_s = int(environment(name).get("FORCEGATE_DRAIN_TIMEOUT_S", default_of("drain_timeout_s")))
    assert seconds(SERVICES[name]["stop_grace_period"]) > drain_s


def test_the_gateway_asks_triton_where_it_listens() -> None:
    host, _, port = environment("gateway")["FORCEGATE_TRITON_URL"].partition(":")
    assert found_by("gateway", host, "gpu") == ["triton"]
    options = options_of("triton")
    assert options["--grpc-port"] == port
    assert options["--grpc-address"] == "0.0.0.0"


def test_triton_has_the_gateways_models_and_nobody_else_reaches_it() -> None:
    options = options_of("triton")
    repository = (f"./{default_of('model_repository')}", False)
    assert mounts("triton")[options["--model-repository"]] == repository
    assert options["--model-control-mode"] == "none"
    assert "ports" not in SERVICES["triton"]
    (network,) = SERVICES["triton"]["networks"]
    assert compose()["networks"][network] == {"internal": True}
    beside = {name for name in SERVICES if network in SERVICES[name].get("networks", {})}
    assert beside == {"triton", "gateway", "prometheus"}


def test_triton_is_asked_for_its_health_where_it_listens() -> None:
    asked = SERVICES["triton"]["healthcheck"]["test"][-1]
    assert f'"127.0.0.1", {options_of("triton")["--http-port"]},' in asked
    compile(asked, "healthcheck", "exec")


@pytest.mark.parametrize("profile", PROFILES)
def test_prometheus_scrapes_every_server_once(profile: str) -> None:
    jobs = {
        job["job_name"]: job for job in configuration("prometheus/prometheus.yml")["scrape_configs"]
    }
    targets = []
    for job in jobs.values():
        for lookup in job.get("dns_sd_configs", []):
            assert lookup["type"] == "A"
            for name in lookup["names"]:
                found = found_by("prometheus", name, profile)
                targets += [(service, lookup["port"], job["metrics_path"]) for service in found]
    gateway = {"cpu": "gateway-embedded", "gpu": "gateway"}[profile]
    expected = [(gateway, int(environment(gateway)["FORCEGATE_PORT"]), "/metrics")]
    if profile == "gpu":
        expected.append(("triton", int(options_of("triton")["--metrics-port"]), "/metrics"))
    assert targets == expected
    assert "/metrics" in routes()
    # It shows no key.
    assert environment(gateway)["FORCEGATE_PUBLIC_METRICS"] == "true"


def port_of(name: str) -> str:
    (published,) = SERVICES[name]["ports"]
    return str(published.rpartition(":")[2])


def test_prometheus_alertmanager_and_grafana_find_each_other() -> None:
    alerting = configuration("prometheus/prometheus.yml")["alerting"]["alertmanagers"]
    ((manager,),) = [static["targets"] for entry in alerting for static in entry["static_configs"]]
    name, _, port = manager.partition(":")
    assert (found_by("prometheus", name, "cpu"), port) == (
        ["alertmanager"],
        port_of("alertmanager"),
    )
    (source,) = configuration("grafana/datasources/prometheus.yml")["datasources"]
    assert source["url"] == f"http://prometheus:{port_of('prometheus')}"
    assert found_by("grafana", "prometheus", "cpu") == ["prometheus"]


@pytest.mark.parametrize("name", ["prometheus", "alertmanager"])
def test_a_server_reads_the_configuration_that_is_mounted(name: str) -> None:
    file = Path(options_of(name)["--config.file"])
    outside, _ = mounts(name)[str(file.parent)]
    assert (ROOT / outside / file.name).is_file()
    asked = SERVICES[name]["healthcheck"]["test"][-1]
    assert asked == f"http://127.0.0.1:{port_of(name)}/-/ready"


@pytest.mark.parametrize("name", ["prometheus", "alertmanager", "grafana"])
def test_what_a_server_remembers_lies_in_a_volume(name: str) -> None:
    assert [outside for outside, writable in mounts(name).values() if writable] == [name]


def test_alerts_have_a_receiver_that_exists() -> None:
    described = configuration("alertmanager/alertmanager.yml")
    receivers = [receiver["name"] for receiver in described["receivers"]]
    assert described["route"]["receiver"] in receivers
    assert {route["receiver"] for route in described["route"]["routes"]} <= set(receivers)


def test_alertmanager_takes_its_configuration() -> None:
    file = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
    command = [tool("amtool"), "check-config", file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_finds_its_dashboards_where_they_are_mounted() -> None:
    for file in (ROOT / "deploy" / "grafana" / "providers").iterdir():
        (provider,) = yaml.safe_load(file.read_text(encoding="utf-8"))["providers"]
        place = provider["options"]["path"]
        assert mounts("grafana")[place] == ("./deploy/grafana/dashboards", False)
    assert mounts("grafana")["/etc/grafana/provisioning/dashboards"][0].endswith("/providers")


def test_grafana_has_no_password_that_others_know() -> None:
    password = SERVICES["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD"]
    # Without the variable Compose stops, and says what stands behind the question mark.
    name, _, told = password.removeprefix("${").removesuffix("}").partition(":?")
    assert "docs/deploy.md" in told
    assert f"{name}=" in (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    assert "/.env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_the_first_start_makes_a_key_and_later_ones_leave_it(tmp_path: Path) -> None:
    make_keys(tmp_path)
    written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    key = tmp_path / "first-key" / "key"
    record, *_ = read_keys(tmp_path / "keys" / "keys.json")[0].values()
    assert re.fullmatch(rf"fg_{record.id}_\S+\n", key.read_text())
    assert set(record.scopes) == set(SCOPES)
    assert key.stat().st_mode & 0o077 == 0
    make_keys(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == written


def test_no_server_sees_the_first_key() -> None:
    (place,) = (p for p, (volume, _) in mounts("keys").items() if volume == "first-key")
    assert SERVICES["keys"]["environment"]["FIRST_KEY_FILE"].startswith(place)
    for name in set(SERVICES) - {"keys"}:
        assert "first-key" not in [outside for outside, _ in mounts(name).values()]
    waited = [SERVICES[name]["depends_on"]["keys"]["condition"] for name in GATEWAYS]
    assert set(waited) == {"service_completed_successfully"}
    assert SERVICES["keys"]["network_mode"] == "none"
