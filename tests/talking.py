"""How the processes of the tests talk: JSON lines in, JSON lines out; the same words in every framework."""

from __future__ import annotations

import json
import time


def say(event, **details):
    print(json.dumps({"event": event, **details}), flush=True)  # noqa: T201 - standard output is how it talks


def teller(name):
    """Make the callbacks of a registration that says what it is called with."""
    return (
        lambda n: say("n", name=name, data=n.data, cursor=n.cursor, replayed=n.replayed, at=time.time()),
        lambda gap: say("gap", name=name, reason=gap.reason),
    )


def say_error(error, _):
    say("error", error=type(error).__name__)


def say_receipt(receipt):
    say(
        "receipt",
        id=receipt.id,
        reached=receipt.reached,
        duplicate=receipt.duplicate,
        ok=receipt.ok,
        nobody=receipt.nobody,
        outcomes={one.instance_id: one.outcome.value for one in receipt.deliveries},
    )


def event_text(item):
    """Write a notification or a gap as an EventSource reads it."""
    is_gap = hasattr(item, "reason")
    data = item.reason if is_gap else item.raw.decode()
    return f"event: {'gap' if is_gap else 'message'}\nid: {item.cursor}\ndata: {data}\n\n"
