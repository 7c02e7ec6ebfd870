"""One at a time and coalesced, retained and ephemeral, to N processes; beside redis-py where there is a redis-server."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.harness import DATA, Case, Goal, interleave, report
from benchmarks.receivers import Receivers
from skyhooks import Notifier

KEYS = {"account": 42}


def run(*, processes: int, rounds: int, framework: str) -> None:
    """Measure with so many receiving processes."""
    with tempfile.TemporaryDirectory() as folder, _redis() as redis_url:
        store = f"sqlite:///{Path(folder) / 'bench.db'}?keep_seconds=5&keep_min_seconds=1"
        receivers = Receivers(framework, store, processes, 1)
        peers = Receivers("redis", redis_url, processes, 1) if redis_url else None
        try:
            with Notifier(store, max_pending_bytes=256_000_000) as notifier:
                cases = _skyhooks_cases(notifier, receivers)
                if peers is not None and redis_url is not None:
                    cases += _redis_cases(redis_url, peers)
                interleave(cases, rounds)
        finally:
            receivers.close()
            if peers is not None:
                peers.close()
    report(f"delivery, {len(_raw())} bytes, N={processes}, {framework} receivers", cases, _goals(processes))


def _skyhooks_cases(notifier: Notifier, receivers: Receivers) -> list[Case]:
    def notify(*, ephemeral: bool) -> Callable[[], None]:
        return lambda: _reached(notifier.notify(KEYS, DATA, ephemeral=ephemeral).reached)

    def submit(*, ephemeral: bool) -> Callable[[int], None]:
        def send(count: int) -> None:
            for _ in range(count):
                notifier.submit(KEYS, DATA, ephemeral=ephemeral)

        return send

    return [
        Case("ephemeral, one at a time, p50", lambda: _latency(notify(ephemeral=True), receivers)),
        Case("retained, one at a time, p50", lambda: _latency(notify(ephemeral=False), receivers)),
        Case("ephemeral, coalesced", lambda: _throughput(submit(ephemeral=True), receivers, 5000), "/s"),
        Case("retained, coalesced", lambda: _throughput(submit(ephemeral=False), receivers, 3000), "/s"),
    ]


def _redis_cases(url: str, receivers: Receivers) -> list[Case]:
    import orjson
    import redis

    client = redis.Redis.from_url(url)

    def publish() -> None:
        client.publish("account=42", orjson.dumps(DATA))

    def append_and_publish() -> None:
        data = orjson.dumps(DATA)
        client.xadd("log:account=42", {"data": data}, maxlen=1000, approximate=True)
        client.publish("account=42", data)

    def many(one: Callable[[], None]) -> Callable[[int], None]:
        def send(count: int) -> None:
            for _ in range(count):
                one()

        return send

    def pipelined(count: int) -> None:
        for _ in range(count // 100):
            pipe = client.pipeline(transaction=False)
            for _ in range(100):
                pipe.publish("account=42", orjson.dumps(DATA))
            pipe.execute()

    return [
        Case("redis publish, p50", lambda: _latency(publish, receivers)),
        Case("redis XADD + PUBLISH, p50", lambda: _latency(append_and_publish, receivers)),
        Case("redis publish", lambda: _throughput(many(publish), receivers, 2000), "/s"),
        Case("redis XADD + PUBLISH", lambda: _throughput(many(append_and_publish), receivers, 2000), "/s"),
        Case("redis publish, pipelined by 100", lambda: _throughput(pipelined, receivers, 5000), "/s"),
    ]


def _goals(processes: int) -> list[Goal]:
    one = processes == 1
    return [
        Goal("ephemeral p50 to redis publish", "ephemeral, one at a time, p50", "redis publish, p50", 0.5 if one else 0.6, 0.6 if one else 0.8),
        Goal("retained p50 to XADD + PUBLISH", "retained, one at a time, p50", "redis XADD + PUBLISH, p50", 0.9, 1.2),
        Goal("ephemeral, coalesced to publish", "ephemeral, coalesced", "redis publish", 35 if one else 25, 20 if one else 15, more_is_better=True),
        Goal("ephemeral, coalesced to pipelined", "ephemeral, coalesced", "redis publish, pipelined by 100", 4 if one else 3.5, 2.5 if one else 2.3, more_is_better=True),
        Goal("retained, coalesced to XADD + PUBLISH", "retained, coalesced", "redis XADD + PUBLISH", 20, 10, more_is_better=True),
    ]  # fmt: skip


def _latency(send: Callable[[], None], receivers: Receivers, count: int = 200) -> float:
    figures = []
    for _ in range(count):
        begin = time.monotonic()
        send()
        figures.append(receivers.wait(1) - begin)
    return median(figures) * 1e6


def _throughput(send: Callable[[int], None], receivers: Receivers, count: int) -> float:
    begin = time.monotonic()
    send(count)
    return count / (receivers.wait(count) - begin)


def _reached(count: int) -> None:
    if not count:
        raise RuntimeError("nobody was reached")


def _raw() -> bytes:
    from skyhooks._json import encode_data

    return encode_data(DATA)


@contextmanager
def _redis() -> Iterator[str | None]:
    """Start a redis-server of our own on a free port, where there is one to start."""
    path = shutil.which("redis-server")
    if path is None:
        print("no redis-server on PATH: measured without peers")
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [path, "--port", str(port), "--save", "", "--bind", "127.0.0.1"], stdout=subprocess.DEVNULL
    )
    try:
        _await_port(port)
        yield f"redis://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _await_port(port: int) -> None:
    limit = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.02)
        else:
            return
