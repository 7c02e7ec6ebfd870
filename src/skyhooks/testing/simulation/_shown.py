"""Values as a trace shows them: short enough to read."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ..._values import Entry, Instance, Joined, Page, Position, Post, Publication, Published, Renewal

MAX_CHARACTERS = 300


def shown(value: object) -> str:
    """Show a value: ids and epochs by their first or last letters, logs as `epoch:seq`."""
    show = _SHOW.get(type(value))
    text = show(value) if show is not None else repr(value)
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 3] + "..."


def shown_post(post: Post) -> str:
    """Show what is POSTed."""
    return _shorter(post.body.decode(errors="replace"))


def shown_answer(body: bytes) -> str:
    """Show what is answered."""
    return _shorter(body.decode(errors="replace"))[:160]


def _shorter(text: str) -> str:
    text = re.sub(r"[0-9a-f]{16,32}", lambda match: match[0][:4], text)
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 3] + "..."


def _text(value: Any) -> str:
    return re.sub(r"[0-9a-f]{16,32}", lambda match: match[0][:4], value)


def _many(value: Any) -> str:
    return "[" + ", ".join(shown(one) for one in value) + "]"


def _mapping(value: Any) -> str:
    return "{" + ", ".join(f"{key}: {shown(one)}" for key, one in value.items()) + "}"


def _published(value: Any) -> str:
    known = " known" if value.entry is not None else ""
    return f"{shown(value.position)}{known}{' duplicate' if value.duplicate else ''} to {shown(value.targets)}"


_SHOW: dict[type, Callable[[Any], str]] = {
    str: _text,
    Position: lambda one: f"{one.epoch[:4]}:{one.seq}",
    Instance: lambda one: f"{one.instance_id[:4]}({one.label})",
    Entry: lambda one: f"{one.seq} {_text(one.id)}",
    Publication: lambda one: f"{one.key} {_text(one.id)}",
    Published: _published,
    Page: lambda one: f"{one.epoch[:4]}, floor {one.floor}, head {one.head}, {shown(one.entries)}",
    Renewal: lambda one: f"{one.state.value}, moved {shown(one.moved)}, token {one.token}",
    Joined: lambda one: f"displaced {shown(one.displaced)}, token {one.token}",
    list: _many,
    tuple: _many,
    dict: _mapping,
}
