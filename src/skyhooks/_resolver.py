"""Resolves names in threads of its own: getaddrinfo cannot be interrupted, and must hold up nobody else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from ._urls import literal_address

Addresses = list[str]
Found = Callable[[Addresses | OSError | UnicodeError], None]


class Resolver:
    """Looks names up, each in one thread at a time whoever asks; keeps no answer.

    The threads are daemons: a name server that does not answer delays neither the end of a wait nor of the process.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: dict[str, list[Found]] = {}

    def resolve(self, host: str, found: Found) -> None:
        """Call `found`, from another thread, with a name's addresses in the system's order, or with the error."""
        with self._lock:
            if host in self._asked:
                self._asked[host].append(found)
                return
            self._asked[host] = [found]
        try:
            threading.Thread(target=self._look_up, args=(host,), name="skyhooks-resolver", daemon=True).start()
        except RuntimeError as error:  # the system has no thread left, or Python is shutting down
            self._answer(host, OSError(str(error)))

    def _look_up(self, host: str) -> None:
        try:
            self._answer(host, lookup(host))
        except (OSError, UnicodeError) as error:
            self._answer(host, error)

    def _answer(self, host: str, result: Addresses | OSError | UnicodeError) -> None:
        with self._lock:
            asked = self._asked.pop(host)
        for found in asked:
            found(result)


def lookup(host: str) -> Addresses:
    """Ask the system for a name's addresses, without repeats."""
    literal = literal_address(host)
    if literal is not None:
        return [literal]
    records = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(record[4][0]) for record in records))
