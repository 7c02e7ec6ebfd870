"""A process that publishes as it is told: `python -m skyhooks.testing._store_worker URL`.

Reads lines `{"key": "a=1", "count": 3}`; answers each publish with a line, once the store has acknowledged it.
"""

from __future__ import annotations

import os
import sys

import msgspec

from .._stores import open_store
from .._values import Position, Publication


class Order(msgspec.Struct):
    """What is to be published, one call each."""

    key: str
    count: int = 1


class Acknowledged(msgspec.Struct):
    """What the store answered."""

    id: str
    position: Position
    targets: list[str]


def main() -> None:
    """Obey until the input ends."""
    store = open_store(sys.argv[1])
    for line in sys.stdin:
        order = msgspec.json.decode(line, type=Order)
        for _ in range(order.count):
            name = os.urandom(16).hex()
            [answer] = store.publish([Publication(order.key, name, name, b"{}", 0.0)])
            assert answer.position is not None
            done = Acknowledged(name, answer.position, [target.instance_id for target in answer.targets])
            sys.stdout.buffer.write(msgspec.json.encode(done) + b"\n")
            sys.stdout.buffer.flush()
    store.close()


if __name__ == "__main__":
    main()
