"""Headless Chromium, asked through pipes in its own protocol (DevTools)."""

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import time

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_FLAGS = "--headless=new --no-sandbox --disable-gpu --remote-debugging-pipe"


class Page:
    """A page in a browser of its own."""

    def __init__(self, requests, answers):
        """Takes the pipes that the browser reads and writes."""
        self._requests, self._answers = requests, answers
        self._ids, self._session = itertools.count(), None
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        found = self._ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = found["sessionId"]

    def _ask(self, method, **params):
        number = next(self._ids)
        asked = {"id": number, "method": method, "params": params}
        if self._session:
            asked["sessionId"] = self._session
        self._requests.write(json.dumps(asked).encode() + b"\0")
        self._requests.flush()
        while True:
            message = bytearray()
            while (byte := self._answers.read(1)) != b"\0":
                if not byte:
                    raise OSError("the browser has ended")
                message += byte
            told = json.loads(message)
            if told.get("id") == number:
                assert "error" not in told, told
                return told["result"]

    def open(self, url):
        """Goes there."""
        self._ask("Page.navigate", url=url)
        self.wait_for("document.readyState === 'complete'")

    def value(self, expression):
        """Returns what JavaScript has for an expression."""
        found = self._ask(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait_for(self, expression, seconds=20.0):
        """Waits until an expression is true; returns it."""
        end = time.monotonic() + seconds
        while not (found := self.value(expression)):
            assert time.monotonic() < end, f"{expression} has not come true"
            time.sleep(0.05)
        return found


@contextlib.contextmanager
def page(folder):
    """Starts the browser; yields a page; `folder` is for what the browser writes."""
    its_input, requests = os.pipe()
    answers, its_output = os.pipe()
    command = f"exec {CHROMIUM} {_FLAGS} --user-data-dir={folder} 3<&0 4>&1 >&2"
    process = subprocess.Popen(
        ["/bin/sh", "-c", command],
        stdin=its_input,
        stdout=its_output,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(its_input)
    os.close(its_output)
    try:
        with os.fdopen(requests, "wb") as written, os.fdopen(answers, "rb") as read:
            yield Page(written, read)
    finally:
        process.kill()
        process.wait()
