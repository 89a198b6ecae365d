"""A document's commands and scripts, run one after the other as its reader would."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from support.readme import ROOT, all_blocks

__all__ = ["NOT_RUN", "SERVE", "Walkthrough", "walkthrough"]

VENV = Path(sys.prefix)
SERVE = ".venv/bin/forcegate-serve --port 8000"
# Commands of the how-tos that are not run, each with the reason.
NOT_RUN = {
    "make install": "`.ci/run` runs it before any test",
    "docker compose --profile cpu up --build --detach": "there is no container engine in the "
    "tests; test_compose.py and test_containers.py hold its files to the code",
}
_EXIT_CODE = re.compile(r"# ends with exit code (\d+)$")
_SAVED_AS = re.compile(r"Save it as `([^`]+)`")
_PATIENCE_S = 600


class Walkthrough:
    """A folder that looks like a clone, and what was printed in it so far.

    Commands run as they are written but for the port, which is a free one. A server keeps running
    until the next one is started, or the end.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.printed: dict[str, str] = {}
        self._server: subprocess.Popen[bytes] | None = None
        self._port: int | None = None
        self._environment = os.environ | {
            "PYTHONWARNINGS": "default",
        }
        for name in ("examples", "model_repository"):
            shutil.copytree(ROOT / name, folder / name)
        # As a whole: Python finds its libraries by the file beside bin/.
        (folder / ".venv").symlink_to(VENV)

    def follow(self, document: Path, shorter: Mapping[str, str] = MappingProxyType({})) -> None:
        """Run every block of bash and Python of a document; each has to end well.

        What takes hours is replaced by what ``shorter`` has for it, and has to be there.
        """
        text = document.read_text(encoding="utf-8")
        assert all(long in text for long in shorter)
        for block in all_blocks(document):
            written = block.text
            for long, short in shorter.items():
                written = written.replace(long, short)
            if block.language == "bash":
                for line in written.splitlines():
                    if line.strip() and line not in NOT_RUN:
                        self.run(line)
            elif block.language == "python":
                saved = _SAVED_AS.search(block.before)
                self.run_script(written, saved[1] if saved else None)

    def run(self, command: str) -> None:
        """One command line."""
        words = shlex.split(command, comments=True)
        is_server = words[0].endswith("forcegate-serve") and "--port" in words
        if is_server:
            self._start(words)
            return
        if self._port is not None:
            words = [word.replace(":8000", f":{self._port}") for word in words]
        told = _EXIT_CODE.search(command)
        self.printed[command] = self._run(words, command, int(told[1]) if told else 0)

    def run_script(self, script: str, saved_as: str | None = None) -> None:
        """A block of Python: run, or only saved where the text says so."""
        path = self.folder / (saved_as or "script.py")
        text = script.replace(":8000", f":{self._port}") if self._port is not None else script
        path.write_text(text, encoding="utf-8")
        if saved_as is None:
            self.printed[script] = self._run([sys.executable, str(path)], script)

    def stop(self) -> int | None:
        """End the server that runs, if any; its exit code."""
        if self._server is None:
            return None
        self._server.terminate()
        code = self._server.wait(timeout=60)
        self._server = None
        return code

    def _run(self, words: list[str], told: str, exit_code: int = 0) -> str:
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_S,
        )
        assert done.returncode == exit_code, f"{told}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _start(self, words: list[str]) -> None:
        assert self.stop() in (None, 0)
        port_file = self.folder / "port"
        port_file.unlink(missing_ok=True)
        command = ["0" if word == "8000" else word for word in words]
        environment = self._environment | {"FORCEGATE_PORT_FILE": str(port_file)}
        with (self.folder / "server.log").open("wb") as log:
            self._server = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log
            )
        self._port = self._port_from(port_file)
        self._environment["FORCEGATE_URL"] = f"http://127.0.0.1:{self._port}"

    def _port_from(self, port_file: Path) -> int:
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            text = port_file.read_text() if port_file.is_file() else ""
            if text.endswith("\n"):
                return int(text)
            assert self._server is not None
            assert self._server.poll() is None, (self.folder / "server.log").read_text()
            time.sleep(0.05)
        raise AssertionError("the server did not start")


@contextmanager
def walkthrough(folder: Path) -> Iterator[Walkthrough]:
    """A clone in ``folder``; a server that still runs is stopped at the end, orderly."""
    one = Walkthrough(folder)
    try:
        yield one
    finally:
        assert one.stop() in (None, 0)
