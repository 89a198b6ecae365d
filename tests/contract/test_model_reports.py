"""Reports of validation are served with the versions they judge, and nothing beside them is."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from forcegate_service.settings import Settings

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 20
PATH = "/v1/models/fake/report"


@pytest.fixture
def report(settings: Settings) -> Path:
    folder = settings.model_repository / "fake" / "1" / "report"
    folder.mkdir()
    (folder / "report.md").write_text("# fake version 1\n", encoding="utf-8")
    (folder / "parity.png").write_bytes(PNG)
    (folder / "notes.html").write_text("<script>", encoding="utf-8")
    (folder / "secret.md").symlink_to("/etc/hostname")
    return folder


async def test_the_files_of_a_report_are_listed_and_given_as_they_are(
    report: Path, client: httpx.AsyncClient
) -> None:
    listed = (await client.get(PATH)).json()
    assert listed == {"model": "fake", "version": "1", "files": ["parity.png", "report.md"]}
    words = await client.get(f"{PATH}/report.md", params={"version": "1"})
    assert (words.text, words.headers["content-type"]) == (
        "# fake version 1\n",
        "text/markdown; charset=utf-8",
    )
    plot = await client.get(f"{PATH}/parity.png")
    assert (plot.content, plot.headers["content-type"]) == (PNG, "image/png")
    assert plot.headers["content-security-policy"] == "sandbox"


@pytest.mark.parametrize(
    "name", ["notes.html", "secret.md", "nothing.md", "..%2fmodel_card.json", "../model_card.json"]
)
async def test_nothing_else_is_given(report: Path, client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get(f"{PATH}/{name}")
    assert answer.status_code == 404
    assert answer.json()["code"] in ("report_file_not_found", "route_not_found", "model_not_found")


async def test_a_version_that_nobody_validated_has_no_files(client: httpx.AsyncClient) -> None:
    assert (await client.get(PATH)).json()["files"] == []
    assert (await client.get("/v1/models/none/report")).json()["code"] == "model_not_found"
