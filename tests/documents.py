"""The programs of the documents, written out as files and run as they stand there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from uuid import uuid4

from processes import HERE, until

README = HERE.parent / "README.md"
DOCS = HERE.parent / "docs"
REDIS = "redis://127.0.0.1:6379/0"
WORK = "time.sleep(2)  # the work"
START_SECONDS = 60.0
_PROGRAM = re.compile(r"<!-- (\S+\.(?:py|html)) -->\n```(?:python|html)\n(.*?)```", re.DOTALL)


def programs(document):
    """Return the texts of all programs of a document, by their names."""
    found = dict(_PROGRAM.findall(document.read_text(encoding="utf-8")))
    assert found, f"no program in {document}"
    return found


def write_programs(document, folder, replace=()):
    """Write all programs of a document into a folder; `replace` maps what is other in a test: the broker's address, the work."""
    texts = programs(document)
    for old, new in dict(replace).items():
        assert any(old in text for text in texts.values()), f"no {old!r} in {document}"
        texts = {name: text.replace(old, new) for name, text in texts.items()}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


class Program:
    """A program that is run beside the test, with all its children a process group of its own."""

    def __init__(self, folder, *arguments, ready=""):
        """Start it; it is ready when it has said so, or at once."""
        self._ready = ready
        self._log = folder / f"log-{uuid4().hex}"
        env = {name: value for name, value in os.environ.items() if not name.startswith("SKYHOOKS_")}
        with self._log.open("wb") as log:
            self._popen = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=folder,
                env={**env, "PYTHONPATH": os.pathsep.join([str(folder), str(HERE)]), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_ready(self):
        until(lambda: self._ready in self.said or self._popen.poll() is not None, START_SECONDS)
        assert self._popen.poll() is None, self.said

    @property
    def said(self):
        return self._log.read_text(encoding="utf-8")

    def kill(self):
        """End it and its children, with no time for a last word."""
        if self._popen.poll() is None:
            os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait(START_SECONDS)

    def end(self):
        """End it as an administrator does."""
        self._popen.terminate()
        self._popen.wait(START_SECONDS)


@contextmanager
def running(folder, *arguments, ready):
    """Run a program beside the test, from when it says that it is ready."""
    program = Program(folder, *arguments, ready=ready)
    try:
        program.wait_until_ready()
        yield program
    finally:
        program.end()
