"""One notification on its way: what each target is sent, and what becomes of it."""

from __future__ import annotations

import asyncio
from threading import Lock

import pytest

from skyhooks._sending import MAX_ID_BYTES, Parcel, Sending, settle_all
from skyhooks._values import Instance, Outcome
from skyhooks.exceptions import InvalidData, StoreUnavailable

A, B = "k=a", "k=b"
D, N, F, G, R, L, X = (
    Outcome.DELIVERED,
    Outcome.NO_LISTENER,
    Outcome.DEFERRED,
    Outcome.GONE,
    Outcome.REFUSED,
    Outcome.LOST,
    Outcome.BLOCKED,
)


class LoopFuture:
    def __init__(self):
        self._event = asyncio.Event()

    def set(self, value):
        self._event.set()

    async def wait(self, seconds):
        try:
            await asyncio.wait_for(self._event.wait(), seconds)
        except TimeoutError:
            return False
        return True


class Clock:
    """A runtime of which only the clock and the futures are used."""

    def __init__(self):
        self.at = 100.0
        self.future = LoopFuture

    def now(self):
        return self.at

    def time(self):
        return 1_700_000_000.0


def make(*keys, clock=None, **given):
    options = {"name": "s.1", "data": b"12345", "id": None, "ephemeral": False, "timeout_seconds": 10.0}
    return Sending(clock or Clock(), Lock(), keys=keys or (A,), **{**options, **given})


def parcel(sending, name="i", *, items=1):
    one = Parcel(sending, Instance(name, f"http://{name}/", 0))
    one.items = [b"x" * 10] * items
    return one


def addressed(*, items=1, **given):
    sending = make(**given)
    one = parcel(sending, items=items)
    sending.address([one])
    return sending, one


def only(sending):
    (delivery,) = sending.receipt().deliveries
    return delivery


def test_without_an_id_it_goes_by_its_name_and_need_not_be_remembered():
    sending = make()
    assert (sending.id, sending.remember, sending.nonce) == ("s.1", False, "s.1")


def test_with_an_id_it_is_remembered_and_the_name_tells_retries_apart():
    sending = make(id="task-17")
    assert (sending.id, sending.remember, sending.nonce) == ("task-17", True, "s.1")


