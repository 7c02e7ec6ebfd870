"""A receiving process on gevent."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import gevent

from benchmarks.counting import order, serve_until_parent_ends
from skyhooks.gevent import Registry


def main() -> None:
    where, counter, callbacks = order()
    with Registry(where) as registry:
        for _ in range(callbacks):
            registry.register({"account": 42}, lambda n: counter(n.data))
        gevent.get_hub().threadpool.spawn(serve_until_parent_ends).get()


if __name__ == "__main__":
    main()
