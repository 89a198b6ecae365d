"""Images of others are named in files that one script knows, and can be pinned to digests by it."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = Path("deploy") / "pin_images.py"
FILES = ("Dockerfile", "docker-compose.yml", "deploy/kubernetes/overlays/gpu/triton.yaml")
# A registry that knows every tag: a digest of the reference stands for one of the image.
DOCKER = """#!/bin/sh
for reference; do :; done
printf 'sha256:%s\\n' "$(printf %s "$reference" | sha256sum | cut -d' ' -f1)"
"""
OFFLINE = "#!/bin/sh\necho 'ERROR: failed to do request: no such host' >&2\nexit 1\n"


def named_images() -> Iterator[str]:
    """Every image of somebody else that a file of this checkout pulls, without its digest."""
    for path in [ROOT / "Dockerfile", *ROOT.glob("*.y*ml"), *(ROOT / "deploy").rglob("*.y*ml")]:
        text = path.read_text(encoding="utf-8")
        for reference in re.findall(
            r"^(?:FROM |ARG \w*IMAGE\w*=|\s*-?\s*image:\s*)[\"']?([^\s\"']+)", text, re.MULTILINE
        ):
            # Ours have no tag here, and a stage of the Dockerfile none either.
            if ":" in reference:
                yield reference.partition("@")[0]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in (str(SCRIPT), *FILES):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        text = (ROOT / name).read_text(encoding="utf-8")
        # Whoever has pinned them already is not in the way of these tests.
        (tmp_path / name).write_text(re.sub("@sha256:[0-9a-f]{64}", "", text), encoding="utf-8")
    return tmp_path


def run(checkout: Path, *words: str, docker: str | None = None) -> subprocess.CompletedProcess[str]:
    programs = checkout / "programs"
    programs.mkdir(exist_ok=True)
    for name in ("sha256sum", "cut"):
        if not (programs / name).exists():
            (programs / name).symlink_to(shutil.which(name) or name)
    if docker is not None:
        (programs / "docker").write_text(docker, encoding="utf-8")
        (programs / "docker").chmod(0o755)
    return subprocess.run(
        [sys.executable, checkout / SCRIPT, *words],
        capture_output=True,
        text=True,
        env={"PATH": str(programs)},
        timeout=60,
    )


def test_every_image_of_others_is_listed_with_a_tag_that_is_a_version(checkout: Path) -> None:
    done = run(checkout)
    listed = [line.split()[0] for line in done.stdout.splitlines()]
    assert set(listed) == set(named_images())
    assert len(listed) == len(set(listed)) == 5
    for reference in listed:
        assert re.fullmatch(r"[a-z./]+:v?\d+\.\d+[\w.-]*", reference)
    assert done.returncode == 1
    assert "pinned by tag alone" in done.stderr


def test_digests_are_asked_for_and_written_everywhere(checkout: Path) -> None:
    done = run(checkout, "--write", docker=DOCKER)
    assert done.returncode == 0, done.stderr
    for name in FILES:
        before = (ROOT / name).read_text(encoding="utf-8")
        for reference in set(named_images()):
            digest = hashlib.sha256(reference.encode()).hexdigest()
            before = re.sub(
                rf"{re.escape(reference)}(?:@sha256:\w+)?$",
                f"{reference}@sha256:{digest}",
                before,
                flags=re.MULTILINE,
            )
        assert (checkout / name).read_text(encoding="utf-8") == before
    assert run(checkout).returncode == 0
    # Asked again, the tag is looked up anew and the digest replaced.
    assert run(checkout, "--write").returncode == 0


@pytest.mark.parametrize("docker", [None, OFFLINE, "#!/bin/sh\necho latest\n"])
def test_what_cannot_be_asked_is_said_and_nothing_is_written(
    docker: str | None, checkout: Path
) -> None:
    before = [(checkout / name).read_bytes() for name in FILES]
    done = run(checkout, "--write", docker=docker)
    assert done.returncode == 1
    assert "nothing was written" in done.stderr
    assert [(checkout / name).read_bytes() for name in FILES] == before
