"""A job process with its notifier, and what came of its calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..._notifier import NotifierCore
from ..._values import Outcome, Receipt
from ...abc import STORE_SECONDS
from ...exceptions import StoreUnavailable
from ._runtime import Runtime
from ._scheduler import Group, Task
from ._server import STORE
from ._weather import SLACK_SECONDS

if TYPE_CHECKING:
    from ._world import World

LARGE_BYTES = 500
"""Smaller data than this always fits into a body of its own."""


class Note:
    """One call of `notify` and what came of it."""

    def __init__(self, job: Job, keys: tuple[str, ...], *, ephemeral: bool, id: str | None) -> None:
        self.job = job
        self.keys = keys
        self.ephemeral = ephemeral
        self.id = id
        self.nonce = ""
        self.data_bytes = 0
        self.began_at = job.world.moment()
        self.began = job.world.scheduler.now
        self.ended_at = 0
        self.receipt: Receipt | None = None
        self.failed = False


class Job:
    """A job process with its notifier."""

    def __init__(self, world: World, name: str, options: dict[str, Any]) -> None:
        self.world = world
        self.name = name
        self.group = Group(world.scheduler, self._failed)
        self.runtime = Runtime(world, self.group, name)
        self.core = NotifierCore(STORE, self.runtime, secrets=world.secrets, **options)

    def notify(
        self,
        *keys: str,
        id: str | None = None,
        ephemeral: bool = False,
        data: object = None,
        timeout_seconds: float | None = None,
    ) -> Task:
        """Notify, in a task of its own; the task's result is the note of it."""
        if not self.group.alive:
            return self.world.director.spawn(_nothing())
        return self.group.spawn(self._notify(self._note(keys, ephemeral, id), data, timeout_seconds))

    def notify_many(self, items: Sequence[tuple[str, bool]]) -> Task:
        """Notify several (key, ephemeral) at once."""
        notes = [self._note((key,), ephemeral, None) for key, ephemeral in items]
        return self.group.spawn(self._notify_many(notes))

    def submit(self, keys: Sequence[str]) -> Task:
        """Submit a notification for each of these keys, in this order, and wait for the receipts."""
        return self.group.spawn(self._submit([self._note((key,), False, None) for key in keys]))

    def kill(self) -> None:
        """Kill -9."""
        self.world.log(self.name, "KILLED")
        self.group.kill()

    # -- inside --------------------------------------------------------------------------------------

    def _note(self, keys: Sequence[str], ephemeral: bool, id: str | None) -> Note:
        note = Note(self, tuple(f"k={key}" for key in keys), ephemeral=ephemeral, id=id)
        self.world.notes.append(note)
        return note

    def _prepare(self, note: Note, data: object, timeout_seconds: float | None = None) -> Any:
        sending = self.core.prepare(
            {"k": [key[2:] for key in note.keys]},
            self.world.name("d") if data is None else data,
            id=note.id,
            ephemeral=note.ephemeral,
            timeout_seconds=timeout_seconds,
        )
        note.nonce = sending.nonce
        note.data_bytes = len(sending.data)
        note.id = sending.id
        if self.world.trace is not None:
            kind = "ephemeral " if note.ephemeral else ""
            self.world.log(self.name, f"notifies {note.keys} {kind}{sending.id[-10:]} {sending.data!r}")
        return sending

    async def _notify(self, note: Note, data: object, timeout_seconds: float | None) -> Note:
        sending = self._prepare(note, data, timeout_seconds)
        try:
            note.receipt = await self.core.notify(sending)
        except StoreUnavailable as error:
            note.failed = True
            self._check_failure(note, error)
        note.ended_at = self.world.moment()
        self._check_receipt(note)
        self._check_published(note)
        return note

    async def _notify_many(self, notes: list[Note]) -> list[Note]:
        sendings = [self._prepare(note, None) for note in notes]
        try:
            receipts = await self.core.notify_many(sendings)
        except StoreUnavailable:
            receipts = []
        for note, receipt in zip(notes, receipts, strict=False):
            note.receipt = receipt
            note.ended_at = self.world.moment()
            self._check_receipt(note)
            self._check_published(note)
        return notes

    async def _submit(self, notes: list[Note]) -> None:
        sendings = []
        for note in notes:
            sendings.append(self._prepare(note, None))
            await self.core.submit(sendings[-1])
        for note, sending in zip(notes, sendings, strict=True):
            if not await sending.wait(60.0):
                self.world.violate(f"{note.id} was submitted and never came to an end")
            if sending.error is None:
                note.receipt = sending.receipt()
                note.ended_at = self.world.moment()
                self._check_receipt(note)

    def _check_failure(self, note: Note, error: StoreUnavailable) -> None:
        seconds = self.world.scheduler.now - note.began
        self.world.log(self.name, f"{note.id} failed: {error}")
        if seconds > STORE_SECONDS + SLACK_SECONDS:
            self.world.violate(f"notify raised StoreUnavailable after {seconds:.2f} s")

    def _check_published(self, note: Note) -> None:
        seconds = self.runtime.published_at.get(note.nonce, note.began) - note.began
        if seconds > STORE_SECONDS + SLACK_SECONDS:
            self.world.violate(f"{note.id} was published only after {seconds:.2f} s")

    def _check_receipt(self, note: Note) -> None:
        receipt = note.receipt
        if receipt is None:
            return
        world = self.world
        if world.trace is not None:
            shown = ", ".join(
                f"{one.instance_id[:4]}:{one.outcome.value}:{one.callbacks}" for one in receipt.deliveries
            )
            world.log(self.name, f"receipt of {note.id}: {'duplicate ' if receipt.duplicate else ''}[{shown}]")
        named = [one.instance_id for one in receipt.deliveries]
        if len(set(named)) != len(named):
            world.violate(f"the receipt of {note.id} names an instance twice")
        # An entry that a stranger stored under this id is rung to nobody.
        usurped = receipt.duplicate and world.strangers
        if not note.ephemeral and not usurped and set(named) != self.runtime.published.get(note.nonce, set()):
            world.violate(f"the receipt of {note.id} names {named}, the store {self.runtime.published.get(note.nonce)}")
        for one in receipt.deliveries:
            wrong = Outcome.DEFERRED if note.ephemeral else Outcome.LOST
            if one.outcome is Outcome.REFUSED and not self._may_be_refused(note, one.error or ""):
                world.violate(f"{note.id} was refused: {one.error}")
            if one.outcome is wrong:
                world.violate(f"{note.id}: {one.outcome} of {'an ephemeral' if note.ephemeral else 'a retained'} one")
            if one.error is not None and "in the notifier" in one.error:
                world.violate(f"{note.id}: {one.error}")

    def _may_be_refused(self, note: Note, error: str) -> bool:
        expected = self.world.may_refuse
        return bool(expected) and expected in error and (expected != "too_large" or note.data_bytes > LARGE_BYTES)

    def _failed(self, error: BaseException) -> None:
        self.world.violate(f"a task of {self.name} raised {error!r}")


async def _nothing() -> None:
    return None
