"""`skyhooks.js`, the browser's side of the bridges, as it is served."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

HEADERS = (
    ("content-type", "text/javascript; charset=utf-8"),
    ("cache-control", "no-cache"),  # kept, but asked for again: page and bridge are to be of one version
    ("x-content-type-options", "nosniff"),
    ("access-control-allow-origin", "*"),  # a module of another site's page is fetched with CORS
)


@cache
def script() -> bytes:
    """Return the module's source."""
    return files(__package__).joinpath("skyhooks.js").read_bytes()
