# ruff: noqa: ARG001 - a stand-in has the signature of what it stands in for
"""The rules of stores, ids, batches, cursors and streams switched off, one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ... import _delivery, _notifier
from ..._callbacks import Callbacks
from ..._delivery import TargetLane
from ..._fetcher import Fetcher
from ..._heartbeat import Heartbeat
from ..._identity import Identity
from ..._inbox import Inbox
from ..._notification import Notification
from ..._notifier import NotifierCore
from ..._policy import Kind, Verdict, judge
from ..._registration import LIVE, Registration, Seat
from ..._registry import RegistryCore
from ..._replay import Replay, SenderWindows
from ..._stream import Stream
from ..._track import Offer, Track
from ..._values import Position
from ..._wire import WireItem, encode_item
from ...exceptions import BodyRejected
from ._mutation import MUTATIONS, Mutation, mutation
from ._server import Server, Steps

# -- 14, 15, 17, 18: the store's own ----------------------------------------------------------------

MUTATIONS["dirty_reads"] = Mutation("dirty_reads", "15", "t14_dirty_read", ((Server, "majority", False),))


@mutation("18", "t15_history_rewound", Server, "renew_epochs")
def epochs_stay_after_a_restore(self: Server) -> None:
    return


@mutation("2", "t17_cursor_before_the_key", Server, "_positions")
def cursor_makes_no_record(self: Server, keys: Sequence[str]) -> Steps:
    yield from ()
    return {key: self.head(key) or Position("f" * 16, 0) for key in keys}


@mutation("16", "t18_trim_with_a_slow_clock", Server, "trim")
def trimmed_by_the_senders_clock(self: Server, key: str, keep: int) -> None:
    record = self.records[key]
    while len(record.entries) > keep:
        oldest = min(record.entries, key=lambda entry: entry.sent_at)
        record.entries.remove(oldest)
        self.floors[key, record.epoch] = record.seq - len(record.entries)


# -- 16, 23: ids ------------------------------------------------------------------------------------


@mutation("17", "t16_same_id_other_data", NotifierCore, "_retained_item")
def rings_with_what_it_has(self: NotifierCore, sending: Any, key: str, result: Any) -> bytes | None:
    return encode_item(
        id=sending.id,
        key=key,
        keys=sending.all_keys,
        position=result.position,
        sent_at=sending.sent_at,
        data=sending.data,
    )


@mutation("17", "t23_own_retry", Server, "_is_duplicate")
def every_known_id_is_a_duplicate(self: Server, nonce: str, mine: str) -> bool:
    return True


# -- 19, 20: batches --------------------------------------------------------------------------------

_deliver = Inbox._deliver


@mutation("19", "t19_one_key_twice", Inbox, "_deliver")
def one_item_per_id(self: Inbox, items: Sequence[WireItem], *, repeated: bool) -> bytes:
    first = {item.id: item for item in reversed(items)}
    answer = _deliver(self, [one for one in items if first[one.id] is one], repeated=repeated)
    return answer.replace(b'"callbacks":[', b'"callbacks":[' + b"0," * (len(items) - len(first)))


_track_offer = Track.offer


@mutation("19", "t20_poison_in_a_batch", Track, "offer")
def one_refused_item_refuses_all(self: Track, n: Notification) -> Offer:
    if self.epoch is not None and n.seq > self.seq + 1:
        raise BodyRejected(400, "malformed")
    return _track_offer(self, n)


def _judge_without_splitting(answer: Any, **options: Any) -> Verdict:
    verdict = judge(answer, **options)
    return Verdict(Kind.REFUSED, error=verdict.error) if verdict.kind is Kind.SPLIT else verdict


MUTATIONS["too_large_together_is_refused"] = Mutation(
    "too_large_together_is_refused",
    "19",
    "t20_poison_in_a_batch",
    ((_delivery, "judge", _judge_without_splitting), (_delivery, "ENVELOPE_BYTES", -(2**20))),
)


@mutation("19", "poor_network", TargetLane, "_post")
async def new_name_for_each_attempt(self: TargetLane, webhook_id: str, body: bytes, timeout_seconds: float) -> Any:
    return await _post(self, self._names.next(), body, timeout_seconds)


_post = TargetLane._post


@mutation("22", "poor_network", SenderWindows, "seen")
def replays_are_new(self: SenderWindows, sender: str, counter: int, now: float) -> Replay:
    return Replay.FRESH


# -- 21: tokens do not see everything ---------------------------------------------------------------


@mutation("14", "t21_record_gone", Heartbeat, "_look_at_slice")
async def heartbeat_looks_at_no_key(self: Heartbeat) -> None:
    return


# -- further rules ----------------------------------------------------------------------------------


@mutation("9", "foul_weather", Registration, "called_under")
def called_under_every_key(self: Registration, keys: tuple[str, ...]) -> str | None:
    return next((key for key in reversed(keys) if key in self.keys), None)


@mutation("11", "cursors", Seat, "place")
def cursor_runs_ahead(self: Seat) -> tuple[str, str, int] | None:
    track = self.track
    position = self.position
    if self.state == LIVE:
        return (track.key, track.epoch or "", track.known)
    return None if position is None else (track.key, position.epoch, position.seq)


@mutation("streams", "streams", Stream, "_put_back")
def what_found_no_room_is_dropped(self: Stream, what: Any) -> None:
    return


# -- what the simulation itself has found -----------------------------------------------------------


@mutation("8", "late_joins", Identity, "is_taken")
def own_late_join_is_a_stranger(self: Identity, holders: Sequence[str]) -> bool:
    return True


@mutation("6", "outage", Fetcher, "attend_all")
def debt_struck_off_while_it_is_read(self: Fetcher) -> None:
    for track in list(self._owing.values()):
        if track.needy and self._callbacks.get(track.key) is track:
            self._start(track)
        else:
            del self._owing[track.key]


@mutation("27", "stopping", Callbacks, "close", within=1000)
def stop_leaves_callbacks_open(self: Callbacks) -> None:
    return


def _item_with_all_keys(sending: Any, key: str, keys: tuple[str, ...]) -> bytes:
    return encode_item(
        id=sending.id, key=key, keys=sending.all_keys, position=None, sent_at=sending.sent_at, data=sending.data
    )


MUTATIONS["keys_that_go_to_others"] = Mutation(
    "keys_that_go_to_others", "9", "keys_looked_up_apart", ((_notifier, "_ephemeral_item", _item_with_all_keys),)
)


@mutation("23", "strangers", RegistryCore, "_convert")
def entries_of_strangers_are_taken(self: RegistryCore, track: Any, page: Any, entry: Any) -> Notification:
    return Notification(entry.id, track.key, entry.keys, entry.data, entry.sent_at, page.epoch, entry.seq)
