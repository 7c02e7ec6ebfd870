"""One request of a browser to a bridge: how it is answered, how much of it is under way, when it has gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.error import Error
from zope.interface import implementer

from .._bridge.refusals import PROBLEM, Refused
from ._deferred import inside, within
from ._reactor import Reactor

if TYPE_CHECKING:
    from twisted.web.server import Request

log = Logger("skyhooks")


@implementer(IPushProducer)
class Visit:
    """A request, from when it came until it has been answered or its client has gone.

    It may be the producer of what the client is sent, for a coroutine that waits until there is room.
    """

    __slots__ = ("_flowing", "_paused", "begun", "gone", "reactor", "request", "stop")

    def __init__(self, reactor: Reactor, request: Request) -> None:
        self.reactor = reactor
        self.request = request
        self.begun = False
        """Whether a stream has begun: no status can be given any more."""
        self.gone = False
        """Whether the client has gone, or is not to be told anything more."""
        self._paused = False
        self._flowing: Deferred[None] | None = None
        self.stop: Callable[[], object] | None = None
        """What stops what is done for the client."""

    def follow(self, serving: Deferred[None]) -> None:
        """Stop what is done for this client when it goes; answer what it fails with."""
        if not serving.called:
            self.stop = serving.cancel
        self.request.notifyFinish().addErrback(self._leave)
        serving.addErrback(self._fail)

    def leave(self) -> None:
        """Stop what is done for the client, in a later turn: nothing of the core goes on amid this one. Twice is fine."""
        if not self.gone:
            self.gone = True
            self.reactor.callLater(0, self._stop)

    def _leave(self, _: Failure) -> None:
        self.leave()

    # -- what was asked ---------------------------------------------------------------------------

    def header(self, name: str) -> str | None:
        """Return a header's value; those of several as a list is written (RFC 9110, section 5.3)."""
        values = self.request.requestHeaders.getRawHeaders(name.encode(), [])
        return b", ".join(values).decode("latin-1") if values else None

    def argument(self, name: str) -> str | None:
        """Return a value of the query, the last of several."""
        values: list[bytes] = (self.request.args or {}).get(name.encode(), [])
        return values[-1].decode("utf-8", "replace") if values else None

    # -- the answer -------------------------------------------------------------------------------

    def head(self, status: int, *headers: tuple[str, str]) -> None:
        """Say status and headers."""
        self.request.setResponseCode(status)
        for name, value in headers:
            self.request.setHeader(name, value)

    def finish(self, body: bytes = b"") -> None:
        """Give the whole body and end; of no use where the client has gone."""
        if self.gone:
            return
        if body:
            self.request.setHeader("content-length", str(len(body)))
            self.request.write(body)
        self.request.finish()

    def refuse(self, refused: Refused) -> None:
        """Answer that there is no stream."""
        self.head(refused.status, ("content-type", PROBLEM), *refused.headers)
        self.finish(refused.body)

    def answer_error(self, error: Error) -> None:
        """Answer what the application has raised, in its own words; without any, in Twisted's."""
        self.request.setResponseCode(int(error.status), error.message)
        self.finish(error.response or error.message or b"refused")

    def begin(self, producer: object) -> None:
        """Begin a stream; the transport pauses its producer beyond 64 KiB, until all of them are on their way."""
        self.begun = True
        self.request.registerProducer(producer, True)

    async def written(self, seconds: float) -> bool:
        """Wait until there is room for more; False: the client has gone, or has not read all for so many seconds."""
        if self._paused and not self.gone:
            self._flowing = Deferred()
            try:
                await within(self.reactor, seconds, inside(self._flowing))
            except TimeoutError:
                return False
            finally:
                self._flowing = None
        return not self.gone

    def end(self) -> None:
        """End a stream in order: what was written is sent."""
        if not self.gone:
            self.request.unregisterProducer()
            self.request.finish()

    def abort(self) -> None:
        """End the connection at once, with what is under way."""
        channel: Any = self.request.channel
        if channel is not None:
            # A stream of HTTP/2 is a channel that can be aborted, and has its transport together with others.
            (channel if hasattr(channel, "abortConnection") else channel.transport).abortConnection()

    # -- IPushProducer ----------------------------------------------------------------------------

    @property
    def paused(self) -> bool:
        """Whether there is no room."""
        return self._paused

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        if self._flowing is not None and not self._flowing.called:
            self._flowing.callback(None)

    def stopProducing(self) -> None:
        self.leave()

    # -- inside -----------------------------------------------------------------------------------

    def _stop(self) -> None:
        stop, self.stop = self.stop, None
        if stop is not None:
            stop()

    def _fail(self, failure: Failure) -> None:
        if self.gone and failure.check(CancelledError):
            return
        if self.begun or self.gone:
            log.failure("a bridge failed", failure)
            self.abort()
        else:
            self.request.processingFailed(failure)
