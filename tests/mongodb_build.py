"""Builds mongo-java-server, once: `python tests/mongodb_build.py`, with nothing but Java 17, Maven and Maven Central.

The jars are kept in the user's cache directory, under the hash of what they are built from.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

SOURCES = Path(__file__).with_name("mongodb")
BUILD_SECONDS = 900.0


def home():
    """Where it is, or will be."""
    content = b"".join(path.read_bytes() for path in sorted(SOURCES.iterdir()))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "skyhooks" / f"mongodb-test-server-{hashlib.sha256(content).hexdigest()[:16]}"


def is_built():
    return (home() / "server.jar").exists()


def build():
    """Build it, unless that was done before; return where it is."""
    if is_built():
        return home()
    home().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home().parent) as work:
        target = Path(work) / "home"
        command = ["mvn", "-q", "-B", "-f", str(SOURCES / "pom.xml"), f"-Dserver.home={target}", "package"]
        subprocess.run(command, check=True, timeout=BUILD_SECONDS, stdin=subprocess.DEVNULL)
        try:
            target.rename(home())
        except OSError:
            assert is_built()  # another process was faster
    return home()


if __name__ == "__main__":
    build()
