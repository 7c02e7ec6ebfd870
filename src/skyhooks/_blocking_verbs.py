"""A notifier's verbs where each of them blocks its caller: a thread, or under gevent a greenlet."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

from ._driver import run
from ._notifier import NotifierCore
from ._sending import Sending
from ._values import Instance, Receipt

Keys = Mapping[str, object]


class Submission:
    """What `submit` returns: a light handle on a receipt that is still to come."""

    __slots__ = ("_sending",)

    def __init__(self, sending: Sending) -> None:
        self._sending = sending

    @property
    def id(self) -> str:
        """The notification's id."""
        return self._sending.id

    @property
    def done(self) -> bool:
        """Whether the receipt, or an error, is there."""
        return self._sending.done

    def result(self, timeout_seconds: float | None = None) -> Receipt:
        """Wait for the receipt.

        Raises:
            StoreUnavailable: it was not published, or nobody knows whether it was.
            TimeoutError: it is not there yet; it goes on.
        """
        if not run(self._sending.wait(timeout_seconds)):
            raise TimeoutError(f"notification {self._sending.id} is still on its way")
        return self._sending.receipt()


class BlockingVerbs(abc.ABC):
    """The verbs; a notifier adds how it opens and closes."""

    def notify(
        self,
        keys: Keys,
        data: object,
        *,
        id: str | None = None,
        ephemeral: bool = False,
        timeout_seconds: float | None = None,
    ) -> Receipt:
        """Append to the keys' logs, ring every instance that holds one of them, and say who got it.

        With an `id` of your own, doing it twice within an hour is doing it once. `ephemeral=True` skips the log: at
        most once, in no order.

        Raises:
            InvalidKey, InvalidData: nothing was touched.
            StoreUnavailable: within 3 s; whether it was published is unknown: repeat it with the same id.
        """
        core = self._opened()
        return run(core.notify(core.prepare(keys, data, id=id, ephemeral=ephemeral, timeout_seconds=timeout_seconds)))

    def notify_many(self, items: Iterable[tuple[Keys, object]]) -> list[Receipt]:
        """Do so for many (keys, data), published in their order, in as few trips as possible."""
        core = self._opened()
        return run(core.notify_many([core.prepare(keys, data) for keys, data in items]))

    def submit(
        self, keys: Keys, data: object, *, id: str | None = None, ephemeral: bool = False, block: bool = True
    ) -> Submission:
        """Queue it and return; what piles up goes together. What is queued dies with the process: `flush` before.

        Raises:
            QueueFull: `block` is false and `max_pending_bytes` are waiting.
        """
        core = self._opened()
        sending = core.prepare(keys, data, id=id, ephemeral=ephemeral)
        run(core.submit(sending, block=block))
        return Submission(sending)

    def flush(self, timeout_seconds: float = 5) -> bool:
        """Wait until all that was submitted has been sent; False when the time ran out first."""
        return run(self._opened().flush(timeout_seconds))

    def interest(self, keys: Keys) -> list[Instance]:
        """Return the live instances that hold any of these keys: who would be rung now.

        Raises:
            StoreUnavailable: within 3 s.
        """
        return run(self._opened().interest(keys))

    @abc.abstractmethod
    def close(self, timeout_seconds: float = 5) -> None:
        """Flush, then close. Twice is fine."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @abc.abstractmethod
    def _opened(self) -> NotifierCore:
        """Return the core of this process, made where there is none yet.

        Raises:
            NotStarted: it has been closed.
        """
