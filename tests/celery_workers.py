"""Real Celery workers for the tests, and real instances that wait for what their tasks tell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

from celery import Celery

from instances import Heard, Instances
from processes import until
from skyhooks import Notifier

WORKER_SECONDS = 60.0


class Worker:
    """A worker process, ready when this returns."""

    def __init__(self, folder, settings, pool="prefork", concurrency=2, more=""):
        self.log = folder / f"worker-{uuid4().hex}.log"
        here = Path(__file__).parent
        options = f"-A celery_tasks worker -P {pool} -c {concurrency} -n {uuid4().hex}@localhost -l INFO"
        quiet = f"--without-gossip --without-mingle {more}"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "celery", *options.split(), *quiet.split()],
                env={**os.environ, "CELERY_TESTS": json.dumps(settings), "PYTHONPATH": str(here)},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until(lambda: self.said(" ready.") or self._process.poll() is not None, WORKER_SECONDS)
        assert self._process.poll() is None, self.log.read_text()

    def said(self, text):
        return text in self.log.read_text()

    def wait_for_end(self):
        return self._process.wait(WORKER_SECONDS)

    def terminate(self):
        """Tell it to end, as an administrator does: what runs may end."""
        self._process.terminate()

    def stop(self):
        self.terminate()
        return self.wait_for_end()

    def kill(self):
        self._process.kill()
        self._process.wait(WORKER_SECONDS)


class Office:
    """A broker, a store, workers, and an instance with callbacks."""

    def __init__(self, broker_url, folder, stack):
        self.folder = folder
        self.store = f"sqlite:///{folder}/skyhooks.db"
        self.settings = {
            "required": False,
            "dies_at_end": False,
            "broker": broker_url,
            "store": self.store,
            "transport": {"visibility_timeout": 1},
            "queue": uuid4().hex,
        }
        self.app = stack.enter_context(Celery("office", broker=broker_url, set_as_current=False))
        self._stack = stack
        self._instances = stack.enter_context(Instances(self.store))

    def worker(self, **options):
        worker = Worker(self.folder, self.settings, **options)
        self._stack.callback(worker.kill)
        return worker

    def wait_for(self, account):
        """Register somebody who waits for an account's notifications."""
        heard = Heard()
        self._instances.start(heard, keys={"account": account})
        return heard

    def run(self, task, *args, **options):
        return self.app.send_task(
            f"celery_tasks.{task}", args, queue=self.settings["queue"], ignore_result=True, **options
        ).id

    def flag(self):
        return str(self.folder / uuid4().hex)

    def end(self, account, heard, count):
        """Wait for so many notifications, and return them; one more would be found."""
        heard.wait_for(count)
        with Notifier(self.store) as notifier:
            notifier.notify({"account": account}, "end")
        told = heard.wait_for(count + 1)
        until(lambda: told[-1] == "end" or heard.data[-1] == "end")
        return heard.data[:-1]


@contextmanager
def office(broker_url, folder):
    with ExitStack() as stack:
        yield Office(broker_url, folder, stack)
