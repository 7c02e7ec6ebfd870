# ruff: noqa: ARG001 - a stand-in has the signature of what it stands in for
"""The rules of tracks, hooks, lives, calls and lanes switched off, one at a time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from ..._dispatch import Dispatcher
from ..._fetcher import Fetcher
from ..._hooks import Hooks
from ..._lane import Lane
from ..._lease import Lease
from ..._notification import Notification
from ..._registration import JOINING, Seat
from ..._track import Offer, Plan, Track
from ..._values import Page, Position
from ._mutation import MUTATIONS, Mutation, mutation
from ._server import Server, Steps

# -- 1, 2: a seat's position is its own -------------------------------------------------------------


@mutation("3", "t01_answers_crossed", Track, "placed")
def seat_is_live_at_once(self: Track, seat: Seat, head: Position) -> None:
    if seat.state != JOINING:
        return
    self._stop_waiting(seat)
    if self.epoch is None:
        self._begin(head)
    self._enter_live(seat)
    self.note(head)


_placed = Track.placed


@mutation("3", "t01_answers_crossed", Track, "placed")
def track_takes_every_answer(self: Track, seat: Seat, head: Position) -> None:
    if self.epoch == head.epoch and seat.state == JOINING:
        self.seq = head.seq
    _placed(self, seat, head)


def _begin_with_a_post(self: Track, n: Notification) -> Offer:
    self.epoch, self.seq, self.known = n.epoch, n.seq - 1, n.seq
    return self.offer(n)


MUTATIONS["position_from_the_first_post"] = Mutation(
    "position_from_the_first_post",
    "3",
    "t02_position_from_a_post",
    ((Track, "_keep_early", _begin_with_a_post), (Track, "placed", seat_is_live_at_once)),
)


# -- 3, 4: what is owed lives in the track ----------------------------------------------------------

_note = Track.note


def _note_unless_joining(self: Track, head: Position) -> None:
    if self.epoch is not None:
        _note(self, head)


async def _write_and_be_sure(self: Hooks, operation: Any, keys: Sequence[str]) -> Any:
    try:
        return await self._runtime.call(operation, self.instance_id, keys, self._next_number())
    except BaseException:
        self.doubt(keys)
        raise


# Either rule makes up for the other: a key whose `add_hooks` is under way is unsure, so that same heartbeat adds it again.
MUTATIONS["joining_tracks_hear_nothing"] = Mutation(
    "joining_tracks_hear_nothing",
    "6",
    "t03_heartbeat_while_joining",
    ((Track, "note", _note_unless_joining), (Hooks, "_write", _write_and_be_sure)),
)


@mutation("6", "t04_read_failed", Track, "failed")
def debt_forgotten_when_a_read_fails(self: Track) -> None:
    self.look = False
    self.known = self.seq


@mutation("6", "t04_read_failed", Fetcher, "attend_all")
def heartbeat_starts_no_fetch(self: Fetcher) -> None:
    return


# -- 5, 6: hook writes are numbered -----------------------------------------------------------------


async def _write_without_numbers(self: Hooks, operation: Any, keys: Sequence[str]) -> Any:
    self.doubt(keys)
    number = self._number
    instance_id = self.instance_id
    answer = await self._runtime.call(operation, instance_id, keys, 2**60 if operation == "remove_hooks" else 1)
    for key in keys:
        if self._unsure.get(key) == number and self.instance_id == instance_id:
            del self._unsure[key]
    return answer


async def _send_past_the_lane(self: Hooks, request: Any) -> None:
    await self._trip((request,))
    if request.error is not None:
        raise request.error


MUTATIONS["hooks_without_lane_and_numbers"] = Mutation(
    "hooks_without_lane_and_numbers",
    "7",
    "t05_remove_overtakes_add",
    ((Hooks, "_write", _write_without_numbers), (Hooks, "_send", _send_past_the_lane)),
)
MUTATIONS["hooks_without_numbers"] = Mutation(
    "hooks_without_numbers", "7", "t06_late_remove", ((Hooks, "_write", _write_without_numbers),)
)


# -- 7, 8, 9, 22: a life of an instance has its own id ----------------------------------------------


@mutation("8", "t07_reap_against_renew", Server, "_reap")
def reap_takes_hooks_first(self: Server) -> Steps:
    expired = [name for name, row in self.rows.items() if row.expires <= self._scheduler.now]
    for name in expired:
        yield from self._pull(name)
        row = self.rows.get(name)
        if row is not None and row.expires <= self._scheduler.now:
            del self.rows[name]


@mutation("8", "t08_joined_again", Lease, "draw")
def same_id_at_every_join(self: Lease) -> Any:
    token = self._runtime.token
    name = self._identity.instance_id or token()
    return self._identity.draw(name, bytes.fromhex(token()), self.url, int(self._runtime.time() * 1000))


_doubt = Hooks.doubt


@mutation("8", "t09_joined_half_way", Hooks, "doubt")
def joined_again_is_enough(self: Hooks, keys: Any) -> None:
    keys = list(keys)
    _doubt(self, keys)
    if keys and set(keys) == {track.key for track in self._callbacks}:
        self._unsure.clear()


@mutation("8", "t22_displaced", Lease, "_give_up_url")
def displaced_takes_its_url_back(self: Lease, url: str) -> None:
    return


# -- 10: only a page changes the epoch --------------------------------------------------------------

_offer = Track.offer


@mutation("4", "t10_epoch_from_a_post", Track, "offer")
def epoch_from_a_post(self: Track, n: Notification) -> Offer:
    if self.epoch is not None and n.epoch != self.epoch:
        self._jump(Position(n.epoch, n.seq - 1), "restarted")
    return _offer(self, n)


_plan, _judge = Track.plan, Track.judge


def _plan_and_keep_looking(self: Track) -> Plan:
    look = self.look
    plan = _plan(self)
    self.look = look
    return plan


def _judge_and_stop_looking(self: Track, plan: Plan, page: Page, entries: Any) -> None:
    self.look = False
    _judge(self, plan, page, entries)


MUTATIONS["look_cleared_after_the_read"] = Mutation(
    "look_cleared_after_the_read",
    "5",
    "t10_flag_cleared_late",
    ((Track, "plan", _plan_and_keep_looking), (Track, "judge", _judge_and_stop_looking)),
)


@mutation("5", "t10_page_older_than_memory", Track, "judge")
def page_judged_by_the_present(self: Track, plan: Plan, page: Page, entries: Any) -> None:
    now = Plan(plan.after, plan.seats, Position(self.epoch or "", self.seq), self.known)
    _judge(self, now, page, entries)


# -- 11, 12: calls ----------------------------------------------------------------------------------


@mutation("10", "t11_callbacks_come_back", Dispatcher, "dispatch")
def dispatch_inside_dispatch(self: Dispatcher) -> None:
    while self.outbox:
        seats, count, what = self.outbox.popleft()
        for seat in itertools.islice(seats, count):
            if not seat.registration.closed:
                self._invoke(seat.registration, what)


@mutation("10", "t12_unregistered_by_a_callback", Dispatcher, "dispatch")
def closed_is_looked_at_too_early(self: Dispatcher) -> None:
    while self.outbox:
        seats, count, what = self.outbox.popleft()
        for seat in [one for one in itertools.islice(seats, count) if not one.registration.closed]:
            self._invoke(seat.registration, what)


# -- 13: cancellation -------------------------------------------------------------------------------


@mutation("5", "t13_cancelled", Fetcher, "_fetch")
async def fetching_stays_set(self: Fetcher, track: Track) -> None:
    while track.needy and self._callbacks.get(track.key) is track:
        if not await self._turn_page(track):
            break
    track.fetching = False


@mutation("24", "t13_cancelled", Lane, "lead")
async def lane_dies_with_its_leader(self: Lane[Any], items: Sequence[Any]) -> None:
    await self._trip(items)
    self._hand_on(items[0])


async def _send_without_deadline(self: Hooks, request: Any) -> None:
    if self._lane.put(request):
        await self._lane.lead((request,))
    else:
        request.settled = self._runtime.future()
        await request.settled.wait(None)
    if request.error is not None:
        raise request.error


MUTATIONS["waiters_have_no_deadline"] = Mutation(
    "waiters_have_no_deadline", "24", "stuck_store", ((Hooks, "_send", _send_without_deadline),)
)
