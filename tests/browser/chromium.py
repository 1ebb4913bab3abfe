"""A browser without a window, driven over its DevTools protocol.

The protocol runs through a pair of pipes (`--remote-debugging-pipe`): messages are
JSON, each ended by a zero byte. So neither a port nor a library is needed.

Reference:
    https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from contextlib import contextmanager

NAMES = ("chromium", "chromium-headless-shell", "google-chrome", "chrome")
PATH = next(filter(None, map(shutil.which, NAMES)), None)
PATIENCE = 60
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--hide-scrollbars",
    "--no-first-run",
    "--remote-debugging-pipe",
)


class Browser:
    """One tab: it loads pages, measures them and takes pictures of them."""

    def __init__(self, process, send, receive):
        self.process, self.send, self.receive = process, send, receive
        self.session, self.number, self.rest, self.events = None, 0, b"", []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        """Send one command and return its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.send, json.dumps(message).encode() + b"\0")
        while (found := self._next()).get("id") != self.number:
            self.events.append(found)
        assert "error" not in found, f"{method}: {found['error']}"
        return found["result"]

    def emulate(self, width, scheme="light", scripts=True, media=""):
        """Become a screen of this width and taste."""
        phone = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=phone,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", media=media, features=[feature])
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)

    def load(self, address):
        """Load a page and return the addresses that were asked for."""
        self.events = []
        self.call("Page.navigate", url=address)
        while not self.told("Page.loadEventFired"):
            self.events.append(self._next())
        asked = self.told("Network.requestWillBeSent")
        return [one["request"]["url"] for one in asked]

    def told(self, method):
        """Return what the browser has reported under a name since the last load."""
        return [e["params"] for e in self.events if e.get("method") == method]

    def evaluate(self, expression):
        """Return the value of a JavaScript expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def picture(self, path):
        """Write a PNG of the whole page."""
        found = self.call(
            "Page.captureScreenshot", format="png", captureBeyondViewport=True
        )
        path.write_bytes(base64.b64decode(found["data"]))

    def print(self, path):
        """Write a PDF of the page on A4."""
        found = self.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)
        path.write_bytes(base64.b64decode(found["data"]))

    def _next(self):
        """Return the next message."""
        end = time.monotonic() + PATIENCE
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.receive], [], [], end - time.monotonic())
            part = os.read(self.receive, 1 << 20) if ready else b""
            assert part, "the browser is silent"
            self.rest += part
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)


@contextmanager
def opened(profile):
    """Start a browser with its own profile folder; stop it at the end."""
    theirs_in, send = os.pipe()
    receive, theirs_out = os.pipe()
    shell = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
    words = ["bash", "-c", shell, "-", PATH, *FLAGS, f"--user-data-dir={profile}"]
    process = subprocess.Popen(
        words,
        pass_fds=(theirs_in, theirs_out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(process, send, receive)
    finally:
        process.terminate()
        process.wait(20)
        os.close(send)
        os.close(receive)
