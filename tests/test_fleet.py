"""Registries of each framework in one fleet, rung by notifiers of each kind: one sequence for all."""

from __future__ import annotations

import pytest

from processes import Job, Web, until
from skyhooks import Notifier

KEYS = {"account": 42}
FRAMEWORKS = ("tornado", "gevent", "twisted")
JOBS = ("blocking", *FRAMEWORKS)
COUNT = 25


@pytest.fixture
def store(tmp_path):
    return f"sqlite:///{tmp_path}/skyhooks.db"


@pytest.fixture
def start(store):
    running = []

    def start(what, *args, **options):
        process = what(store, *args, **options)
        running.append(process)
        return process

    yield start
    for process in running:
        process.end()


@pytest.fixture
def fleet(start):
    return {name: start(Web, ["a", "b"], framework=name) for name in FRAMEWORKS}


@pytest.mark.parametrize("kind", JOBS)
def test_a_notifier_of_each_kind_reaches_a_registry_of_each_kind(start, fleet, kind):
    job = start(Job, [(number, {}) for number in range(COUNT)], kind=kind)
    assert job.wait_for_end() == 0
    everyone = {web.instance_id: "delivered" for web in fleet.values()}
    assert [receipt["outcomes"] for receipt in job.receipts] == [everyone] * COUNT
    assert {receipt["reached"] for receipt in job.receipts} == {2 * len(FRAMEWORKS)}
    for web in fleet.values():
        for name in "ab":
            web.wait_for_data(name, list(range(COUNT)))


def test_what_notifiers_of_all_kinds_send_at_once_arrives_everywhere_in_one_order(start, fleet):
    jobs = [start(Job, [([kind, number], {}) for number in range(COUNT)], kind=kind) for kind in JOBS]
    for job in jobs:
        assert job.wait_for_end() == 0
    total = COUNT * len(JOBS)
    for web in fleet.values():
        web.wait(lambda web=web: len(web.data("a")) >= total and len(web.data("b")) >= total)
    sequences = [web.data(name) for web in fleet.values() for name in "ab"]
    assert all(sequence == sequences[0] for sequence in sequences)
    for kind in JOBS:
        assert [number for who, number in sequences[0] if who == kind] == list(range(COUNT))


@pytest.mark.parametrize("victim", FRAMEWORKS)
def test_one_that_is_killed_takes_nothing_from_the_others_and_its_successor_joins(start, store, fleet, victim):
    job = start(Job, [(number, {}) for number in range(100)])
    fleet[victim].wait(lambda: len(fleet[victim].data("a")) >= 10)
    fleet.pop(victim).kill()
    successor = start(Web, framework=victim)
    successor.register("a", since="start")
    assert job.wait_for_end() == 0
    for web in (*fleet.values(), successor):
        web.wait_for_data("a", list(range(100)))
    with Notifier(store) as notifier:
        alive = {web.instance_id for web in (*fleet.values(), successor)}
        until(lambda: {one.instance_id for one in notifier.interest(KEYS)} == alive)
