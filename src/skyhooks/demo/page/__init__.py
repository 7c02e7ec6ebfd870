"""The demo's page: its files, as they are served."""

from __future__ import annotations

from importlib.resources import files

import msgspec

from ..._bridge.script import script
from ..web import HOSTS

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "connect-src 'self' " + " ".join(f"http://{host}:* ws://{host}:*" for host in HOSTS),
    )
)
"""What the page may load and whom it may talk to: this machine."""

_TYPES = {
    "index.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "pane.js": "text/javascript; charset=utf-8",
    "plot.js": "text/javascript; charset=utf-8",
    "tally.js": "text/javascript; charset=utf-8",
}


class File(msgspec.Struct, frozen=True):
    """One of the page's files."""

    body: bytes
    media_type: str


def read_page() -> dict[str, File]:
    """Return the files by the paths at which they are served."""
    here = files(__package__)
    page = {f"/{name}": File(here.joinpath(name).read_bytes(), media_type) for name, media_type in _TYPES.items()}
    page["/"] = page.pop("/index.html")
    page["/skyhooks.js"] = File(script(), page["/page.js"].media_type)
    return page
