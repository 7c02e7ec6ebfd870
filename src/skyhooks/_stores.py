"""Opens a store by its URL, lazily: a driver is imported when the first URL asks for it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from .exceptions import UnknownStore

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from .abc import Store

GROUP = "skyhooks.stores"
"""The group of entry points that map a URL scheme to what makes a store of a URL."""
DEFAULT_URL = "sqlite:///skyhooks.db"

_EXTRAS = {"mongodb": "mongodb", "mongodb+srv": "mongodb"}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def open_store(store: str | Store | None = None) -> Store:
    """Make the store that a URL names, or pass a store through; None means `$SKYHOOKS_STORE`, else `DEFAULT_URL`.

    Nothing is touched before the store's first operation.

    Raises:
        UnknownStore: for a scheme that nobody has registered.
        ValueError: for a URL that its store does not take.
        ImportError: where a driver is missing; it names the extra to install.
        TypeError: for what is neither a URL nor a store.

    """
    if store is None:
        store = os.environ.get("SKYHOOKS_STORE") or DEFAULT_URL
    if not isinstance(store, str):
        if not callable(getattr(store, "publish", None)):
            raise TypeError(f"store= takes a URL or a skyhooks.abc.Store, not {type(store).__name__}")
        return store
    make = _load(_entry_point(store))
    return make(store)


def _entry_point(url: str) -> EntryPoint:
    from importlib.metadata import entry_points  # a quarter of what `import skyhooks` would cost

    match = _SCHEME.match(url)
    scheme = match[1].lower() if match else ""
    known = entry_points(group=GROUP)
    for entry_point in known.select(name=scheme):
        return entry_point
    raise UnknownStore(scheme, known.names, _EXTRAS.get(scheme))


def _load(entry_point: EntryPoint) -> Callable[[str], Store]:
    try:
        make: Callable[[str], Store] = entry_point.load()
    except ImportError as error:
        raise ImportError(
            f'{entry_point.name}:// stores need a driver that is missing ({error}); install it with: pip install "{_requirement(entry_point)}"',
            name=error.name,
        ) from error
    return make


def _requirement(entry_point: EntryPoint) -> str:
    distribution = entry_point.dist.name if entry_point.dist else "skyhooks"
    extra = _EXTRAS.get(entry_point.name) if distribution == "skyhooks" else ",".join(entry_point.extras)
    return f"{distribution}[{extra}]" if extra else distribution
