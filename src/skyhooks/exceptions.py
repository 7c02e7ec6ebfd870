"""Every error that skyhooks raises: one root, and a class for each fact."""

from __future__ import annotations

from collections.abc import Iterable


class SkyhooksError(Exception):
    """The root of all errors of this package."""


class InvalidKey(SkyhooksError, ValueError):
    """A key is not a mapping of names to text; raised before anything is touched."""


class InvalidData(SkyhooksError, ValueError):
    """Data cannot travel as JSON; `path` says where (`$.rows[3].at`), before anything is touched."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class InvalidCursor(SkyhooksError, ValueError):
    """A cursor was not made by skyhooks, or was damaged on its way."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"{problem}; pass a cursor as it came from registry.cursor(), a notification or a gap,"
            ' or since="start" for all that is kept'
        )


class UnknownStore(SkyhooksError, ValueError):
    """No store is known for a URL's scheme."""

    def __init__(self, scheme: str, known: Iterable[str], extra: str | None = None) -> None:
        hint = f'; install it with: pip install "skyhooks[{extra}]"' if extra else ""
        schemes = ", ".join(sorted(known))
        if scheme:
            super().__init__(f"no store for {scheme!r} URLs; known are {schemes}{hint}")
        else:
            super().__init__(f"a store is a URL, as sqlite:///skyhooks.db is for that file; known are {schemes}")
        self.scheme = scheme


class StoreUnavailable(SkyhooksError):
    """The store did not answer in time; whether a write took effect is unknown, and repeating it is safe."""


class StoreCorrupt(SkyhooksError):
    """What the URL names is not a skyhooks store, is damaged, or was written by a newer version."""


class QueueFull(SkyhooksError):
    """`submit(block=False)` found no room within `max_pending_bytes`; nothing was queued."""

    def __init__(self, max_pending_bytes: int) -> None:
        super().__init__(
            f"{max_pending_bytes} bytes are waiting to be sent; call flush(), submit(block=True),"
            " or raise max_pending_bytes"
        )


class UrlUnreachable(SkyhooksError):
    """The advertised URL does not reach this instance."""

    def __init__(
        self,
        url: str,
        problem: str,
        advice: str = "give the URL by which jobs reach this very process (advertise= or url=), or drop url= and let the"
        " registry listen for itself",
    ) -> None:
        super().__init__(f"{url} does not reach this instance: {problem}; {advice}")
        self.url = url


class UrlShared(SkyhooksError):
    """The advertised URL reaches another instance too, or now belongs to one."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(
            f"{url} is shared: {problem}; give each process its own URL, or drop url= and let the"
            " registry listen for itself"
        )
        self.url = url


class UrlBlocked(SkyhooksError):
    """The URL policy forbids calling this URL."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(f"{url} may not be called: {problem}; allow it with url_policy=UrlPolicy(…)")
        self.url = url


class NotStarted(SkyhooksError):
    """The registry or notifier was used before `start()`, or after `stop()` or `close()`."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}")


class ForkedRegistry(SkyhooksError):
    """A registry was started in another process and inherited by fork."""

    def __init__(self) -> None:
        super().__init__(
            "this registry was started before the process forked; start one in each process, after the fork"
        )


class BodyRejected(SkyhooksError):
    """A request body or its headers were refused; `status` and `code` are what the sender is answered."""

    def __init__(self, status: int, code: str, **extra: str) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.extra = extra


class UnverifiedEntry(SkyhooksError):
    """A log entry bears no valid MAC of this registry's secret; it was passed over."""

    def __init__(self, key: str, seq: int) -> None:
        super().__init__(
            f"entry {seq} of {key!r} was not written by a holder of this secret and was passed over;"
            " give every job and every web process the same secret"
        )
        self.key = key
        self.seq = seq
