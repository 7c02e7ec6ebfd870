"""What a store's URL says: PyMongo's part, the database, the retention. Nothing is resolved or connected here."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import SplitResult, unquote_plus, urlsplit

import msgspec
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from ..._values import Retention
from .._retention import take_retention

DATABASE = "skyhooks"
_SRV = "mongodb+srv"
_SRV_OPTIONS = ("srvmaxhosts", "srvservicename")
_MOST = {"keep_bytes": 10_000_000, "dedupe_ids": 10_000}
"""A key's document has to stay below MongoDB's 16 MB."""
_SPACE = re.compile(r"[^\w./-]+")
_FILES = ("tlscafile", "tlscrlfile", "tlscertificatekeyfile")


_UNREADABLE = (PyMongoError, ValueError, TypeError, OSError)


class Address(msgspec.Struct, frozen=True):
    """Where a store is; only `shown` and `database` may appear in messages."""

    uri: str
    """For PyMongo; it may hold credentials."""
    database: str
    retention: Retention
    shown: str
    """Without credentials and options."""

    def __repr__(self) -> str:
        return f"Address({self.shown!r})"


def parse(url: str) -> Address:
    """Return what a URL names.

    Raises:
        ValueError: with what is wrong, never with a password.

    """
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    retention, _ = take_retention(parts.query)
    for name, most in _MOST.items():
        if getattr(retention, name) > most:
            raise ValueError(f"{name} in the store's URL: MongoDB's documents have room for {most} at most")
    # As it stands: PyMongo decodes some options and not others.
    options = [one for one in parts.query.split("&") if _name(one) not in Retention.__struct_fields__]
    given = _check(parts, scheme, options)
    hosts = parts.netloc.rpartition("@")[2]
    database = given["database"] or DATABASE
    uri = f"{scheme}://{parts.netloc}{parts.path or '/'}{_query(options)}"
    return Address(uri, database, retention, f"{scheme}://{hosts}/{database}")


def _check(parts: SplitResult, scheme: str, options: list[str]) -> dict[str, Any]:
    """Let PyMongo read the URL, as one that needs no look at DNS."""
    if scheme == _SRV:
        _check_srv(parts)
        options = [one for one in options if _name(one).lower() not in _SRV_OPTIONS]
    if parts.fragment:
        raise ValueError("a # in a MongoDB URL is written %23")
    rest = f"{parts.path or '/'}{_query(options)}"
    try:
        given = parse_uri(f"mongodb://{parts.netloc}{rest}")
    except _UNREADABLE as error:
        problem = _problem(parts, rest, options) if "@" in _whole(parts) else _explain(error, options)
        raise ValueError(f"this is no MongoDB URL: {problem}; write mongodb://host1,host2/database") from None
    if given["collection"]:
        raise ValueError("the path of a MongoDB URL is the name of a database, without a dot")
    return given


def _problem(parts: SplitResult, rest: str, options: list[str]) -> str:
    """Say what is wrong with a URL that has credentials.

    PyMongo's messages quote the URL, and a password that was not escaped may be anywhere in it. With one @, before the
    hosts, it is before that, and the rest can be read without it.
    """
    if parts.netloc.count("@") == _whole(parts).count("@") == 1:
        try:
            parse_uri(f"mongodb://{parts.netloc.rpartition('@')[2]}{rest}")
        except _UNREADABLE as error:
            return _explain(error, options)
    return "escape user name and password (%40 for @, %2F for /)"


def _explain(error: Exception, options: list[str]) -> str:
    """Say which option PyMongo means: from 4.20 on its messages name neither an unknown one nor a file."""
    words = set(_SPACE.split(str(error).lower()))
    meant = [_shown(option) for option in options if _is_refused(option)]
    unsaid = [option for option in meant if option.rpartition("=")[2].lower() not in words]
    return f"{error} ({', '.join(unsaid)})" if unsaid else str(error)


def _is_refused(option: str) -> bool:
    try:
        parse_uri(f"mongodb://host/?{option}")
    except _UNREADABLE:
        return True
    return False


def _shown(option: str) -> str:
    """Show an option by its name: of the values only a file's is nobody's secret."""
    name, _, value = option.partition("=")
    return f"{name}={unquote_plus(value)}" if name.lower() in _FILES else _name(option)


def _check_srv(parts: SplitResult) -> None:
    host = parts.netloc.rpartition("@")[2]
    if "," in host or ":" in host:
        raise ValueError("a mongodb+srv:// URL names one host, as DNS knows it, without a port")


def _whole(parts: SplitResult) -> str:
    return parts.netloc + parts.path + parts.query


def _name(option: str) -> str:
    return unquote_plus(option.partition("=")[0])


def _query(options: list[str]) -> str:
    return f"?{'&'.join(options)}" if any(options) else ""
