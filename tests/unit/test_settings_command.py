"""What is set, and from where; and a name that nobody knows is no silent wish."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from forcegate_service.cli import create_cli
from forcegate_service.settings import Settings

ROOT = Path(__file__).parents[2]
SECRET = "fg_k3v9x0qa_" + "A" * 43


def serve(*words: str, **environment: str) -> Result:
    return CliRunner(env=environment).invoke(create_cli(), words)


def test_every_setting_is_listed_with_its_value_and_where_it_comes_from() -> None:
    told = serve("--port", "9", "settings", "--json", FORCEGATE_MAX_ATOMS="77")
    assert told.exit_code == 0, told.output
    found = {entry["name"]: entry for entry in json.loads(told.stdout)}
    assert set(found) == {f"FORCEGATE_{name.upper()}" for name in Settings.model_fields}
    assert (found["FORCEGATE_PORT"]["value"], found["FORCEGATE_PORT"]["source"]) == (
        9, "command line",
    )  # fmt: skip
    atoms = found["FORCEGATE_MAX_ATOMS"]
    assert (atoms["value"], atoms["source"]) == (77, "environment")
    assert found["FORCEGATE_HOST"]["source"] == "default"
    lines = serve("settings", FORCEGATE_MAX_ATOMS="77").stdout.splitlines()
    assert re.fullmatch(r"setting +value +source", lines[0])
    assert re.search(r"^FORCEGATE_MAX_ATOMS +77 +environment$", "\n".join(lines), re.M)


def test_the_option_wins_over_the_environment_and_says_so() -> None:
    told = serve("--port", "9", "settings", "--json", FORCEGATE_PORT="8")
    (port,) = [one for one in json.loads(told.stdout) if one["name"] == "FORCEGATE_PORT"]
    assert (port["value"], port["source"]) == (9, "command line")


def test_a_key_in_the_wrong_place_is_not_shown() -> None:
    told = serve("settings", FORCEGATE_CAPTURE_DIR=f"/tmp/{SECRET}", FORCEGATE_API_KEY=SECRET)
    assert told.exit_code == 0
    assert "A" * 43 not in told.output
    assert "fg_k3v9x0qa_…" in told.output


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("FORCEGATE_PROT", "FORCEGATE_PORT"),
        ("FORCEGATE_KEY_FILE", "FORCEGATE_KEYS_FILE"),
        ("FORCEGATE_MAX_ATOM", "FORCEGATE_MAX_ATOMS"),
        ("forcegate_modelrepository", "FORCEGATE_MODEL_REPOSITORY"),
        ("FORCEGATE_CAPTURE_FOLDER", "FORCEGATE_CAPTURE"),
        ("FORCEGATE_ZZZZZZZZ", "docs/settings.md"),
    ],
)
@pytest.mark.parametrize("words", [(), ("settings",)])
def test_an_unknown_name_is_an_error_that_knows_what_was_meant(
    given: str, meant: str, words: tuple[str, ...]
) -> None:
    told = serve(*words, **{given: "3"})
    assert (told.exit_code, told.stdout) == (2, "")
    (line,) = told.stderr.splitlines()
    assert line.startswith(f"forcegate-serve: {given}: no such setting; ")
    assert meant in line


def test_everything_that_is_wrong_is_told_at_once() -> None:
    told = serve(FORCEGATE_PROT="3", FORCEGATE_PORT="x", FORCEGATE_MAX_ATOMS="-1")
    assert told.exit_code == 2
    for name in ("FORCEGATE_PROT:", "FORCEGATE_PORT:", "FORCEGATE_MAX_ATOMS:"):
        assert name in told.stderr


@pytest.mark.parametrize(
    "name",
    [
        "FORCEGATE_URL", "FORCEGATE_API_KEY", "FORCEGATE_ALLOW_PLAIN_HTTP", "forcegate_port",
        "FORCEGATE_SERVICE_HOST", "FORCEGATE_SERVICE_PORT_HTTP", "FORCEGATE_PORT_8000_TCP_ADDR",
        "MY_FORCEGATE_NAME",
    ],
)  # fmt: skip
def test_what_others_set_is_let_through(name: str) -> None:
    assert serve("settings", **{name: "8000"}).exit_code == 0


def test_every_variable_that_forcegate_s_own_code_reads_is_known() -> None:
    named = set()
    for folder in ("clients", "service", "trainer", "benchmarks", "examples", "deploy"):
        for path in (ROOT / folder).rglob("*.py"):
            named |= set(re.findall(r"\"(FORCEGATE_[A-Z_]*[A-Z])\"", path.read_text("utf-8")))
    assert len(named) > 10
    environment = dict.fromkeys(named, "1")
    told = serve("settings", **environment)
    assert "no such setting" not in told.stderr


def test_help_shows_defaults_whole_and_no_toys() -> None:
    told = serve("--help").stdout
    assert "[model_repository]" in told
    assert "[cores - 1]" in told
    assert "fake" not in told
