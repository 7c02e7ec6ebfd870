"""The job's end of a connection: one request at a time, and of its answer no more than a job has use for."""

from __future__ import annotations

import re

import httptools

from .._values import Answer, Fault, Post
from .parser import HEADER_OVERHEAD_BYTES, MAX_HEAD_BYTES, Overhead, Stop, reason

MAX_ANSWER_BYTES = 65_536
"""How much of a body is read; the rest is not, and costs the connection."""

STATUS_LINE_BYTES = 20
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]")
_KEPT = frozenset((b"date", b"retry-after", b"content-length", b"transfer-encoding"))


class ClientConnection:
    """One connection, seen from the job: send what `request` makes, feed it what arrives until there is an answer."""

    __slots__ = ("_answers",)

    def __init__(self) -> None:
        self._answers = _Answers()

    def request(self, post: Post, host_header: str, target: str) -> bytes:
        """Make the bytes of a request; the answer to the one before must be there.

        Raises:
            ValueError: a header's value cannot travel: it holds control characters or is not ASCII.
        """
        fields = [f"{name}: {value}" for name, value in post.headers]
        text = "".join(fields)
        if not text.isascii() or _CONTROL.search(text):
            raise ValueError("a header holds control characters, or is not ASCII")
        if post.fresh:
            fields.append("connection: close")
        length = f"content-length: {len(post.body)}"
        head = "\r\n".join((f"POST {target} HTTP/1.1", f"host: {host_header}", length, *fields, "\r\n"))
        self._answers.expect(may_reuse=not post.fresh)
        return head.encode() + post.body

    def feed(self, data: bytes) -> Answer | None:
        """Take what has arrived; return the answer once it is whole, or will not get any better."""
        return self._answers.read(data)

    def eof(self) -> Answer | None:
        """Take note that the peer has ended, which some answers wait for; None only where none is awaited."""
        return self._answers.end(orderly=True)

    def reset(self) -> Answer | None:
        """Take note that the connection broke, so that nothing has ended with it; else as `eof`."""
        return self._answers.end(orderly=False)

    @property
    def started(self) -> bool:
        """Something of the answer has arrived, so that the request is known to have been read."""
        return self._answers.started

    @property
    def reusable(self) -> bool:
        """The answer was taken to its end, and the peer keeps the connection open."""
        return self._answers.reusable


class _Enough(Stop):
    pass


class _Answers:
    """Turns the parser's callbacks into an answer."""

    __slots__ = (
        "_awaited",
        "_body",
        "_body_bytes",
        "_head_bytes",
        "_headers",
        "_in_body",
        "_may_reuse",
        "_overhead",
        "_parser",
        "_turns",
        "answer",
        "reusable",
        "started",
    )

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._overhead = Overhead()
        self._awaited = False
        self._turns = 0
        self._may_reuse = False
        self.started = False
        self.reusable = False
        self.answer: Answer | None = None
        self._forget()

    def expect(self, *, may_reuse: bool) -> None:
        self._forget()
        self._overhead.restart()
        self._head_bytes = 0
        self._may_reuse = may_reuse
        self._awaited = True
        self.started = False
        self.reusable = False

    def read(self, data: bytes) -> Answer | None:
        if not self._awaited:
            self.reusable = False
            return None
        self.started = self.started or bool(data)
        turns = self._turns
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("it switched protocols, which it was not asked for")
        except httptools.HttpParserError as error:
            self._stop(error)
        else:
            if self._turns == turns and self._overhead.exceeded(len(data), self._body_bytes):
                self._fail("its head or its framing is too long")
        return self._given()

    def end(self, *, orderly: bool) -> Answer | None:
        self.reusable = False
        if not self._awaited:
            return None
        if orderly and self._in_body and self._ends_with_connection():
            self._complete()
        else:
            cut = "within" if self.started else "before"
            self._settle(Answer(fault=Fault.RESET, error=f"the connection ended {cut} the answer"))
        return self._given()

    def _given(self) -> Answer | None:
        answer, self.answer = self.answer, None
        if answer is not None:
            self._awaited = False
            self._forget()
        return answer

    def _stop(self, error: httptools.HttpParserError) -> None:
        stop = reason(error)
        if self.answer is not None:
            self.reusable = False  # what follows an answer is nobody's
        elif isinstance(stop, _Enough):
            self._complete()
        else:
            self._fail(str(stop or error))

    def _fail(self, problem: str) -> None:
        self._settle(Answer(fault=Fault.PROTOCOL, error=f"not an HTTP answer: {problem}"))

    def _complete(self) -> None:
        headers = self._headers
        self._settle(
            Answer(
                status=self._parser.get_status_code(),
                body=b"".join(self._body),
                date=headers.get(b"date"),
                retry_after=headers.get(b"retry-after"),
            )
        )

    def _settle(self, answer: Answer) -> None:
        if self.answer is None:
            self.answer = answer

    def _ends_with_connection(self) -> bool:
        coding = self._headers.get(b"transfer-encoding")
        if coding is not None:
            return coding.rpartition(",")[2].strip().lower() != "chunked"
        return b"content-length" not in self._headers

    def _forget(self) -> None:
        self._in_body = False
        self._headers: dict[bytes, str] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0

    def _turn(self) -> None:
        self._turns += 1
        self._overhead.restart()

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            raise Stop("its head is too long")

    # -- what httptools calls ---------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.answer is not None:
            raise Stop("more than one answer")
        self._turn()
        self._count_head(STATUS_LINE_BYTES)

    def on_status(self, phrase: bytes) -> None:
        self._count_head(len(phrase))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value) + HEADER_OVERHEAD_BYTES)
        word = name.lower()
        if word in _KEPT and not self._in_body:
            text = value.decode("latin-1").strip(" \t")
            self._headers[word] = f"{self._headers[word]}, {text}" if word in self._headers else text

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 100 or self._parser.get_http_version() not in ("1.0", "1.1"):
            raise Stop("its status or version is not HTTP/1.1's")
        self._in_body = status >= 200
        self._turn()

    def on_body(self, chunk: bytes) -> None:
        room = MAX_ANSWER_BYTES - self._body_bytes
        self._body_bytes += len(chunk)
        self._body.append(chunk[:room])
        if len(chunk) > room:
            raise _Enough

    def on_message_complete(self) -> None:
        if self._in_body:
            self._complete()
            self.reusable = self._may_reuse and self._parser.should_keep_alive()
        else:
            self._headers.clear()  # 100 and its kind only announce the answer
