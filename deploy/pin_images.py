#!/usr/bin/env python3
"""The images of others that a deployment pulls: list them, or pin each to what its tag means today.

    python deploy/pin_images.py            list them; ends with 1 while one has no digest
    python deploy/pin_images.py --write    ask their registries, through docker, and write digests

A tag can be moved to another image by whoever owns it, a digest cannot. References are written
where they are used, ``name:tag@sha256:…``: the tag is for people, the digest is what is pulled.
Needs nothing but the standard library, and docker with buildx for ``--write``.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Every file that names an image of somebody else.
FILES = ("Dockerfile", "docker-compose.yml", "deploy/kubernetes/overlays/gpu/triton.yaml")
# Ours have no tag: they are built here.
_REFERENCE = re.compile(
    r"(?P<before>^(?:ARG \w+_IMAGE=|\s*image: ))"
    r"(?P<tagged>[\w./-]+:[\w][\w.-]*)(?:@(?P<digest>sha256:[0-9a-f]{64}))?$",
    re.MULTILINE,
)
_INSPECT = ("docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}")


class CannotPin(Exception):
    """Why a digest is not known."""


def images() -> dict[str, set[str | None]]:
    """Each tagged image with the digests that it is pinned to, None where there is none."""
    found: dict[str, set[str | None]] = {}
    for name in FILES:
        for match in _REFERENCE.finditer((ROOT / name).read_text(encoding="utf-8")):
            found.setdefault(match["tagged"], set()).add(match["digest"])
    return found


def digest_of(tagged: str) -> str:
    """What the image's registry says that its tag means now, for all platforms.

    Raises:
        CannotPin: if docker is not there, or gets no digest.
    """
    try:
        done = subprocess.run(  # noqa: S603 (a fixed program, and references of this checkout)
            [*_INSPECT, tagged], capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise CannotPin(f"docker cannot be run ({error}); it is what asks the registries") from None
    digest = done.stdout.strip()
    if done.returncode or not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise CannotPin(f"no digest for {tagged}: {done.stderr.strip() or repr(digest)}")
    return digest


def write(digests: dict[str, str]) -> None:
    """Put digests behind the tags, in every file, instead of those that were there."""
    for name in FILES:
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        pinned = _REFERENCE.sub(
            lambda match: f"{match['before']}{match['tagged']}@{digests[match['tagged']]}", text
        )
        path.write_text(pinned, encoding="utf-8")


def main() -> int:
    """0 if every image has one digest."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n", maxsplit=1)[0])
    parser.add_argument("--write", action="store_true", help="ask registries and write digests")
    arguments = parser.parse_args()
    if arguments.write:
        try:
            # All are asked before anything is written.
            write({tagged: digest_of(tagged) for tagged in images()})
        except CannotPin as error:
            print(f"nothing was written: {error}", file=sys.stderr)
            return 1
    loose = 0
    for tagged, digests in images().items():
        pinned = len(digests) == 1 and None not in digests
        loose += not pinned
        print(f"{tagged}  {digests.pop() if pinned else 'no digest'}")
    if loose:
        print(f"{loose} images are pinned by tag alone; --write asks for digests", file=sys.stderr)
    return 1 if loose else 0


if __name__ == "__main__":
    sys.exit(main())
