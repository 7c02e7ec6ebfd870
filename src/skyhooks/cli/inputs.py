"""What commands are given, read and checked: keys, data, secrets, the store."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .._json import decode_strict
from .._keys import canonical_keys
from .._settings import SECRET_VARIABLE, secrets_from
from .._stores import DEFAULT_URL, open_store
from .._tls import client_context
from ..abc import Store
from ..exceptions import StoreUnavailable
from .exits import BadInput

STORE_VARIABLE = "SKYHOOKS_STORE"

_HINT = """; quote it for the shell: --data '{"rows": 12}', or for text: --data '"done"'"""

Keys = dict[str, object]


def read_keys(words: Sequence[str]) -> Keys:
    """Make a mapping of `KEY=VALUE` words; a name that is given again has several values.

    Raises:
        BadInput, InvalidKey: with what would be right.
    """
    found: dict[str, list[str]] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise BadInput(f"{word!r} is not KEY=VALUE; write for example account=42")
        found.setdefault(name, []).append(value)
    keys: Keys = {name: values[0] if len(values) == 1 else values for name, values in found.items()}
    canonical_keys(keys)
    return keys


def read_data(word: str | None) -> object:
    """Read JSON as given, from a file (`@path`) or from standard input (`-`); nothing given is null.

    Raises:
        BadInput: it is no JSON, or the file cannot be read.
    """
    if word is None:
        return None
    raw = _bytes(word)
    try:
        return decode_strict(raw)
    except ValueError as error:
        raise BadInput(f"--data: {error}{'' if word[:1] in ('@', '-') else _HINT}") from None


def _bytes(word: str) -> bytes:
    if word == "-":
        return sys.stdin.buffer.read()
    if word.startswith("@"):
        return _file("--data", word[1:])
    return os.fsencode(word)


def check_cafile(options: argparse.Namespace) -> str | None:
    """Return `--cafile`, if certificates can be read from it.

    Raises:
        BadInput: they cannot.
    """
    cafile: str | None = options.cafile
    try:
        client_context(cafile)
    except ValueError as error:
        raise BadInput(f"--cafile: {error}") from None
    return cafile


def read_secret(options: argparse.Namespace) -> list[str] | None:
    """Read the secrets in `--secret-file`, one a line; None leaves it to `$SKYHOOKS_SECRET`.

    Raises:
        BadInput: there is none, or it is malformed.
    """
    secrets = None
    if options.secret_file is not None:
        text = _file("--secret-file", options.secret_file)
        secrets = text.decode("ascii", "replace").split()
        if not secrets:
            raise BadInput(f"--secret-file: {options.secret_file} is empty; put a whsec_… secret into it")
    try:
        secrets_from(secrets)
    except ValueError as error:
        raise BadInput(f"{'--secret-file' if secrets else f'${SECRET_VARIABLE}'}: {error}") from None
    return secrets


def store_url(options: argparse.Namespace) -> str:
    """Say which store is meant."""
    return str(options.store or os.environ.get(STORE_VARIABLE) or DEFAULT_URL)


def make_store(options: argparse.Namespace, *, existing: bool = False) -> Store:
    """Make the store that is meant; with `existing`, only one that is there already.

    Raises:
        BadInput: its URL makes no sense.
        StoreUnavailable: there is none yet.
    """
    url = store_url(options)
    if url.lower().startswith("memory:"):
        raise BadInput("a memory:// store lives within one process, and this is another; use sqlite:///skyhooks.db")
    try:
        store = open_store(url)
    except ImportError as error:
        raise BadInput(str(error)) from None
    except ValueError as error:
        raise BadInput(f"--store: {error}") from None
    if existing:
        _check_exists(url)
    return store


def _check_exists(url: str) -> None:
    """Refuse to make an empty store only to say that it is empty: the path is mistyped more often than not."""
    if not url.lower().startswith("sqlite:"):
        return
    from ..backends.sqlite.store import parse

    path = parse(url)[0]
    if not os.path.exists(path):
        raise StoreUnavailable(f"there is no store at {path} yet; give --store URL, or set ${STORE_VARIABLE}")


def _file(option: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BadInput(f"{option}: {path}: {error.strerror}") from None
    except ValueError:
        raise BadInput(f"{option}: that is no file's name") from None
