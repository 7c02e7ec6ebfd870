"""Calls users' callbacks, and hears what they raise."""

from __future__ import annotations

import inspect
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

from ._notification import Gap, Notification
from ._registration import Registration

log = logging.getLogger("skyhooks")

OnError = Callable[[BaseException, Notification | None], Any]
"""May be async, as callbacks may."""
Adopt = Callable[[Any, Callable[[BaseException], None]], None]
"""Runs what an async callback returned, and says what it raised."""


class Calls:
    """Starts one call at a time: one callback's trouble stops no other.

    What a callback returns and `is_begun` recognises goes on by itself, and is adopted.
    """

    def __init__(
        self, on_error: OnError | None, adopt: Adopt, *, is_begun: Callable[[object], bool] = inspect.isawaitable
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._on_error = on_error
        self._adopt = adopt
        self._is_begun = is_begun
        self._gaps_logged: set[str] = set()

    def invoke(self, registration: Registration, what: Notification | Gap) -> None:
        """Call a registration's callback, or its `on_gap`."""
        try:
            if isinstance(what, Notification):
                result = registration.callback(what)
            else:
                result = self._tell_gap(registration, what)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - the CancelledError of something else, say: the next is called
            self._failed(error, what)
        else:
            if result is not None and self._is_begun(result):
                self._adopt(result, lambda error: self._failed(error, what))

    def tell(self, error: BaseException, notification: Notification | None) -> None:
        """Tell the application, or the log, what went wrong."""
        if self._on_error is not None:
            try:
                result: Any = self._on_error(error, notification)
            except Exception:
                log.exception("on_error itself failed")
            else:
                if result is not None and self._is_begun(result):
                    self._adopt(result, _log_failure)
        elif notification is not None:
            log.error("a callback for %s failed", notification.key, exc_info=error)
        else:
            log.error("%s", error)

    def _failed(self, error: BaseException, what: Notification | Gap) -> None:
        self.counts["callback_errors"] += 1
        self.tell(error, what if isinstance(what, Notification) else None)

    def _tell_gap(self, registration: Registration, gap: Gap) -> Any:
        self.counts["gaps"] += 1
        if registration.on_gap is not None:
            return registration.on_gap(gap)
        if gap.key not in self._gaps_logged:
            self._gaps_logged.add(gap.key)
            log.warning(
                "part of what %s was sent is no longer kept (%s); give on_gap= to hear of it", gap.key, gap.reason
            )
        return None


def _log_failure(error: BaseException) -> None:
    log.error("on_error itself failed", exc_info=error)
