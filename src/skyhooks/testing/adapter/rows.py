"""The rows of HTP: requests as bytes, and the one answer that every way to be rung gives."""

from __future__ import annotations

from collections.abc import Callable

from .raw import Letter, request_bytes

Make = Callable[[str, Letter], bytes]


def _posted(
    *extra: tuple[str, str], without: str = "", body: bytes | None = None, method: str = "POST", first: str = ""
) -> Make:
    """Make a good request, but for this."""

    def make(url: str, one: Letter) -> bytes:
        if body is not None:
            one.body = body
        headers = [*one.signed(), ("content-length", str(len(one.body)))]
        kept = [(name, value) for name, value in headers if name != without]
        return request_bytes(url, [*kept, *extra], one.body, method=method, first=first)

    return make


def _chunked(*chunks: bytes) -> Make:
    def make(url: str, one: Letter) -> bytes:
        pieces = chunks or (one.body[:50], one.body[50:])
        data = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        return request_bytes(url, [*one.signed(), ("transfer-encoding", "chunked")], data)

    return make


HTTP: dict[str, tuple[Make, int, str]] = {
    "all right": (_posted(), 200, ""),
    "in chunks": (_chunked(), 200, ""),
    "GET": (_posted(method="GET"), 405, "method"),
    "PUT": (_posted(method="PUT"), 405, "method"),
    "DELETE": (_posted(method="DELETE"), 405, "method"),
    "too long": (_posted(body=b"x" * 5001), 413, "too_large"),
    "far too long, and it does not come": (
        _posted(("content-length", "200000000"), without="content-length"),
        413,
        "too_large",
    ),
    "too long in chunks": (_chunked(b"x" * 4000, b"y" * 4000), 413, "too_large"),
    "no length": (_posted(without="content-length", body=b""), 411, "length_required"),
    "compressed": (_posted(("content-encoding", "gzip")), 415, "media_type"),
    "another type": (_posted(("content-type", "text/plain"), without="content-type"), 415, "media_type"),
    "no type": (_posted(without="content-type"), 415, "media_type"),
    "2000 headers": (_posted(*((f"x-{number}", "y") for number in range(2000))), 431, "headers_too_large"),
    "100 KB of headers": (_posted(("x", "y" * 100_000)), 431, "headers_too_large"),
    "two lengths": (_posted(("content-length", "9")), 400, "malformed"),
    "length and chunks": (_posted(("transfer-encoding", "chunked")), 400, "malformed"),
    "an odd length": (_posted(("content-length", "+7"), without="content-length"), 400, "malformed"),
    "gzip, chunked": (
        _posted(("transfer-encoding", "gzip, chunked"), without="content-length"),
        400,
        "malformed",
    ),
    "a folded header": (_posted(("x", "a\r\n b")), 400, "malformed"),
    "a NUL": (_posted(("x", "a\0b")), 400, "malformed"),
    "a bare CR": (_posted(("x", "a\rb")), 400, "malformed"),
    "another version": (_posted(first="POST / HTTP/3.0"), 400, "malformed"),
    "nonsense": (lambda *_: b"nonsense\r\n\r\n", 405, "method"),
}
