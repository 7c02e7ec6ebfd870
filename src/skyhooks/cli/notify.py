"""`skyhooks notify`: publish, ring, and show the receipt."""

from __future__ import annotations

import argparse

from .._values import Delivery, Outcome, Receipt
from ..blocking import Notifier
from .exits import Exit
from .inputs import check_cafile, make_store, read_data, read_keys, read_secret
from .output import print_line, print_table, style

DEFAULT_SECONDS = 10.0


def run(options: argparse.Namespace) -> Exit:
    """Do what the words say; `NO` if nobody listened, or somebody could not be told."""
    keys = read_keys(options.keys)
    data = read_data(options.data)
    cafile = check_cafile(options)
    with Notifier(make_store(options), secret=read_secret(options), cafile=cafile) as notifier:
        receipt = notifier.notify(
            keys,
            data,
            id=options.id,
            ephemeral=options.ephemeral,
            timeout_seconds=options.timeout or DEFAULT_SECONDS,
        )
    if options.json:
        print_line(_as_line(receipt))
    else:
        _print(receipt)
    return Exit.NO if receipt.nobody or not receipt.ok else Exit.OK


def _as_line(receipt: Receipt) -> dict[str, object]:
    return {
        "id": receipt.id,
        "reached": receipt.reached,
        "nobody": receipt.nobody,
        "ok": receipt.ok,
        "duplicate": receipt.duplicate,
        "deliveries": receipt.deliveries,
    }


def _print(receipt: Receipt) -> None:
    print(_summary(receipt))
    if receipt.deliveries:
        headers = ("OUTCOME", "CALLBACKS", "ATTEMPTS", "MS", "URL", "")
        print_table(headers, [_row(one) for one in receipt.deliveries], right=("CALLBACKS", "ATTEMPTS", "MS"))


def _summary(receipt: Receipt) -> str:
    again = " (it had been published before)" if receipt.duplicate else ""
    if receipt.nobody:
        return f"{style('yellow', 'nobody listens')}: {receipt.id}{again}"
    processes = sum(one.outcome is Outcome.DELIVERED for one in receipt.deliveries)
    deferred = sum(one.outcome is Outcome.DEFERRED for one in receipt.deliveries)
    reached = f"{receipt.reached} callback{'s' * (receipt.reached != 1)}"
    later = f", {deferred} more will fetch it" if deferred else ""
    where = f"in {processes} process{'es' * (processes != 1)}"
    return f"reached {style('bold', reached)} {where}{later}: {receipt.id}{again}"


def _row(delivery: Delivery) -> tuple[str, ...]:
    return (
        delivery.outcome.value,
        "-" if delivery.callbacks is None else str(delivery.callbacks),
        str(delivery.attempts),
        f"{delivery.elapsed_seconds * 1000:.1f}",
        delivery.url or "-",
        delivery.error or "",
    )
