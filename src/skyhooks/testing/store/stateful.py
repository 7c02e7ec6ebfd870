"""Any sequence of calls, compared with the model after each step."""

from __future__ import annotations

import os

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ..._values import Instance, Position, Publication, Reaped, RenewalState, Retention
from ...abc import Store
from .base import LONG, MakeStore, StoreTests
from .model import Log, Model

RETENTION = Retention(keep=4, keep_min_seconds=0.0, dedupe_ids=3)

KEYS = st.integers(0, 2)
IDS = st.integers(0, 4)
NUMBERS = st.integers(0, 3)
URLS = st.sampled_from([None, "/a", "/b"])
KEY_SETS = st.lists(KEYS, unique=True, max_size=3)
PUBLICATIONS = st.lists(st.tuples(KEYS, st.integers(0, 7), st.booleans(), st.booleans()), max_size=6)


class StatefulTests(StoreTests):
    """The property that all others are examples of."""

    def test_any_sequence_of_calls_agrees_with_the_model(self, make_store: MakeStore) -> None:
        store = make_store(
            keep=RETENTION.keep, keep_min_seconds=RETENTION.keep_min_seconds, dedupe_ids=RETENTION.dedupe_ids
        )
        run_state_machine_as_test(
            type("Machine", (StoreMachine,), {"store": store}),
            settings=settings(
                max_examples=100,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                database=None,
            ),
        )