@pytest.mark.parametrize("id", ["", "a\nb", "\x7f", "\ud800", 7, "ä" * (MAX_ID_BYTES // 2 + 1)])
def test_an_id_that_cannot_travel_is_refused(id):
    with pytest.raises(InvalidData, match="id: an id is 1 to 256 bytes"):
        make(id=id)


def test_an_id_may_be_as_long_as_the_limit():
    assert make(id="ä" * (MAX_ID_BYTES // 2)).remember


def test_publishes_an_entry_for_each_key_in_their_order():
    first, second = make(A, B, id="task").publications([b"mac a", None])
    assert (first.key, second.key) == (A, B)
    assert (first.mac, second.mac) == (b"mac a", None)
    for one in (first, second):
        assert (one.id, one.nonce, one.data, one.keys, one.remember) == ("task", "s.1", b"12345", (A, B), True)
        assert one.sent_at == 1_700_000_000.0


def test_a_single_key_is_not_repeated_in_the_entry():
    (one,) = make(A).publications([None])
    assert (one.key, one.keys) == (A, ())


def test_its_size_grows_with_data_and_keys():
    assert make(A, B, data=b"x" * 1000).size - make(A, data=b"x" * 1000).size == 1000
    assert make(A, B).weight == (2, make(A, B).size)


def test_a_parcel_says_what_it_adds_to_a_trip():
    assert parcel(make(), items=1).size() == (1, 10)
    assert parcel(make(), items=3).size() == (3, 30)


def test_to_nobody_it_is_done_at_once():
    sending = make()
    sending.address([])
    assert sending.done
    assert sending.receipt().nobody


def test_it_is_done_when_every_target_is_settled():
    sending = make()
    first, second = parcel(sending, "i"), parcel(sending, "j")
    sending.address([first, second])
    sending.settle(first, D, callbacks=2)
    assert not sending.done
    sending.settle(second, D, callbacks=3)
    assert sending.done
    assert sending.receipt().reached == 5


def test_a_target_is_settled_when_all_its_items_are():
    sending, one = addressed(items=2)
    sending.settle(one, D, items=1, callbacks=1)
    assert not sending.done
    sending.settle(one, D, items=1, callbacks=2)
    assert (only(sending).outcome, only(sending).callbacks) == (D, 3)


@pytest.mark.parametrize(
    ("outcomes", "worst"),
    [((N, D), D), ((D, F), F), ((F, G), G), ((G, L), L), ((L, R), R), ((R, X), X), ((N, N), N), ((X, N), X)],
)
def test_the_worst_verdict_on_any_item_stands(outcomes, worst):
    sending, one = addressed(items=2)
    for outcome in outcomes:
        sending.settle(one, outcome, items=1, callbacks=0)
    assert only(sending).outcome is worst


def test_callbacks_are_unknown_where_an_answer_did_not_say():
    sending, one = addressed(items=2)
    sending.settle(one, D, items=1)
    sending.settle(one, D, items=1, callbacks=2)
    assert only(sending).callbacks is None


def test_callbacks_that_answered_are_counted_also_where_other_items_were_not():
    sending, one = addressed(items=2)
    sending.settle(one, D, items=1, callbacks=2)
    sending.settle(one, F, items=1, error="timed out")
    assert (only(sending).outcome, only(sending).callbacks, only(sending).error) == (F, 2, "timed out")


def test_callbacks_are_unknown_where_nobody_answered():
    sending, one = addressed()
    sending.settle(one, G)
    assert only(sending).callbacks is None


def test_the_first_error_is_told():
    sending, one = addressed(items=2)
    sending.settle(one, F, items=1, error="first")
    sending.settle(one, F, items=1, error="second")
    assert only(sending).error == "first"


def test_a_verdict_after_the_last_changes_nothing():
    sending, one = addressed()
    sending.settle(one, D, callbacks=1)
    sending.settle(one, R)
    assert only(sending).outcome is D


@pytest.mark.parametrize(("ephemeral", "outcome"), [(False, F), (True, L)])
def test_what_nobody_acknowledged_is_deferred_or_lost(ephemeral, outcome):
    sending = make(ephemeral=ephemeral)
    first, second = parcel(sending, "i"), parcel(sending, "j")
    sending.address([first, second])
    sending.settle(first, D, callbacks=1)
    sending.expire("no answer by the deadline")
    assert sending.done
    assert [one.outcome for one in sending.receipt().deliveries] == [D, outcome]
    assert sending.receipt().deliveries[1].error == "no answer by the deadline"


@pytest.mark.parametrize(("ephemeral", "outcome"), [(False, F), (True, L)])
def test_a_receipt_before_the_end_says_what_would_be_if_nobody_answered(ephemeral, outcome):
    sending, _ = addressed(ephemeral=ephemeral)
    assert only(sending).outcome is outcome


def test_a_target_may_be_decided_before_anything_is_sent():
    sending = make()
    one = parcel(sending)
    one.decide(X, "no secret")
    sending.address([one])
    assert sending.done
    assert (only(sending).outcome, only(sending).attempts, only(sending).error) == (X, 0, "no secret")


def test_a_delivery_says_where_it_went_and_how_long_it_took():
    clock = Clock()
    sending, one = addressed(clock=clock)
    one.attempts = 2
    clock.at += 1.5
    sending.settle(one, D, callbacks=1)
    clock.at += 9
    delivery = only(sending)
    assert (delivery.url, delivery.instance_id) == ("http://i/", "i")
    assert (delivery.attempts, delivery.elapsed_seconds) == (2, 1.5)


def test_the_receipt_names_the_id_and_whether_it_was_a_duplicate():
    sending = make(id="task")
    sending.duplicate = True
    sending.address([])
    assert (sending.receipt().id, sending.receipt().duplicate) == ("task", True)


def test_where_it_failed_there_is_no_receipt():
    sending = make()
    sending.fail(StoreUnavailable("gone"))
    assert sending.done
    with pytest.raises(StoreUnavailable, match="gone"):
        sending.receipt()


def test_a_failure_that_comes_too_late_takes_no_receipt_away():
    sending, one = addressed()
    sending.settle(one, D, callbacks=1)
    sending.fail(StoreUnavailable("slow"))
    assert sending.receipt().reached == 1


def test_the_end_is_told_once():
    told = []
    sending = make()
    sending.on_done = told.append
    sending.fail(StoreUnavailable("gone"))
    sending.address([])
    assert told == [[sending]]


def test_verdicts_on_many_are_told_together():
    told, lock, clock = [], Lock(), Clock()
    sendings = [make(clock=clock) for _ in range(3)]
    for sending in sendings:
        sending.lock = lock
        sending.on_done = told.append
        sending.address([parcel(sending)])
    settle_all([(sending.parcels[0], D, 1, 1, None) for sending in sendings])
    assert told == [sendings]
    settle_all([])
    assert len(told) == 1


def test_waiting_ends_with_the_last_verdict():
    async def body():
        sending, one = addressed()
        assert not await sending.wait(0.0)
        waiting = [asyncio.create_task(sending.wait(seconds)) for seconds in (10, None)]
        await asyncio.sleep(0)
        sending.settle(one, D, callbacks=1)
        assert await asyncio.gather(*waiting) == [True, True]
        assert await sending.wait(0.0)

    asyncio.run(body())


def test_waiting_ends_when_the_time_has_run_out():
    async def body():
        sending, _ = addressed()
        assert not await sending.wait(-1.0)

    asyncio.run(body())
