"""What is needed of a reactor, who may call, and how to do things in its later turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, cast

from twisted.logger import Logger
from twisted.python import threadable
from twisted.python.threadpool import ThreadPool

log = Logger("skyhooks")


class Timer(Protocol):
    """An `IDelayedCall`."""

    def active(self) -> bool: ...

    def cancel(self) -> None: ...


class Port(Protocol):
    """An `IListeningPort`."""

    def getHost(self) -> Any: ...

    def stopListening(self) -> Any: ...


class Resolver(Protocol):
    """An `IHostnameResolver`."""

    def resolveHostName(self, resolutionReceiver: object, hostName: str) -> object: ...


class Reactor(Protocol):
    """A reactor, as far as skyhooks goes: timers, threads, TCP, names, and its end."""

    @property
    def nameResolver(self) -> Resolver: ...

    def seconds(self) -> float: ...

    def callLater(self, delay: float, callable: Callable[..., object], *args: object) -> Timer: ...

    def callFromThread(self, callable: Callable[..., object], *args: object) -> None: ...

    def callWhenRunning(self, callable: Callable[..., object], *args: object) -> object: ...

    def stop(self) -> None: ...

    def getThreadPool(self) -> ThreadPool: ...

    def listenTCP(self, port: int, factory: object, backlog: int, interface: str) -> Port: ...

    def connectTCP(
        self, host: str, port: int, factory: object, timeout: float, bindAddress: tuple[str, int] | None
    ) -> object: ...

    def addSystemEventTrigger(
        self, phase: str, eventType: str, callable: Callable[..., object], *args: object
    ) -> object: ...

    def removeSystemEventTrigger(self, triggerID: object) -> None: ...


class Transport(Protocol):
    """An `ITCPTransport`, as far as skyhooks goes; over TLS too, but for `loseWriteConnection`."""

    disconnecting: bool

    def write(self, data: bytes) -> None: ...

    def loseConnection(self) -> None: ...

    def loseWriteConnection(self) -> None: ...

    def abortConnection(self) -> None: ...

    def setTcpNoDelay(self, enabled: bool) -> None: ...

    def registerProducer(self, producer: object, streaming: bool) -> None: ...

    def unregisterProducer(self) -> None: ...

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...


def running_reactor() -> Reactor:
    """Return the process's reactor; importing it installs it, so this is never done before it is needed."""
    from twisted.internet import reactor

    return cast("Reactor", reactor)


def check_thread() -> None:
    """Make sure that this is the reactor's thread, or that there is none yet.

    Raises:
        RuntimeError: with what to call instead; nothing was touched.
    """
    if cast("int | None", threadable.ioThread) is not None and not threadable.isInIOThread():
        raise RuntimeError(
            "skyhooks.twisted was called in a thread that is not the reactor's;"
            " use reactor.callFromThread(…), or blockingCallFromThread(reactor, …) to wait for the result"
        )


class Turns:
    """Does things in later turns of the reactor, in the order in which they were asked for; never at once.

    What fires a Deferred runs whatever waits for it there and then. The core must not be entered so, amid a change of
    its state: whoever it wakes comes here.
    """

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._due: deque[Callable[[], object]] = deque()

    def later(self, work: Callable[[], object]) -> None:
        """Do this in the next turn."""
        if not self._due:
            self._reactor.callLater(0, self._turn)
        self._due.append(work)

    def _turn(self) -> None:
        due, self._due = self._due, deque()
        for work in due:
            try:
                work()
            except Exception:  # noqa: BLE001  # it harms nobody else's turn
                log.failure("skyhooks failed in a turn of its own")


class AfterWrites:
    """Does one thing once what has been written by now is with the sockets: two turns later, with a poll between.

    A transport writes when the reactor next polls; calls that were made at once would delay the answer before them.
    """

    def __init__(self, reactor: Reactor, work: Callable[[], object]) -> None:
        self._reactor = reactor
        self._work = work
        self._call: Timer | None = None

    def __call__(self) -> None:
        """Have it done; asked for several times meanwhile, once."""
        if self._call is None:
            self._call = self._reactor.callLater(0, self._written)

    def _written(self) -> None:
        self._call = self._reactor.callLater(0, self._do)

    def _do(self) -> None:
        self._call = None
        self._work()
