"""A process that uses a store for `test_sqlite.py`: `python sqlite_worker.py URL NUMBER OPERATIONS`."""

from __future__ import annotations

import sys

from skyhooks._stores import open_store
from skyhooks._values import Instance, Publication


def main() -> None:
    url, number, operations = sys.argv[1], sys.argv[2], int(sys.argv[3])
    store = open_store(url)
    instance = f"i{number}"
    token = store.join(Instance(instance, f"http://{instance}/", 0), 60).token
    for step in range(operations // 5):
        key = f"k={step % 50}"
        store.add_hooks(instance, [key], 2 * step)
        store.publish([Publication(key, f"{instance}-{step}", "n", b"{}", 0.0)])
        store.read(key, None, 10)
        token = store.renew(instance, 60, token).token
        store.remove_hooks(instance, [key], 2 * step + 1)
    store.close()


if __name__ == "__main__":
    main()
