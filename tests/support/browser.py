"""A headless Chromium, spoken to in its own DevTools protocol."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

__all__ = ["Page", "browser"]

CHROMIUM = Path("/usr/bin/chromium")
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars", "--mute-audio"),
)
_START_S = 60.0
_WAIT_S = 60.0


class Page:
    """One tab. ``errors`` are those of its console, ``requested`` the URLs that it asked for."""

    def __init__(self, socket: ClientConnection, session: str) -> None:
        self._socket = socket
        self._session = session
        self._number = 0
        self.errors: list[str] = []
        self.requested: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: object) -> dict[str, Any]:
        """What the browser answers; what happens meanwhile is noted.

        Raises:
            AssertionError: if the browser refuses.
        """
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message | {"sessionId": self._session}))
        while True:
            answer = json.loads(self._socket.recv(timeout=_WAIT_S))
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer.get("method"), answer.get("params", {}))

    def open(self, url: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Show ``url`` in a window of so many pixels, with the theme that the user is said to want.

        What was noted of the page before is forgotten.
        """
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.errors.clear()
        self.requested.clear()
        self.send("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page, awaited if it is a promise.

        Raises:
            AssertionError: with what it threw, if it did.
        """
        answer = self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression: str) -> Any:
        """The first value of ``expression`` that is true.

        Raises:
            AssertionError: if there is none after a minute.
        """
        deadline = time.monotonic() + _WAIT_S
        while not (value := self.run(expression)):
            assert time.monotonic() < deadline, f"never true: {expression}; {self.errors}"
            time.sleep(0.05)
        return value

    def text(self, selector: str) -> str:
        """What can be read of the first element that ``selector`` finds."""
        found: str = self.run(f"document.querySelector({json.dumps(selector)}).innerText")
        return found

    def click(self, selector: str) -> None:
        """Click the first element that ``selector`` finds."""
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def press(self, key: str) -> None:
        """Press one key where the focus is."""
        text = {"text": key} if len(key) == 1 else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press the mouse at ``start``, release it at ``end``."""
        for kind, (x, y) in (("Pressed", start), ("Moved", end), ("Released", end)):
            self.send(
                "Input.dispatchMouseEvent",
                type=f"mouse{kind}",
                x=x,
                y=y,
                button="left",
                buttons=0 if kind == "Released" else 1,
                clickCount=1,
            )

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Write a PNG of the window, or of the whole page."""
        shot = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _note(self, method: str | None, happened: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(happened["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and happened["type"] in ("error", "warning"):
            self.errors.append(str(happened["args"]))
        elif method == "Log.entryAdded" and happened["entry"]["level"] in ("error", "warning"):
            self.errors.append(f"{happened['entry']['text']} {happened['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.requested.append(happened["request"]["url"])


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """An empty page of a Chromium that keeps its things in the empty folder ``profile``.

    Raises:
        AssertionError: if there is no Chromium; ``.ci/run`` says how it is installed.
    """
    assert CHROMIUM.exists(), f"no {CHROMIUM}; apt-get install chromium"
    command = [CHROMIUM, *_FLAGS, "--remote-debugging-port=0", f"--user-data-dir={profile}"]
    process = subprocess.Popen(
        [*command, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        # A browser that is busy may be long in answering, and is still there.
        with connect(_address(profile, process), max_size=None, ping_interval=None) as socket:
            yield Page(socket, _session(socket))
            _close(socket)
    finally:
        process.terminate()
        process.wait(timeout=_WAIT_S)


def _address(profile: Path, process: subprocess.Popen[bytes]) -> str:
    """Where the browser listens, which it writes into its profile."""
    told = profile / "DevToolsActivePort"
    deadline = time.monotonic() + _START_S
    while not (told.exists() and len(told.read_text().splitlines()) == 2):
        assert process.poll() is None, f"Chromium ended with code {process.returncode}"
        assert time.monotonic() < deadline, "Chromium did not start"
        time.sleep(0.05)
    port, path = told.read_text().splitlines()
    return f"ws://127.0.0.1:{port}{path}"


def _session(socket: ClientConnection) -> str:
    """A session with the first tab."""
    targets = _ask(socket, "Target.getTargets")["targetInfos"]
    target = next(item["targetId"] for item in targets if item["type"] == "page")
    session: str = _ask(socket, "Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    return session


def _ask(socket: ClientConnection, method: str, **parameters: object) -> dict[str, Any]:
    """Ask the browser itself, before there is a session."""
    socket.send(json.dumps({"id": 0, "method": method, "params": parameters}))
    while True:
        answer: dict[str, Any] = json.loads(socket.recv(timeout=_WAIT_S))
        if answer.get("id") == 0:
            result: dict[str, Any] = answer["result"]
            return result


def _close(socket: ClientConnection) -> None:
    try:
        socket.send(json.dumps({"id": 0, "method": "Browser.close"}))
    except ConnectionClosed:
        return
