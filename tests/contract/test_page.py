"""The page for people: open to all, from nowhere but here, and asked for again only if changed."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from forcegate_service.api.access.keyfile import create_key
from forcegate_service.api.routes import page_files
from forcegate_service.api.routes.page_files import PageFile
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client

pytestmark = pytest.mark.anyio

FOLDER = Path(page_files.__file__).parents[1] / "page"
FILES = sorted(path.name for path in FOLDER.iterdir())
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
MOST_LINES = 400
# The name of a kind of XML, which nobody fetches; a comment may say where something is described.
NAMESPACE = "http://www.w3.org/2000/svg"
COMMENT = re.compile(r"/\*.*?\*/|<!--.*?-->|^\s*//.*?$", re.DOTALL | re.MULTILINE)


def address(name: str) -> str:
    return "/" if name == "index.html" else f"/page/{name}"


@pytest.mark.parametrize("name", FILES)
async def test_each_file_is_served_as_what_it_is(client: httpx.AsyncClient, name: str) -> None:
    response = await client.get(address(name))
    assert response.status_code == 200
    assert response.content == (FOLDER / name).read_bytes()
    assert response.headers["content-type"] == TYPES[Path(name).suffix]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("name", FILES)
async def test_a_file_that_has_not_changed_is_not_sent_again(
    client: httpx.AsyncClient, name: str
) -> None:
    first = await client.get(address(name))
    etag = first.headers["etag"]
    for known in (etag, f"W/{etag}", f'"another", {etag}', "*"):
        again = await client.get(address(name), headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b""), known
        assert again.headers["etag"] == etag
    changed = await client.get(address(name), headers={"If-None-Match": '"another"'})
    assert (changed.status_code, changed.content) == (200, first.content)


async def test_no_two_files_have_one_tag(client: httpx.AsyncClient) -> None:
    tags = {(await client.get(address(name))).headers["etag"] for name in FILES}
    assert len(tags) == len(FILES)


async def test_the_policy_lets_nothing_run_or_load_but_files_of_this_server(
    client: httpx.AsyncClient,
) -> None:
    text = (await client.get("/")).headers["content-security-policy"]
    policy = dict(part.strip().split(" ", 1) for part in text.split(";"))
    assert policy.pop("require-trusted-types-for") == "'script'"
    assert policy["default-src"] == "'none'"
    assert set(policy.values()) == {"'self'", "'none'"}
    assert {name for name, value in policy.items() if value == "'self'"} == {
        *("script-src", "style-src", "img-src", "connect-src"),
    }


async def test_a_name_that_is_no_file_of_the_page_finds_nothing(client: httpx.AsyncClient) -> None:
    for name in ("nothing.js", "..%2fsettings.py", "%2e%2e/settings.py", "../page_files.py", ""):
        response = await client.get(f"/page/{name}")
        assert response.status_code == 404
        assert response.json()["code"] == "route_not_found"


async def test_browsers_that_ask_for_the_old_icon_get_the_icon(client: httpx.AsyncClient) -> None:
    response = await client.get("/favicon.ico")
    assert response.headers["content-type"] == TYPES[".svg"]
    assert response.content == (FOLDER / "icon.svg").read_bytes()


async def test_the_documents_load_nothing_but_files_of_this_server(
    client: httpx.AsyncClient,
) -> None:
    page = await client.get("/docs")
    assert page.headers["content-type"] == TYPES[".html"]
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    named = re.findall(r'(?:href|src)="([^"]+)"', page.text)
    assert {"docs/swagger-ui-bundle.js", "docs/swagger-ui.css", "openapi.json"} <= set(named)
    for name in named:
        part = await client.get(f"/{name}")
        assert part.status_code == 200, name
        assert part.content
    assert re.findall(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|//", page.text) == []
    for name in ("index.html", "nothing.js", "..%2fsettings.py"):
        assert (await client.get(f"/docs/{name}")).status_code == 404


async def test_the_page_is_no_part_of_the_documented_interface(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert "/v1/predict" in paths
    assert not [path for path in paths if path in ("/", "/favicon.ico") or path.startswith("/page")]


async def test_where_keys_are_in_force_the_page_is_open_and_what_it_asks_for_is_not(
    settings: Settings, tmp_path: Path
) -> None:
    key = create_key(tmp_path / "keys.json", "Ada", ["report"])
    closed = settings.model_copy(update={"keys_file": tmp_path / "keys.json"})
    wrong = {"Authorization": f"Bearer {key[:-1]}"}
    async with gateway_client(closed) as client:
        for headers in ({}, wrong):
            for path in ("/favicon.ico", *map(address, FILES)):
                assert (await client.get(path, headers=headers)).status_code == 200
            for path in ("/v1/models", "/metrics"):
                assert (await client.get(path, headers=headers)).status_code == 401


@pytest.mark.parametrize("name", FILES)
def test_no_file_names_another_host_or_brings_script_or_style_of_its_own(name: str) -> None:
    text = COMMENT.sub("", (FOLDER / name).read_text(encoding="utf-8")).replace(NAMESPACE, "")
    assert re.findall(r"(?:https?:|wss?:|[\"'(])//", text) == []
    assert re.findall(r"@import|url\(|\beval\b|innerHTML|document\.write|new Function", text) == []
    if name.endswith(".html"):
        assert re.findall(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=", text) == []


def test_whatever_a_file_refers_to_is_there() -> None:
    index = (FOLDER / "index.html").read_text(encoding="utf-8")
    named = set(re.findall(r'(?:href|src)="page/([^"]+)"', index))
    for path in FOLDER.glob("*.js"):
        named |= set(re.findall(r'from "\./([^"]+)"', path.read_text(encoding="utf-8")))
    # index.html is what / answers.
    assert named | {"index.html"} == set(FILES)


def test_no_file_of_the_page_is_longer_than_one_concept() -> None:
    lengths = {name: (FOLDER / name).read_text(encoding="utf-8").count("\n") for name in FILES}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_a_file_is_read_once_and_kept() -> None:
    first = page_files.page_files()
    assert isinstance(first["index.html"], PageFile)
    assert page_files.page_files() is first
