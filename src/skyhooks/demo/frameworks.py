"""Which framework each web process is written with: three, or plain asyncio in the place of what is not installed; and by what its pane is connected."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

WANTED = ("tornado", "gevent", "twisted")
SPARE = "asyncio"
TRANSPORTS = ("events", "socket", "poll")
"""EventSource, WebSocket, long poll; the spare has no WebSocket, which stands on a library that comes with the frameworks."""
INSTALL = f'pip install "skyhooks[{",".join(WANTED)}]"'


def choose() -> list[str]:
    """Return the framework of each process, in their order."""
    return [framework if _is_installed(framework) else SPARE for framework in WANTED]


def transports_of(number: int, framework: str) -> list[str]:
    """Return by what a process can be reached, its pane's first one in front: another for each."""
    offered = [one for one in TRANSPORTS if one != "socket" or framework != SPARE]
    first = TRANSPORTS[number] if TRANSPORTS[number] in offered else offered[0]
    return sorted(offered, key=lambda one: one != first)


def notice() -> str:
    """Return a line that says what is missing and how to get it; nothing where nothing is."""
    missing = [framework for framework in WANTED if not _is_installed(framework)]
    if not missing:
        return ""
    return f"not installed: {_listed(missing)}; plain asyncio takes the place. For all three: {INSTALL}"


def module_of(framework: str) -> str:
    """Return the module that is a web process of that framework."""
    return f"{__package__}.web_{framework}"


def _is_installed(framework: str) -> bool:
    return find_spec(framework) is not None


def _listed(words: Sequence[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
