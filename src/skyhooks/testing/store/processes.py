"""Other processes on the same store: they see each other, race each other, fork and die."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlencode

import msgspec
import pytest

from ..._stores import open_store
from ..._values import Position
from ...abc import Store
from .._store_worker import Acknowledged, Order
from .base import LONG, StoreTests, a_key, an_instance, held_by, page, publish, read_all, seqs
from .races import ROUNDS


class ProcessTests(StoreTests):
    """For stores that say `multi_process`."""

    @pytest.fixture
    def shared_url(self, new_url: Callable[[str], str]) -> str:
        """The URL of a fresh store that several processes may open."""
        if not self.multi_process:
            pytest.skip("this store is for one process")
        return new_url("")

    @pytest.fixture
    def shared(self, shared_url: str) -> Iterator[Store]:
        """That store, opened here."""
        store = open_store(shared_url)
        store.positions([a_key()])
        yield store
        store.close()

    def test_another_opener_sees_everything(self, shared: Store, shared_url: str) -> None:
        instance, key = an_instance(), a_key()
        shared.join(instance, LONG)
        shared.add_hooks(instance.instance_id, [key], 1)
        publish(shared, key, 3)
        shared.close()
        other = open_store(shared_url)
        assert (seqs(page(other, key)), held_by(other, key)) == ([1, 2, 3], {instance.instance_id})
        other.close()

    def test_the_retention_is_that_of_whoever_made_the_store(self, new_url: Callable[[str], str]) -> None:
        if not self.multi_process:
            pytest.skip("this store is for one process")
        url, key = new_url(urlencode({"keep": 3, "keep_min_seconds": 0})), a_key()
        first, second = open_store(url), open_store(url.replace("keep=3", "keep=50"))
        publish(first, key)
        publish(second, key, 9)
        assert seqs(page(first, key)) == [8, 9, 10]
        first.close()
        second.close()

    def test_no_notification_falls_between_two_processes(self, shared: Store, shared_url: str) -> None:
        instance = an_instance()
        shared.join(instance, LONG)
        with worker(shared_url) as other:
            other.publish(a_key())
            for _ in range(ROUNDS):
                key = a_key()
                other.tell(key, 2)
                spin(random.uniform(0, 0.0004))  # noqa: S311 (another interleaving each time)
                head = shared.add_hooks(instance.instance_id, [key], 1)[key]
                for answer in (other.hear(), other.hear()):
                    assert answer.position.epoch == head.epoch
                    seen = instance.instance_id in answer.targets
                    assert seen or answer.position.seq <= head.seq, f"{answer.position} fell between: {head}"

    def test_processes_at_once_get_places_without_holes(self, shared_url: str) -> None:
        key, count = a_key(), 60
        with ExitStack() as stack:
            others = [stack.enter_context(worker(shared_url)) for _ in range(3)]
            for other in others:
                other.tell(key, count)
            places = [[other.hear().position.seq for _ in range(count)] for other in others]
        assert all(one == sorted(one) for one in places)
        assert sorted(seq for one in places for seq in one) == list(range(1, 3 * count + 1))

    def test_what_a_killed_process_had_acknowledged_is_there(self, shared: Store, shared_url: str) -> None:
        """CRS: kill -9 of anything is inside the promises."""
        key = a_key()
        with worker(shared_url) as other:
            other.tell(key, 1_000_000)
            acknowledged = [other.hear() for _ in range(50)]
            other.kill()
            acknowledged += other.rest()
        entries = read_all(shared, key, 1000)
        kept = [(entry.id, entry.seq) for entry in entries]
        assert [seq for _, seq in kept] == list(range(page(shared, key).floor + 1, page(shared, key).head + 1))
        assert {(one.id, one.position.seq) for one in acknowledged if one.position.seq >= kept[0][1]} <= set(kept)
        publish(shared, key)

    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
    def test_a_fork_and_its_parent_both_go_on(self, shared: Store) -> None:
        key = a_key()
        publish(shared, key)
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                os._exit(len(publish(shared, key, 20)))
            os._exit(99)
        publish(shared, key, 20)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 20
        assert seqs(page(shared, key)) == list(range(1, 42))
        assert publish(shared, key)[0].position == Position(page(shared, key).epoch, 42)


class Worker:
    """Another process that publishes as it is told."""

    def __init__(self, url: str) -> None:
        command = [sys.executable, "-m", "skyhooks.testing._store_worker", url]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 (itself)

    def tell(self, key: str, count: int) -> None:
        """Let it begin."""
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(Order(key, count)) + b"\n")
        self.process.stdin.flush()

    def hear(self) -> Acknowledged:
        """Wait for its next answer."""
        assert self.process.stdout is not None
        return msgspec.json.decode(self.process.stdout.readline(), type=Acknowledged)

    def rest(self) -> list[Acknowledged]:
        """Return what it had still said before it died; its last line may be cut short."""
        assert self.process.stdout is not None
        lines = self.process.stdout.read().split(b"\n")[:-1]
        return [msgspec.json.decode(line, type=Acknowledged) for line in lines]

    def publish(self, key: str) -> Acknowledged:
        """Let it publish once."""
        self.tell(key, 1)
        return self.hear()

    def kill(self) -> None:
        """Kill it in the middle of whatever it does."""
        self.process.kill()
        self.process.wait(10)


@contextmanager
def worker(url: str) -> Iterator[Worker]:
    """Start a process, and end it."""
    one = Worker(url)
    try:
        yield one
    finally:
        assert one.process.stdin is not None
        assert one.process.stdout is not None
        one.process.kill()
        one.process.wait(10)
        one.process.stdin.close()
        one.process.stdout.close()


def spin(seconds: float) -> None:
    """Let a very short time pass."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
