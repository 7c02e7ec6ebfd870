"""What the tokens of `join` and `renew` hold: how far the moves have been told, and the instance's URL.

With the URL in it, no tombstone is needed to tell a displaced instance from an expired one.
"""

from __future__ import annotations


def make_token(told: int, url: str | None) -> str:
    """Make a token from the number from which on moves have not been told."""
    return f"{told} {url or ''}"


def take_token(token: str) -> tuple[int, str]:
    """Return a token's number and URL; 0, which tells everything again, for what is no token of ours."""
    told, _, url = token.partition(" ")
    return (int(told), url) if told.isdecimal() else (0, url)
