"""`skyhooks hooks`: who waits for what."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from .._keys import canonical_keys
from .._values import Hook, Instance
from .exits import Exit
from .inputs import make_store, read_keys
from .instances import ID_CHARACTERS
from .output import print_line, print_table


def run(options: argparse.Namespace) -> Exit:
    """Do what the words say; `NO` if nobody waits."""
    keys = canonical_keys(read_keys(options.keys)) if options.keys else None
    store = make_store(options, existing=True)
    try:
        instances = {one.instance_id: one for one in store.instances()}
        hooks = store.hooks(keys)
        found = _print_as_json(hooks, instances) if options.json else _print(hooks, instances)
    finally:
        store.close()
    return Exit.OK if found else Exit.NO


def _print_as_json(hooks: Iterable[Hook], instances: dict[str, Instance]) -> bool:
    found = False
    for hook in hooks:
        found = True
        instance = instances.get(hook.instance_id)
        url, label = (instance.url, instance.label) if instance else (None, None)
        print_line({"key": hook.key, "instance_id": hook.instance_id, "url": url, "label": label})
    return found


def _print(hooks: Iterable[Hook], instances: dict[str, Instance]) -> bool:
    rows = [_row(hook, instances.get(hook.instance_id)) for hook in hooks]
    if rows:
        print_table(("KEY", "INSTANCE", "URL", "PROCESS"), rows)
    else:
        print("nobody waits")
    return bool(rows)


def _row(hook: Hook, instance: Instance | None) -> tuple[str, ...]:
    name = hook.instance_id[:ID_CHARACTERS]
    if instance is None:
        return hook.key, name, "-", "-"
    return hook.key, name, instance.url or "(asks the store)", instance.label
