"""The command line on a MongoDB store, which `$SKYHOOKS_STORE` names."""

from __future__ import annotations

import pytest

from commands import begin, lines, run
from mongodb_server import server  # noqa: F401 - a fixture
from processes import free_port

pytestmark = pytest.mark.external


@pytest.fixture
def environment(server):  # noqa: F811 - the fixture
    return {"SKYHOOKS_STORE": server.url()}


def read(*command, **environment):
    done = run(*command, "--json", **environment)
    assert done.returncode == 0, done.stderr
    return lines(done.stdout)


def test_each_command_does_its_part(environment):
    listener = begin("listen", "account=42", "--count", "2", "--json", **environment)
    try:
        assert listener.stderr.readline().startswith("listening for ")
        [instance] = read("instances", **environment)
        [hook] = read("hooks", **environment)
        assert (hook["key"], hook["instance_id"]) == ("account=42", instance["instance_id"])
        for rows in (1, 2):
            [receipt] = read("notify", "account=42", "--data", f'{{"rows": {rows}}}', **environment)
            assert (receipt["reached"], receipt["ok"]) == (1, True)
        heard, _ = listener.communicate(timeout=30)
    finally:
        listener.kill()
        listener.wait()
    assert [one["data"] for one in lines(heard)] == [{"rows": 1}, {"rows": 2}]
    assert [one["data"] for one in read("history", "account=42", **environment)] == [{"rows": 1}, {"rows": 2}]
    assert run("instances", **environment).returncode == 1
    assert read("reap", **environment) == [{"instances": 0, "hooks": 0, "entries": 0, "keys": 0}]
    assert read("store", "renew-epochs", **environment) == [{"logs": 1}]
    assert len(read("history", "account=42", **environment)) == 2


def test_a_store_that_is_away_is_one_line_without_credentials():
    done = run("notify", "a=1", "--store", f"mongodb://user:hunter2@127.0.0.1:{free_port()}/x")
    assert done.returncode not in (0, 1, 2)
    assert done.stderr.count("\n") == 1
    assert "did not answer within 2.5 s" in done.stderr
    assert "hunter2" not in done.stderr


def test_a_url_that_makes_no_sense_is_bad_usage():
    done = run("instances", "--store", "mongodb://db/x?kepp=1")
    assert done.returncode == 2
    assert "Unknown option" in done.stderr
    assert "kepp" in done.stderr
