"""The application that the tests' workers run: tasks of all endings, each of which tells the account that it is given."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from celery import Celery, Task, signals
from celery.exceptions import Ignore
from celery.utils.log import get_task_logger

from skyhooks.celery import install, progress

LATE = {"acks_late": True, "reject_on_worker_lost": True}
SETTINGS = json.loads(os.environ["CELERY_TESTS"])

app = Celery("celery_tasks", broker=SETTINGS["broker"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=1,
    broker_transport_options=SETTINGS["transport"],
    task_default_queue=SETTINGS["queue"],
    task_ignore_result=True,
)


def say_end(**_):
    get_task_logger(__name__).info("this process ends")


def die_at_end(**_):
    os.kill(os.getpid(), signal.SIGKILL)


def at_end(receiver):
    """Call a receiver when a process of this worker ends: before that of skyhooks, or after it, as it is connected."""
    if SETTINGS["dies_at_end"]:
        signals.worker_process_shutdown.connect(receiver)
        signals.worker_shutdown.connect(receiver)


at_end(say_end)
install(
    app,
    {"store": SETTINGS["store"], "timeout_seconds": 5},
    keys=lambda task: {"account": task.request.args[0]},
    required=SETTINGS["required"],
    progress_seconds=0,
)
at_end(die_at_end)


def first_time(flag):
    """Tell whether it is asked for the first time."""
    try:
        Path(flag).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def die(process):
    os.kill(os.getppid() if process == "worker" else os.getpid(), signal.SIGKILL)
    time.sleep(60)  # a worker's children die with it, in a moment


@app.task
def add(account, x, y):
    return x + y


@app.task
def fail(account):
    raise ValueError("too bad")


@app.task(bind=True)
def fail_twice(self, account):
    try:
        if self.request.retries < 2:
            raise OSError("not yet")  # noqa: TRY301 - as what is called here would
    except OSError as error:
        self.retry(countdown=0, exc=error)
    return "at last"


@app.task(bind=True)
def retry_in_vain(self, account):
    """Ask for a retry that no broker takes."""
    self.retry(args=(object(),), countdown=0)


@app.task
def step(account, steps):
    for done in range(1, steps + 1):
        progress(done, steps, at=f"step {done}")
    return "done"


@app.task
def step_and_ignore(account, steps):
    """End without a word for which the store would be waited for."""
    step(account, steps)
    raise Ignore


@app.task
def wait(account, flag):
    first_time(flag)
    while True:
        time.sleep(0.05)


@app.task(time_limit=1)
def take_too_long(account):
    time.sleep(60)


@app.task(acks_late=True)
def die_alone(account):
    die("child")


@app.task(**LATE)
def die_first(account, flag, process):
    """Be killed in the middle, when it is run for the first time."""
    if first_time(flag):
        die(process)
    return "survived"


class DiesAfterwards(Task):
    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        """Be killed when all was told and nothing acknowledged."""
        _, flag, process = args
        if first_time(flag):
            die(process)


@app.task(base=DiesAfterwards, **LATE)
def die_afterwards(account, flag, process):
    return "told"


@app.task(skyhooks=None)
def tell_nobody(account):
    return "secret"
