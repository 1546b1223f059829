"""A headless Chromium for tests of pages, driven over its own pipe: no library, no network, no port.

Source: the Chrome DevTools Protocol; messages are JSON, each ended by a zero byte, on file descriptors 3 and 4.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WAIT = 120.0  # seconds: a busy machine starts slowly
START = (  # becomes the browser, with the pipes where it looks for them
    "import fcntl, os, sys;"
    "pipes = [fcntl.fcntl(int(name), fcntl.F_DUPFD, 10) for name in sys.argv[1:3]];"
    "[os.dup2(pipe, place) for pipe, place in zip(pipes, (3, 4))];"
    "os.execv(sys.argv[3], sys.argv[3:])"
)
KEYS = {"Enter": (13, "\r"), "Escape": (27, ""), "Tab": (9, "")}


def find_browser() -> str | None:
    """A Chromium on the path, or the one that ROBUSTIQA_TEST_BROWSER names."""
    return os.environ.get("ROBUSTIQA_TEST_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)


@dataclass
class Browser:
    """One page of a running browser, with all that it complained of."""

    output: int
    answers: int
    complaints: list[str] = field(default_factory=list)
    loaded: bool = False
    _session: str = ""
    _number: int = 0
    _rest: bytes = b""

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command and waits for its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self.output, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read(method)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                found: dict[str, Any] = answer["result"]
                return found

    def _read(self, waiting_for: str) -> dict[str, Any]:
        """The next message; events are noted on the way."""
        end = time.monotonic() + WAIT
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self.answers], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"no answer to {waiting_for} within {WAIT:.0f} s"
            found = os.read(self.answers, 1 << 20)
            assert found, f"the browser ended before it answered {waiting_for}"
            self._rest += found
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, told: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self.loaded = True
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(told["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(told["args"]))
        elif event == "Log.entryAdded":
            self.complaints.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif event == "Network.requestWillBeSent" and not told["request"]["url"].startswith(("file:", "data:")):
            self.complaints.append(f"asked for {told['request']['url']}")

    def start(self) -> None:
        """Opens an empty page and listens to it."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.send(f"{domain}.enable")

    def show(self, page: Path, *, width: int = 1400, height: int = 900, scheme: str = "light") -> None:
        """Loads a file at a size and in a color scheme, and waits for it."""
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.loaded = False
        self.complaints.clear()
        self.send("Page.navigate", url=page.as_uri())
        while not self.loaded:
            self._read("the page to load")

    def ask(self, expression: str) -> Any:
        """Value of a JavaScript expression in the page."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Presses and releases a key."""
        code, text = KEYS[key]
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def accessible(self) -> list[tuple[str, str]]:
        """Role and name of everything that a screen reader meets."""
        nodes = self.send("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node.get("ignored")
        ]

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Saves a screenshot, of the window or of the whole page."""
        found = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def open_browser(program: str, profile: Path) -> Iterator[Browser]:
    """A browser with a fresh profile, ended afterwards."""
    there, output = os.pipe()
    answers, back = os.pipe()
    options = [
        "--headless",
        "--remote-debugging-pipe",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--hide-scrollbars",
        f"--user-data-dir={profile}",
        *(["--no-sandbox"] if os.geteuid() == 0 else []),  # the sandbox refuses root
    ]
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", START, str(there), str(back), program, *options],
        pass_fds=(there, back),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # distributions wrap the browser in a script: end both
    )
    os.close(there)
    os.close(back)
    try:
        browser = Browser(output, answers)
        browser.start()
        yield browser
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(output)
        os.close(answers)
