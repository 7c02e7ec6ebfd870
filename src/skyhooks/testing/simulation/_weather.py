"""How often what goes wrong, and how long things take."""

from __future__ import annotations

from dataclasses import dataclass

QUICK_SECONDS = 0.01
"""At most, one way to the store or to an instance, when nothing is wrong."""
SLOW_SECONDS = 2.0
LATE_SECONDS = 15.0
SLACK_SECONDS = 0.1
"""How much longer than promised a call may take here."""


@dataclass
class Weather:
    """How often what goes wrong, as shares of all store calls and POSTs."""

    store_before: float = 0.0
    """Fails, and does nothing."""
    store_after: float = 0.0
    """Takes effect, perhaps in part, and the answer is lost."""
    store_late: float = 0.0
    """Takes effect long after the caller was told that it failed."""
    store_again: float = 0.0
    """The driver repeats a publish by itself that had taken effect."""
    store_down: bool = False
    in_steps: float = 0.0
    """Share of operations that are not atomic over several keys."""
    slow: float = 0.0
    slow_only: tuple[str, ...] = ()
    """The operations that are slow; all, and POSTs, if empty."""
    post_lost: float = 0.0
    answer_lost: float = 0.0
    post_twice: float = 0.0
    post_late: float = 0.0
    post_held: float = 0.0
    """Share of POSTs that arrive a little later than the one behind them."""
    instant: float = 0.0
    """Share of operations that are done in place, without a switching point, as a memory store's are."""
    only: tuple[str, ...] = ()
    """The operations that fail; all if empty."""
    late_seconds: float = LATE_SECONDS
    reads_fail: float = 0.0
    fine: bool = False


FINE = Weather(fine=True)
