"""Runs the command line as a user does: as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

LIMIT_SECONDS = 60


def environment(**more):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SKYHOOKS_")}
    return {**clean, "COLUMNS": "100", **more}


def words(*arguments):
    return [sys.executable, "-m", "skyhooks", *map(str, arguments)]


def run(*arguments, input=None, cwd=None, **env):
    """Run a command to its end."""
    return subprocess.run(
        words(*arguments),
        input=input,
        cwd=cwd,
        env=environment(**env),
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT_SECONDS,
        check=False,
    )


def begin(*arguments, cwd=None, **env):
    """Begin a command; whoever calls ends it."""
    return subprocess.Popen(
        words(*arguments),
        cwd=cwd,
        env=environment(**env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def lines(text):
    """Read what `--json` printed."""
    return [json.loads(line) for line in text.splitlines()]