class StoreMachine(RuleBasedStateMachine):
    """One run on a corner of the store that no other run touches: its keys, ids and URLs bear its name."""

    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.model = Model(RETENTION)
        self.name = os.urandom(8).hex()
        self.sent = 0
        self.epochs = {"f" * 16}

    @initialize()
    def begin_with_holders(self) -> None:
        for number in (0, 1):
            self.join(number, None)
            self.add_hooks(number, [0, 1, 2], 0)

    @rule(id=IDS, url=URLS)
    def join(self, id: int, url: str | None) -> None:
        instance = Instance(self._id(id), url and f"http://{self.name}{url}", self.sent)
        joined = self.store.join(instance, LONG)
        assert set(joined.displaced) == self.model.join(instance, joined.token)

    @rule(id=IDS, data=st.data())
    def renew(self, id: int, data: st.DataObject) -> None:
        row = self.model.rows.get(self._id(id))
        token = data.draw(st.sampled_from(sorted(row.tokens)), "token") if row else ""
        renewal = self.store.renew(self._id(id), LONG, token)
        assert (renewal.state is RenewalState.ALIVE) == (row is not None)
        if row is not None:
            assert row.tokens[token] <= set(renewal.moved)
            for key, head in renewal.moved.items():
                assert head == self.model.logs[key].head
            row.tokens = {token: row.tokens[token]}  # an older one is never used again
            row.tokens[renewal.token] = set()

    @rule(id=IDS)
    def leave(self, id: int) -> None:
        self.store.leave(self._id(id))
        self.model.leave(self._id(id))

    @rule(id=IDS, keys=KEY_SETS, number=NUMBERS)
    def add_hooks(self, id: int, keys: list[int], number: int) -> None:
        named = self._keys(keys)
        heads = self.store.add_hooks(self._id(id), named, number)
        self.model.add_hooks(self._id(id), named, number)
        self._compare_heads(named, heads)

    @rule(id=IDS, keys=KEY_SETS, number=NUMBERS)
    def remove_hooks(self, id: int, keys: list[int], number: int) -> None:
        self.store.remove_hooks(self._id(id), self._keys(keys), number)
        self.model.remove_hooks(self._id(id), self._keys(keys), number)

    @rule(keys=KEY_SETS)
    def positions(self, keys: list[int]) -> None:
        self._compare_heads(self._keys(keys), self.store.positions(self._keys(keys)))

    @rule(given=PUBLICATIONS)
    def publish(self, given: list[tuple[int, int, bool, bool]]) -> None:
        publications = self._without_ambiguous([self._publication(*one) for one in given])
        for publication, answer in zip(publications, self.store.publish(publications), strict=True):
            log = self.model.logs.get(publication.key)
            if log is None:
                assert answer.position is not None
                log = self._log(publication.key, answer.position.epoch)
            known = self.model.knows(publication)
            if known is None:
                assert (answer.position, answer.duplicate, answer.entry) == (
                    self.model.append(publication),
                    False,
                    None,
                )
            else:
                entry, nonce = known
                position = entry and Position(log.epoch, entry.seq)
                expected = (position, nonce != publication.nonce, entry)
                assert (answer.position, answer.duplicate, answer.entry) == expected
            assert {one.instance_id for one in answer.targets} == self.model.targets(publication.key)
        for key in {publication.key for publication in publications}:
            self.model.trim(key)

    @rule(key=KEYS, data=st.data(), limit=st.integers(1, 6))
    def read(self, key: int, data: st.DataObject, limit: int) -> None:
        name = f"{self.name}={key}"
        epochs = st.sampled_from(sorted(self.epochs))
        after = data.draw(st.none() | st.builds(Position, epochs, st.integers(0, 30)), "after")
        page = self.store.read(name, after, limit)
        if page is None:
            assert name not in self.model.logs
            return
        log = self.model.logs[name]
        assert (page.epoch, page.floor, page.head) == (log.epoch, log.floor, log.seq)
        expected = self.model.entries_behind(name, after)[:limit]
        assert list(page.entries) == expected[: len(page.entries)]
        assert bool(page.entries) == bool(expected)

    @rule()
    def reap(self) -> None:
        assert self.store.reap() == Reaped()

    @precondition(lambda self: self.model.logs)
    @rule()
    def renew_epochs(self) -> None:
        assert self.store.renew_epochs() >= len(self.model.logs)
        for key, head in self.store.positions(list(self.model.logs)).items():
            log = self.model.logs[key]
            assert head.epoch not in self.epochs
            assert head.seq == log.seq
            log.epoch = head.epoch
            self.epochs.add(head.epoch)

    @invariant()
    def holders_agree(self) -> None:
        keys = self._keys(range(3))
        targets = self.store.targets(keys)
        for key in keys:
            expected = {holder: self.model.rows[holder].instance for holder in self.model.targets(key)}
            assert {one.instance_id: one for one in targets[key]} == expected

    def teardown(self) -> None:
        alive = {one.instance_id for one in self.store.instances() if one.instance_id.startswith(self.name)}
        assert alive == set(self.model.rows)
        hooks = {(hook.instance_id, hook.key) for hook in self.store.hooks() if hook.key.startswith(self.name)}
        assert hooks == {(holder, key) for holder in alive for key in self.model.hooks.get(holder, ())}
        for holder in {*self.model.rows, *self.model.hooks}:
            self.store.leave(holder)

    def _id(self, number: int) -> str:
        return f"{self.name}-{number}"

    def _keys(self, numbers: list[int] | range) -> list[str]:
        return [f"{self.name}={number}" for number in numbers]

    def _log(self, key: str, epoch: str) -> Log:
        assert epoch not in self.epochs
        self.epochs.add(epoch)
        self.model.logs[key] = Log(epoch)
        return self.model.logs[key]

    def _publication(self, key: int, id: int, mine: bool, remember: bool) -> Publication:
        self.sent += 1
        data = b"%d" % self.sent
        nonce = "mine" if mine else f"nonce-{self.sent}"
        return Publication(f"{self.name}={key}", f"id-{id}", nonce, data, float(self.sent), remember=remember)

    def _without_ambiguous(self, publications: list[Publication]) -> list[Publication]:
        """Leave out what depends on whether a store takes a call entry by entry or as a whole; both are right.

        It may trim after each entry or after the call; and of more ids than it is to remember it may have forgotten the
        oldest when the next entry comes, or when the next call does.
        """
        remembering: set[str] = set()
        entries: dict[str, list[str]] = {
            key: [entry.id for entry in log.entries] for key, log in self.model.logs.items()
        }
        clear = []
        for publication in publications:
            ids = entries.setdefault(publication.key, [])
            if publication.id not in ids:
                if publication.key in remembering and self._is_remembered(publication):
                    continue
                ids.append(publication.id)
            elif publication.id not in ids[-RETENTION.keep :]:
                continue
            if publication.remember:
                remembering.add(publication.key)
            clear.append(publication)
        return clear

    def _is_remembered(self, publication: Publication) -> bool:
        log = self.model.logs.get(publication.key)
        return log is not None and publication.id in dict(log.remembered[-RETENTION.dedupe_ids :])

    def _compare_heads(self, keys: list[str], heads: dict[str, Position]) -> None:
        assert set(heads) == set(keys)
        for key, head in heads.items():
            log = self.model.logs.get(key) or self._log(key, head.epoch)
            assert head == log.head
