"""What an instance takes and refuses (RELIABILITY SIG, RPL, JSN, HTP), asked with raw requests."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from ..._values import Instance, Position, Publication
from ...abc import Store
from .base import DIFFERS, KEY, NAME, Adapter, AdapterTests, AwaitedRegistry, Heard, RecordProperty
from .raw import Letter, RawAnswer, ask, ephemeral, letter, retained
from .rows import HTTP
from .secrets import NEW, OLD, make_secret

SECRET = base64.b64decode(OLD.removeprefix("whsec_"))
Change = Callable[[Letter], list[tuple[str, str]]]


def _with(**values: str | None) -> Change:
    """Sign first, then replace headers (`_` for `-`); None: leave it out."""
    given = {name.replace("_", "-"): value for name, value in values.items()}

    def change(one: Letter) -> list[tuple[str, str]]:
        kept = [(name, value) for name, value in one.signed() if name not in given]
        return kept + [(name, value) for name, value in given.items() if value is not None]

    return change


def _twice(name: str) -> Change:
    return lambda one: [*one.signed(), *((n, v) for n, v in one.signed() if n == name)]


def _stamped(seconds: int) -> Change:
    def change(one: Letter) -> list[tuple[str, str]]:
        one.timestamp = str(int(time.time()) + seconds)
        return one.signed()

    return change


def _keyed(key: bytes) -> Change:
    def change(one: Letter) -> list[tuple[str, str]]:
        one.key = key
        return one.signed()

    return change


def _with_signatures(form: str) -> Change:
    """Put the right signature into a list of others."""
    return lambda one: _with(webhook_signature=form.format(one.signature))(one)


GOOD = "{}"
SIGNATURES: dict[str, tuple[Change, int, str]] = {
    "all right": (_with_signatures(GOOD), 200, ""),
    "no id": (_with(webhook_id=None), 400, "malformed"),
    "no timestamp": (_with(webhook_timestamp=None), 400, "malformed"),
    "no signature": (_with(webhook_signature=None), 400, "malformed"),
    "none of them": (_with(webhook_id=None, webhook_timestamp=None, webhook_signature=None), 400, "malformed"),
    "two ids": (_twice("webhook-id"), 400, "malformed"),
    "two timestamps": (_twice("webhook-timestamp"), 400, "malformed"),
    "two signatures": (_twice("webhook-signature"), 400, "malformed"),
    "two audiences": (_twice("skyhooks-instance"), 400, "malformed"),
    "an odd id": (_with(webhook_id="a b"), 400, "malformed"),
    "an empty id": (_with(webhook_id=""), 400, "malformed"),
    "a long id": (_with(webhook_id="x" * 129), 400, "malformed"),
    "a timestamp that is no number": (_with(webhook_timestamp="now"), 400, "malformed"),
    "a fractional timestamp": (_with(webhook_timestamp="1.5"), 400, "malformed"),
    "a negative timestamp": (_with(webhook_timestamp="-1"), 400, "malformed"),
    "an empty signature": (_with(webhook_signature=""), 400, "malformed"),
    "no version": (_with(webhook_signature="abc"), 400, "malformed"),
    "17 signatures": (_with_signatures(" ".join(["v1,eA=="] * 16) + " {}"), 400, "malformed"),
    "16 signatures": (_with_signatures(" ".join(["v1,eA=="] * 15) + " {}"), 200, ""),
    "others before": (_with_signatures("v9,xyz v1a,eA== v1,!!!! {}"), 200, ""),
    "only unknown versions": (_with(webhook_signature="v2,eA== v1a,eA=="), 401, "signature"),
    "no base64": (_with(webhook_signature="v1,%%%"), 401, "signature"),
    "another id": (_with(webhook_id="another"), 401, "signature"),
    "another timestamp": (_with(webhook_timestamp=str(int(time.time()) - 60)), 401, "signature"),
    "a changed bit": (_with_signatures("v1,A{}"), 401, "signature"),
    "another key": (_keyed(bytes(32)), 401, "signature"),
    "the raw secret": (_keyed(SECRET), 401, "signature"),
    "too old": (_stamped(-310), 401, "signature"),
    "too new": (_stamped(310), 401, "signature"),
    "not quite too old": (_stamped(-280), 200, ""),
    "another audience": (_with(skyhooks_instance="0" * 32), 421, "not_this_instance"),
    "no audience header": (_with(skyhooks_instance=None), 200, ""),
}

_DEEP = b'{"keys":{"account":42},"data":%b}'
_LEGACY: dict[str, tuple[bytes, int]] = {
    "64 deep": (_DEEP % (b"[" * 64 + b"]" * 64), 200),
    "65 deep": (_DEEP % (b"[" * 65 + b"]" * 65), 400),
    "200 000 deep": (_DEEP % (b"[" * 200_000 + b"]" * 200_000), 400),
    "a number past int64": (_DEEP % b"9223372036854775808", 400),
    "4301 digits": (_DEEP % (b"1" * 4301), 400),
    "NaN": (_DEEP % b"NaN", 400),
    "Infinity": (_DEEP % b"-Infinity", 400),
    "1e999": (_DEEP % b"1e999", 400),
    "a name twice": (_DEEP % b'{"a":1,"a":2}', 400),
    "keys twice": (b'{"keys":{"account":42},"keys":{"account":43},"data":1}', 400),
    "half a character": (_DEEP % b'"\\ud800"', 400),
    "a BOM": (b"\xef\xbb\xbf" + _DEEP % b"1", 400),
    "UTF-16": ((_DEEP % b"1").decode().encode("utf-16"), 400),
    "UTF-32": ((_DEEP % b"1").decode().encode("utf-32"), 400),
    "no UTF-8": (_DEEP % b'"\xff"', 400),
    "truncated": ((_DEEP % b"1")[:-1], 400),
    "trailing data": (_DEEP % b"1" + b"1", 400),
    "empty": (b"", 400),
    "a list": (b"[1]", 400),
    "no keys": (b'{"data":1}', 400),
    "no data": (b'{"keys":{"account":42}}', 400),
    "a bad key": (b'{"keys":{"account":null},"data":1}', 400),
    "an operator": (b'{"keys":{"account":{"$ne":null}},"data":1}', 400),
    "v: 1": (b'{"v":1,"aud":"x","notifications":[]}', 401),
}
_BODIES: dict[str, tuple[bytes, int]] = {
    "empty": (b"", 400),
    "a list": (b"[]", 400),
    "truncated": (b'{"v":1', 400),
    "another version": (b'{"v":2,"aud":"%b","notifications":[]}', 400),
    "no notifications": (b'{"v":1,"aud":"%b"}', 400),
    "another audience inside": (b'{"v":1,"aud":"other","notifications":[]}', 421),
    "neither kept nor ephemeral": (
        b'{"v":1,"aud":"%b","notifications":[{"id":"a","key":"account=42","sent_at":1,"data":1}]}',
        400,
    ),
    "a bad key": (
        b'{"v":1,"aud":"%b","notifications":[{"id":"a","key":"nonsense","ephemeral":true,"sent_at":1,"data":1}]}',
        400,
    ),
    "too deep": (
        b'{"v":1,"aud":"%b","notifications":[{"id":"a","key":"account=42","ephemeral":true,"sent_at":1,"data":'
        + b"[" * 65
        + b"]" * 65
        + b"}]}",
        400,
    ),
    "501 notifications": (b'{"v":1,"aud":"%b","notifications":[' + b",".join([b"{}"] * 501) + b"]}", 400),
    "nothing": (b'{"v":1,"aud":"%b","notifications":[]}', 200),
}


class RequestTests(AdapterTests):
    """The matrix of RELIABILITY section 2, the same for every way to be rung."""

    async def test_sig_each_row_gets_its_answer_and_only_what_is_right_is_called(
        self, adapter: Adapter, store: Store
    ) -> None:
        _, row, heard = await _listening(adapter, store, secret=OLD)
        for name, (change, status, code) in SIGNATURES.items():
            one = letter(row, [ephemeral(name)], SECRET)
            answer = await adapter.in_thread(lambda one=one, change=change: one.ask(change(one)))
            assert (answer.status, answer.code) == (status, code), name
            assert status == 200 or name.encode() not in answer.body
        good = [name for name, (_, status, _) in SIGNATURES.items() if status == 200]
        await adapter.until(lambda: len(heard) >= len(good))
        assert heard.data == good

    async def test_sig_one_text_for_every_cause(self, adapter: Adapter, store: Store) -> None:
        _, row, _ = await _listening(adapter, store)
        bodies = set()
        for change in (_keyed(bytes(32)), _stamped(-400), _with(webhook_id="another")):
            one = letter(row, [ephemeral()])
            bodies.add((await adapter.in_thread(one.ask, change(one))).body)
        assert len(bodies) == 1

    async def test_sig_both_keys_verify_while_they_change(self, adapter: Adapter, store: Store) -> None:
        _, row, heard = await _listening(adapter, store, secret=[NEW, OLD])
        for number in (1, 2):
            secret = base64.b64decode(make_secret(number).removeprefix("whsec_"))
            assert (await adapter.in_thread(letter(row, [ephemeral(number)], secret).ask)).status == 200
        await adapter.until(lambda: heard.data == [1, 2])

    async def test_rpl_the_same_request_twice_calls_once_and_gets_the_same_answer(
        self, adapter: Adapter, store: Store
    ) -> None:
        _, row, heard = await _listening(adapter, store)
        one = letter(row, [ephemeral("once"), ephemeral("too")])
        first, again = await adapter.in_thread(one.ask), await adapter.in_thread(one.ask)
        await adapter.in_thread(letter(row, [ephemeral("end")]).ask)
        await adapter.until(lambda: "end" in heard.data)
        assert heard.data == ["once", "too", "end"]
        assert (first.status, first.body) == (again.status, again.body)
        assert msgspec.json.decode(first.body)["callbacks"] == [1, 1]

    async def test_rpl_copies_at_once_call_once(self, adapter: Adapter, store: Store) -> None:
        _, row, heard = await _listening(adapter, store)
        one = letter(row, [ephemeral("once")])
        answers = await adapter.gather(*(adapter.in_thread(one.ask) for _ in range(20)))
        await adapter.in_thread(letter(row, [ephemeral("end")]).ask)
        await adapter.until(lambda: "end" in heard.data)
        assert heard.data == ["once", "end"]
        assert {(answer.status, answer.body) for answer in answers} == {(200, answers[0].body)}

    async def test_rpl_what_was_captured_for_one_is_refused_by_another(self, adapter: Adapter, store: Store) -> None:
        _, row, _ = await _listening(adapter, store, secret=OLD)
        other, heard = await adapter.started(secret=OLD), Heard()
        await other.register(KEY, heard)
        one = letter(row, [ephemeral("captured")], SECRET)
        one.url = str(other.url)
        misdirected = await adapter.in_thread(one.ask)
        unnamed = await adapter.in_thread(one.ask, _with(skyhooks_instance=None)(one))
        renamed = await adapter.in_thread(one.ask, _with(skyhooks_instance=other.instance_id)(one))
        assert [one.status for one in (misdirected, unnamed, renamed)] == [421, 401, 401]
        assert not heard

    async def test_rpl_what_was_refused_is_not_remembered(self, adapter: Adapter, store: Store) -> None:
        _, row, heard = await _listening(adapter, store)
        one = letter(row, [ephemeral("late")])
        assert (await adapter.in_thread(one.ask, _with(webhook_signature="v1,eA==")(one))).status == 401
        assert (await adapter.in_thread(one.ask)).status == 200
        await adapter.until(lambda: heard.data == ["late"])

    async def test_rpl_foreign_ids_are_judged_as_a_whole(self, adapter: Adapter, store: Store) -> None:
        _, row, heard = await _listening(adapter, store)
        for webhook_id in ("task-2000", "task-17", "task-17"):
            one = letter(row, [ephemeral(webhook_id)])
            one.webhook_id = webhook_id
            assert (await adapter.in_thread(one.ask)).status == 200
        await adapter.in_thread(letter(row, [ephemeral("end")]).ask)
        await adapter.until(lambda: "end" in heard.data)
        assert heard.data == ["task-2000", "task-17", "end"]

    async def test_rpl_a_retained_item_twice_is_a_duplicate_that_counts(self, adapter: Adapter, store: Store) -> None:
        _, row, heard = await _listening(adapter, store)
        await adapter.notifier().notify(KEY, "one")
        head = (await adapter.in_thread(store.positions, [NAME]))[NAME]
        answer = await adapter.in_thread(letter(row, [retained(head, "one"), ephemeral("end")]).ask)
        await adapter.until(lambda: len(heard) >= 2)
        assert msgspec.json.decode(answer.body) == {
            "status": "ok",
            "notified": True,
            "callbacks": [1, 1],
            "duplicates": [0],
            "full": [],
        }
        assert heard.data == ["one", "end"]

    async def test_rpl_a_skipped_place_is_held_and_what_is_missing_fetched(
        self, adapter: Adapter, store: Store
    ) -> None:
        _, row, heard = await _listening(adapter, store)
        head = (await adapter.in_thread(store.positions, [NAME]))[NAME]
        silent = [Publication(NAME, uuid4().hex, uuid4().hex, b"%d" % number, 1.5) for number in (1, 2)]
        await adapter.in_thread(store.publish, silent)
        answer = await adapter.in_thread(letter(row, [retained(Position(head.epoch, 2), 2)]).ask)
        await adapter.until(lambda: len(heard) >= 2)
        assert heard.data == [1, 2]
        assert msgspec.json.decode(answer.body)["callbacks"] == [1]

    async def test_jsn_the_old_body_is_held_to_the_whole_list(self, adapter: Adapter, store: Store) -> None:
        _, row, heard = await _listening(adapter, store, secret=OLD)
        for name, (body, status) in _LEGACY.items():
            answer = await adapter.in_thread(Letter(str(row.url), body, SECRET).ask)
            assert (answer.status, answer.code) == (status, {400: "malformed", 401: "signature"}.get(status, "")), name
        await adapter.until(lambda: heard)
        assert len(heard) == 1

    async def test_jsn_a_body_of_ours_is_well_formed_or_refused(self, adapter: Adapter, store: Store) -> None:
        _, row, heard = await _listening(adapter, store)
        for name, (text, status) in _BODIES.items():
            body = text.replace(b"%b", row.instance_id.encode())
            answer = await adapter.in_thread(Letter(str(row.url), body, row.signing_key, row.instance_id).ask)
            assert answer.status == status, name
        assert not heard

    async def test_jsn_the_old_body_calls_and_says_whether_anybody_heard(self, adapter: Adapter, store: Store) -> None:
        _, row, heard = await _listening(adapter, store, secret=OLD)
        for value, notified in ((42, True), (43, False)):
            body = msgspec.json.encode({"keys": {"account": value, "x": "y"}, "data": {"rows": 12}})
            one = Letter(str(row.url), body, SECRET)
            one.webhook_id = f"evt-{value}"
            answer = await adapter.in_thread(one.ask)
            assert msgspec.json.decode(answer.body) == {"status": "ok", "notified": notified}
            assert (await adapter.in_thread(one.ask)).body == answer.body
        await adapter.until(lambda: heard)
        assert [(n.id, n.key, n.data) for n in heard] == [("evt-42", NAME, {"rows": 12})]

    async def test_jsn_the_old_body_unsigned_only_where_it_is_allowed(self, adapter: Adapter) -> None:
        body = b'{"keys":{"account":42},"data":1}'
        for allowed, legacy, status in ((False, True, 400), (True, True, 200), (True, False, 400)):
            registry, heard = await adapter.started(allow_unsigned=allowed, legacy=legacy), Heard()
            await registry.register(KEY, heard)
            answer = await adapter.in_thread(Letter(str(registry.url), body, None).ask)
            assert answer.status == status
            await registry.stop()
            assert len(heard) == (status == 200)

    async def test_jsn_the_old_body_is_refused_where_it_is_switched_off(self, adapter: Adapter, store: Store) -> None:
        _, row, heard = await _listening(adapter, store, secret=OLD, legacy=False)
        answer = await adapter.in_thread(Letter(str(row.url), b'{"keys":{"account":42},"data":1}', SECRET).ask)
        assert (answer.status, answer.code, heard) == (401, "signature", [])

    @pytest.mark.parametrize("name", HTTP)
    async def test_htp_gets_its_answer(
        self, adapter: Adapter, store: Store, record_property: RecordProperty, name: str
    ) -> None:
        make, status, code = HTTP[name]
        _, row, heard = await _listening(adapter, store, max_body_bytes=5000)
        answer = await adapter.in_thread(ask, row.url, make(str(row.url), letter(row, [ephemeral(name)])))
        if name in adapter.refuses_first:
            record_property(DIFFERS, "the framework's server refuses it first: its own 400, or no answer")
            assert answer.status in (0, 400)
        else:
            assert (answer.status, answer.code) == (status, code)
            assert answer.closed or status == 200
            assert (answer.headers.get("allow") == "POST") == (status == 405)
        good = await adapter.in_thread(letter(row, [ephemeral("good")]).ask)
        assert good.status == 200
        await adapter.until(lambda: "good" in heard.data)
        assert heard.data == [name, "good"][status != 200 :]

    async def test_htp_a_callback_that_blocks_raises_or_goes_on_does_not_delay_the_answer(
        self, adapter: Adapter, store: Store
    ) -> None:
        told: list[BaseException] = []
        registry = await adapter.started(on_error=lambda error, _: told.append(error))
        begun: list[str] = []

        def blocks(_: object) -> None:
            begun.append("blocks")
            time.sleep(0.5)

        def raises(_: object) -> None:
            begun.append("raises")
            raise RuntimeError("broken")

        async def goes_on(_: object) -> None:
            begun.append("goes on")
            await adapter.sleep(0.5)

        for callback in (raises, blocks, goes_on):
            await registry.register(KEY, callback)
        row = (await adapter.in_thread(store.instances))[0]
        answer, seconds = await adapter.in_thread(_timed, letter(row, [ephemeral()]).ask)
        assert msgspec.json.decode(answer.body)["callbacks"] == [3]
        assert seconds < 0.45
        await adapter.until(lambda: len(begun) == 3)
        assert [str(error) for error in told] == ["broken"]

    async def test_htp_a_crowd_is_answered_to_the_last(self, adapter: Adapter, store: Store) -> None:
        _, row, heard = await _listening(adapter, store)
        letters = [letter(row, [ephemeral(number)]) for number in range(100)]
        answers = await adapter.gather(*(adapter.in_thread(one.ask) for one in letters))
        assert {answer.status for answer in answers} <= {200, 503}
        taken = sum(answer.status == 200 for answer in answers)
        await adapter.until(lambda: len(heard) >= taken)
        assert len(set(heard.data)) == taken

    async def test_who_is_stopped_answers_503_or_not_at_all(self, adapter: Adapter, store: Store) -> None:
        registry, row, heard = await _listening(adapter, store)
        await registry.stop()
        try:
            answer = await adapter.in_thread(letter(row, [ephemeral()]).ask)
        except ConnectionRefusedError:
            assert not adapter.mounted
        else:
            assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "draining", "1")
        assert not heard


async def _listening(adapter: Adapter, store: Store, **options: Any) -> tuple[AwaitedRegistry, Instance, Heard]:
    """Start a registry with a callback on `KEY`; and read its row, as a job does."""
    registry, heard = await adapter.started(**options), Heard()
    await registry.register(KEY, heard)
    (row,) = [one for one in await adapter.in_thread(store.instances) if one.instance_id == registry.instance_id]
    return registry, row, heard


def _timed(work: Callable[[], RawAnswer]) -> tuple[RawAnswer, float]:
    began = time.monotonic()
    return work(), time.monotonic() - began
