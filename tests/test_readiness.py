"""Waiting for descriptors, by `poll` and, where that was taken away, by `select`."""

from __future__ import annotations

import select
import socket

import pytest

from skyhooks.blocking._readiness import POLLIN, POLLOUT, ready_descriptors


@pytest.fixture(params=["poll", "select"], autouse=True)
def way(request, monkeypatch):
    if request.param == "select":
        monkeypatch.delattr(select, "poll")  # as eventlet does


@pytest.fixture
def pair():
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def test_what_can_be_written_is_ready_and_what_cannot_be_read_is_not(pair):
    one, other = pair
    assert ready_descriptors({one.fileno(): POLLOUT, other.fileno(): POLLIN}, 0) == {one.fileno()}


def test_what_has_come_and_what_was_hung_up_is_ready(pair):
    one, other = pair
    one.send(b"x")
    assert ready_descriptors({one.fileno(): POLLIN, other.fileno(): POLLIN}, 1) == {other.fileno()}
    one.close()
    other.recv(1)
    assert ready_descriptors({other.fileno(): POLLIN}, 1) == {other.fileno()}


@pytest.mark.parametrize("seconds", [-1, 0, 0.001])
def test_it_waits_no_longer_than_it_may(pair, seconds):
    assert ready_descriptors({pair[0].fileno(): POLLIN}, seconds) == set()
