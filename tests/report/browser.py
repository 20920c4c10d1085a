"""A browser without a window, spoken to through pipes (the DevTools protocol)."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

#: Names that Chromium has on different systems.
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def program() -> str | None:
    """Return the path of Chromium; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def axe() -> str | None:
    """Return the script of axe-core; None if it is not installed."""
    found = find_spec("axe_core_python")
    if found is None or found.origin is None:
        return None
    return (Path(found.origin).parent / "axe.min.js").read_text()


class Browser:
    """One page of a browser at a time.

    Args:
        sent: where to write commands.
        received: where to read answers and events.
    """

    def __init__(self, sent: IO[bytes], received: IO[bytes]) -> None:
        self._sent, self._received = sent, received
        self._number, self._session = 0, ""
        self.events: list[dict[str, Any]] = []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        attached = self("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Carry out a command and return what it returns."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        self._sent.write(json.dumps(command).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def _read(self) -> dict[str, Any]:
        text = bytearray()
        while (byte := self._received.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("the browser has gone")
            text += byte
        return json.loads(text)

    def open(self, path: Path, width: int, *, dark: bool) -> None:
        """Open a page, as wide as this, and forget the events of the one before."""
        self.events.clear()
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])
        self(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        self("Page.navigate", url=path.resolve().as_uri())
        while not any(each["method"] == "Page.loadEventFired" for each in self.events):
            self.events.append(self._read())

    def run(self, script: str) -> Any:
        """Return the value of a script, waiting for it if it is a promise."""
        found = self("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(json.dumps(found["exceptionDetails"]))
        return found["result"].get("value")

    def complaints(self) -> list[dict[str, Any]]:
        """Return what the console says, and the exceptions, since the page was opened."""
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [each for each in self.events if each["method"] in kinds]

    def requested(self) -> list[str]:
        """Return the addresses that the page has asked for."""
        sent = [e for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [each["params"]["request"]["url"] for each in sent]

    def picture(self) -> bytes:
        """Return a PNG of the whole page."""
        found = self("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(found["data"])


@contextmanager
def browser(path: str, profile: Path) -> Generator[Browser]:
    """Give a browser.

    Args:
        path: of Chromium.
        profile: an empty directory.
    """
    # The browser reads commands from file descriptor 3 and answers on 4.
    commands, to_browser = os.pipe()
    from_browser, answers = os.pipe()
    options = (
        *("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"),
        *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
        *("--disable-sync", "--disable-dev-shm-usage", f"--user-data-dir={profile}"),
    )
    line = f'exec "$0" "$@" 3<&{commands} 4>&{answers}'
    started = subprocess.Popen(
        ["bash", "-c", line, path, *options],
        pass_fds=(commands, answers),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    os.close(commands)
    os.close(answers)
    try:
        with os.fdopen(to_browser, "wb", 0) as sent, os.fdopen(from_browser, "rb") as received:
            yield Browser(sent, received)
    finally:
        started.terminate()
        started.wait(20)
