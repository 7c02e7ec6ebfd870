"""The one reactor of a test process, in a thread of its own: tests run coroutines on it, and leave it clean."""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import socket
import threading
import time

from twisted.internet import asyncioreactor

if os.environ.get("SKYHOOKS_TEST_REACTOR") == "asyncio":
    loop = asyncio.SelectorEventLoop()
    asyncioreactor.install(loop)
    atexit.register(loop.close)

from twisted.internet import reactor  # installs the platform's own, where none was
from twisted.internet._resolver import GAIResolver
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import blockingCallFromThread, deferToThread
from twisted.logger import globalLogBeginner

BODY_SECONDS = 30.0
CLEAN_SECONDS = 2.0


class _Unhandled(list):
    """Observes Twisted's log for Deferreds whose failure nobody has handled."""

    def __call__(self, event):
        if event.get("log_failure") is not None and "Unhandled" in (event.get("log_format") or ""):
            self.append(event["log_failure"])


unhandled = _Unhandled()
_running = None


def run(body, seconds=BODY_SECONDS):
    """Run a coroutine on the reactor to its end, and see that it left nothing there; return or raise as it did."""
    _start()
    return blockingCallFromThread(reactor, lambda: Deferred.fromCoroutine(_clean(body, seconds)))


def call(function, *args):
    """Call a function on the reactor's thread; wait for its Deferred, if it returns one."""
    _start()
    return blockingCallFromThread(reactor, function, *args)


def on_reactor(test):
    """Run a test that is a coroutine."""

    @functools.wraps(test)
    def runs(*args, **options):
        run(test(*args, **options))

    return runs


async def sleep(seconds):
    await deferLater(reactor, seconds)


async def until(condition, seconds=BODY_SECONDS):
    """Wait until it is so."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f"not so within {seconds:g} s"
        await sleep(0.005)


async def in_thread(function, *args):
    return await deferToThread(function, *args)


async def gather(*bodies):
    try:
        return await gatherResults([_begun(body) for body in bodies], consumeErrors=True)
    except FirstError as error:
        error.subFailure.raiseException()


def _begun(body):
    return body if isinstance(body, Deferred) else Deferred.fromCoroutine(body)


def _start():
    global _running
    if _running is None:
        globalLogBeginner.beginLoggingTo([unhandled], redirectStandardIO=False, discardBuffer=True)
        started = threading.Event()
        reactor.callWhenRunning(started.set)
        reactor.suggestThreadPoolSize(30)
        # Twisted binds getaddrinfo when it is imported; tests put another one into its place.
        reactor.installNameResolver(GAIResolver(reactor, getaddrinfo=lambda *a, **k: socket.getaddrinfo(*a, **k)))
        _running = threading.Thread(target=reactor.run, kwargs={"installSignalHandlers": False}, daemon=True)
        _running.start()
        atexit.register(_stop)
        assert started.wait(10)


def _stop():
    reactor.callFromThread(reactor.stop)
    _running.join(10)


async def _clean(body, seconds):
    before = _held()
    unhandled.clear()
    result = await Deferred.fromCoroutine(body).addTimeout(seconds, reactor)
    until = time.monotonic() + CLEAN_SECONDS
    while left := _held() - before:
        assert time.monotonic() < until, f"the reactor is not clean: {left}"
        await sleep(0.01)
    assert not unhandled, unhandled[0].getTraceback()
    return result


def _held():
    """What a reactor holds: timers, files and sockets; and our threads."""
    threads = {thread for thread in threading.enumerate() if "skyhooks" in thread.name}
    return {*reactor.getReaders(), *reactor.getWriters(), *reactor.getDelayedCalls(), *threads}
