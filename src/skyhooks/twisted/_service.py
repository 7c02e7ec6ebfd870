"""A registry as a service, started and stopped with the application that `twistd` runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.application.internet import backoffPolicy
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..exceptions import NotStarted, StoreUnavailable
from ._deferred import Shared
from ._log import TwistedHandler, bridge, unbridge
from ._registry import Registry

log = Logger("skyhooks")

FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 30.0


class RegistryService(Service):
    """Starts a registry with its application, and has it leave within `drain_seconds` when that stops.

    While the store is away it keeps trying, and says so. Anything else that keeps a registry from starting is a fault
    that time does not mend, such as a URL that reaches another process too: it is logged as critical, and ends the
    process, because one that nobody can ring would look healthy to whoever supervises it. Override `startFailed` to
    decide otherwise.

    Give it a registry, or a function that makes one: only then can it be started again after it has run, once
    `stopService` has fired, each time with a new registry, which is then `registry`.

    Where nothing listens to stdlib's `logging`, what skyhooks tells it goes to twisted.logger, as long as this runs.
    """

    name = "skyhooks"

    def __init__(self, registry: Registry | Callable[[], Registry], *, drain_seconds: float = 10) -> None:
        self._make = None if isinstance(registry, Registry) else registry
        self.registry = registry if isinstance(registry, Registry) else registry()
        self._has_run = False
        self._drain_seconds = drain_seconds
        self._starting: Deferred[None] = succeed(None)
        self._started: Shared[None] = Shared()
        self._failure: Failure | None = None
        self._handler: TwistedHandler | None = None

    def startService(self) -> None:
        """Begin to start the registry; `whenStarted` tells when it runs.

        Raises:
            NotStarted: its registry has been stopped, and it has no function that makes another.
        """
        self._renew()
        super().startService()
        self._handler = self._handler or bridge()
        self._starting = Deferred.fromCoroutine(self._start()).addErrback(self._failed).addCallback(self._tell)

    def stopService(self) -> Deferred[None]:
        """Stop the registry; fires when it has left."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    def whenStarted(self) -> Deferred[None]:
        """Wait until the registry runs, and takes registrations; fails as it does.

        Fails with:
            CancelledError: the service was stopped before. Where nobody handles that, it is not logged.
        """
        return self._started.wait()

    def startFailed(self, failure: Failure) -> None:
        """Log why the registry cannot start, and stop the reactor."""
        log.failure("the skyhooks registry cannot start, and this process ends with it", failure)
        reactor = self.registry.reactor
        reactor.callWhenRunning(reactor.stop)

    async def _start(self) -> None:
        delay = backoffPolicy(FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS)
        attempt = 0
        while not await self._is_started(seconds := delay(attempt)):
            await deferLater(cast("Any", self.registry.reactor), seconds)
            attempt += 1

    async def _is_started(self, retry_seconds: float) -> bool:
        try:
            await self.registry.start()
        except StoreUnavailable as error:
            waiting = "the skyhooks registry cannot start without its store ({error}); again in {seconds:.0f} s"
            log.critical(waiting, error=error, seconds=retry_seconds)
            return False
        self._has_run = True
        return True

    def _renew(self) -> None:
        """Make ready for one more start."""
        if self._has_run:
            if self._make is None:
                again = "give RegistryService a function that makes a registry, to start it again"
                raise NotStarted("the registry of this service has been stopped", again)
            self.registry, self._has_run = self._make(), False
        if self._started.fired:
            self._started, self._failure = Shared(), None

    async def _stop(self) -> None:
        self._starting.cancel()
        await self._starting
        await self.registry.stop(self._drain_seconds)
        if self._handler is not None and not self.running:
            unbridge(self._handler)
            self._handler = None

    def _failed(self, failure: Failure) -> None:
        self._failure = failure
        if not failure.check(CancelledError):
            self.startFailed(failure)

    def _tell(self, _: None) -> None:
        self._started.fire(self._failure)
