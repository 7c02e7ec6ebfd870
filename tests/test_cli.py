"""The command line, run as processes on real stores."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from commands import LIMIT_SECONDS, begin, environment, lines, run, words
from instances import Heard, Instances
from skyhooks import Notifier

SECRET = "whsec_" + "c2t5" * 8
COMMANDS = ["demo", "notify", "listen", "instances", "hooks", "history", "reap", "store renew-epochs"]


@pytest.fixture
def store(tmp_path):
    return f"sqlite:///{tmp_path}/test.db"


@contextmanager
def listening(*arguments):
    """Run `listen` until it waits for its keys; end it with the test."""
    process = begin("listen", *arguments)
    try:
        greeting = process.stderr.readline()
        assert greeting.startswith("listening for "), greeting + process.stderr.read()
        yield process
    finally:
        process.kill()
        process.communicate()


def assert_complains(done, status, *parts):
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.count("\n") == 1, done.stderr
    for part in parts:
        assert part in done.stderr


# -- words ----------------------------------------------------------------------------------------


def test_help_names_every_command_and_every_exit_status():
    done = run("--help")
    assert done.returncode == 0
    for part in [*COMMANDS, "exit status:", "130", "141"]:
        assert part in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_shows_its_use_and_exit_status(command):
    done = run(*command.split(), "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: skyhooks {command}")
    assert "exit status:" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_nothing_said_shows_the_help_and_is_no_success():
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: skyhooks COMMAND" in done.stderr


def test_version_is_that_of_the_package():
    assert run("--version").stdout.startswith("skyhooks 1.")


@pytest.mark.parametrize(
    "arguments",
    [
        ["notfy"],
        ["notify"],
        ["store"],
        ["listen", "account=42", "--count", "0"],
        ["listen", "account=42", "--timeout", "soon"],
        ["notify", "account=42", "--timeout", "nan"],
        ["demo", "--port", "65533"],
        ["instances", "--jso"],
    ],
)
def test_words_that_make_no_command_are_complained_of_in_one_line(arguments):
    assert_complains(run(*arguments), 2, "skyhooks", "--help")


def test_no_command_needs_an_extra():
    code = (
        "import sys, skyhooks.cli.entry, skyhooks.cli.listen, skyhooks.cli.notify, skyhooks.demo.command\n"
        "print([one for one in ('requests', 'tornado', 'rich') if one in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == "[]\n"


# -- notify ---------------------------------------------------------------------------------------


def test_notify_says_that_nobody_listens_and_keeps_it_in_the_log(store):
    done = run("notify", "account=42", "--data", '{"rows": 12}', "--id", "task-17", SKYHOOKS_STORE=store)
    assert (done.returncode, done.stdout) == (1, "nobody listens: task-17\n")
    (entry,) = lines(run("history", "account=42", "--json", "--store", store).stdout)
    assert (entry["id"], entry["seq"], entry["data"]) == ("task-17", 1, {"rows": 12})


def test_notify_shows_who_got_it(store):
    with listening("account=42", "account=43", "--store", store):
        done = run("notify", "account=42", "--store", store)
    assert done.returncode == 0
    first, headers, row = done.stdout.splitlines()
    assert first.startswith("reached 1 callback in 1 process: ")
    assert headers.split() == ["OUTCOME", "CALLBACKS", "ATTEMPTS", "MS", "URL"]
    assert row.split()[:3] == ["delivered", "1", "1"]


def test_notify_as_json_is_the_receipt(store):
    with listening("account=42", "--store", store):
        done = run("notify", "account=42", "--json", "--store", store)
    (receipt,) = lines(done.stdout)
    assert (receipt["reached"], receipt["nobody"], receipt["ok"], receipt["duplicate"]) == (1, False, True, False)
    assert receipt["deliveries"][0]["outcome"] == "delivered"


def test_notify_twice_with_one_id_says_so(store):
    run("notify", "account=42", "--id", "task-17", "--store", store)
    done = run("notify", "account=42", "--id", "task-17", "--store", store)
    assert done.stdout == "nobody listens: task-17 (it had been published before)\n"


def test_notify_ephemeral_skips_the_log(store):
    run("notify", "account=42", "--ephemeral", "--store", store)
    assert run("history", "account=42", "--store", store).returncode == 1


def test_data_comes_from_standard_input_or_a_file(store, tmp_path):
    (tmp_path / "data.json").write_text("[1]", encoding="utf-8")
    run("notify", "account=42", "--data", "-", "--store", store, input='"é"\n')
    run("notify", "account=42", "--data", f"@{tmp_path}/data.json", "--store", store)
    entries = lines(run("history", "account=42", "--json", "--store", store).stdout)
    assert [entry["data"] for entry in entries] == ["é", [1]]


@pytest.mark.parametrize("data", ['{"rows": 12', "hello", "[NaN]", "", '{"a": 1, "a": 2}', "9223372036854775808"])
def test_bad_data_is_refused_before_the_store_is_touched(data, store, tmp_path):
    assert_complains(run("notify", "account=42", "--data", data, "--store", store), 2, "--data: ", "quote it")
    assert not (tmp_path / "test.db").exists()


def test_a_data_file_that_is_not_there_is_named(store):
    assert_complains(run("notify", "account=42", "--data", "@/nope", "--store", store), 2, "/nope: No such file")


@pytest.mark.parametrize("word", ["account", "account=", "a b=1", "=1"])
def test_a_bad_key_is_refused_before_the_store_is_touched(word, store, tmp_path):
    assert_complains(run("notify", word, "--store", store), 2)
    assert not (tmp_path / "test.db").exists()


# -- stores and secrets ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "status", "part"),
    [
        ("redis://here", 2, "known are memory, "),
        ("somewhere", 2, "known are memory, "),
        ("memory://", 2, "use sqlite:///skyhooks.db"),
        ("sqlite:///", 2, "--store: "),
        ("sqlite:////nope/none/test.db", 3, "make that directory"),
    ],
)
def test_a_store_that_cannot_be_had_is_explained(url, status, part):
    assert_complains(run("notify", "account=42", "--store", url), status, part)


def test_a_file_that_is_no_store_is_trouble(tmp_path):
    path = tmp_path / "test.db"
    path.write_text("this is no database, but somebody's letter to somebody\n" * 9, encoding="utf-8")
    assert_complains(run("instances", "--store", f"sqlite:///{path}"), 3, str(path))


@pytest.mark.parametrize("command", ["instances", "hooks", "history account=42", "reap", "store renew-epochs"])
def test_looking_makes_no_store(command, tmp_path):
    assert_complains(run(*command.split(), cwd=tmp_path), 3, "there is no store at", "$SKYHOOKS_STORE")
    assert list(tmp_path.iterdir()) == []


def test_without_a_store_it_is_one_in_the_working_directory(tmp_path):
    run("notify", "account=42", cwd=tmp_path)
    assert run("history", "account=42", cwd=tmp_path).returncode == 0
    assert (tmp_path / "skyhooks.db").exists()


def test_a_secret_in_a_file_is_shared(store, tmp_path):
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n", encoding="ascii")
    with listening("account=42", "--secret-file", path, "--store", store):
        assert run("notify", "account=42", "--store", store, SKYHOOKS_SECRET=SECRET).returncode == 0
        done = run("notify", "account=42", "--store", store)
    assert done.returncode == 1
    assert "blocked" in done.stdout
    assert "give it the same secret=" in done.stdout


@pytest.mark.parametrize(("text", "part"), [("", "is empty"), ("password\n", "whsec_")])
def test_a_bad_secret_file_is_refused(text, part, store, tmp_path):
    path = tmp_path / "secret"
    path.write_text(text, encoding="ascii")
    done = run("notify", "account=42", "--secret-file", path, "--store", store)
    assert_complains(done, 2, "--secret-file: ", part)


def test_a_bad_secret_in_the_environment_is_named_but_not_shown(store):
    done = run("notify", "account=42", "--store", store, SKYHOOKS_SECRET="password")
    assert_complains(done, 2, "$SKYHOOKS_SECRET: ")
    assert "password" not in done.stderr


# -- listen ---------------------------------------------------------------------------------------


def test_listen_prints_what_arrives_and_ends_after_so_many(store):
    with listening("account=42", "--count", "2", "--json", "--store", store) as process:
        with Notifier(store) as notifier:
            notifier.notify({"account": 42}, {"rows": 12}, id="one")
            notifier.notify({"account": 42}, "two\u009b", id="two")
        out, _ = process.communicate(timeout=LIMIT_SECONDS)
    one, two = lines(out)
    assert (one["type"], one["key"], one["id"], one["data"]) == ("notification", "account=42", "one", {"rows": 12})
    assert (two["data"], two["replayed"]) == ("two\u009b", False)
    assert process.returncode == 0


def test_listen_goes_on_behind_a_cursor(store):
    for data in "123":
        run("notify", "account=42", "--data", data, "--store", store)
    first, *_ = lines(run("history", "account=42", "--json", "--store", store).stdout)
    done = run("listen", "account=42", "--since", first["cursor"], "--count", "2", "--json", "--store", store)
    assert [(line["data"], line["replayed"]) for line in lines(done.stdout)] == [(2, True), (3, True)]


def test_listen_tells_a_gap_where_the_log_has_begun_anew(store):
    run("notify", "account=42", "--data", "1", "--store", store)
    (entry,) = lines(run("history", "account=42", "--json", "--store", store).stdout)
    run("store", "renew-epochs", "--store", store)
    words_ = ["listen", "account=42", "--since", entry["cursor"], "--count", "1", "--store", store]
    gap, _ = lines(run(*words_, "--json").stdout)
    assert (gap["type"], gap["key"], gap["reason"]) == ("gap", "account=42", "restarted")
    assert "account=42  gap: the log no longer has" in run(*words_).stdout


def test_listen_shows_people_nothing_that_steers_their_terminal(store):
    with Notifier(store) as notifier:
        notifier.notify({"account": 42}, "\u009b31mred\u202e")
    done = run("listen", "account=42", "--since", "start", "--count", "1", "--store", store)
    assert done.stdout.endswith('account=42  "\\x9b31mred\\u202e"\n')


def test_listen_in_pull_mode_asks_the_store(store):
    with listening("account=42", "--pull", "--count", "1", "--store", store) as process:
        done = run("notify", "account=42", "--data", "1", "--store", store)
        out, _ = process.communicate(timeout=LIMIT_SECONDS)
    assert done.stdout.startswith("reached 0 callbacks in 0 processes, 1 more will fetch it: ")
    assert "deferred" in done.stdout
    assert out.endswith("account=42  1\n")


def test_listen_gives_up_when_too_few_arrive_in_time(store):
    run("notify", "account=42", "--store", store)
    done = run("listen", "account=42", "--since", "start", "--count", "2", "--timeout", "0.6", "--store", store)
    assert done.returncode == 1
    assert done.stdout.endswith("account=42  null\n")


def test_listen_for_a_while_succeeds_if_anything_arrived(store):
    run("notify", "account=42", "--store", store)
    done = run("listen", "account=42", "--since", "start", "--timeout", "1.5", "--store", store)
    assert done.returncode == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_makes_listen_leave(number, status, store):
    with listening("account=42", "--store", store) as process:
        assert run("instances", "--store", store).returncode == 0
        process.send_signal(number)
        out, err = process.communicate(timeout=LIMIT_SECONDS)
    assert (process.returncode, out, err) == (status, "", "")
    assert run("instances", "--store", store).returncode == 1


def test_listen_leaves_when_its_reader_has_gone_even_if_nothing_arrives(store):
    with listening("account=42", "--store", store) as process:
        process.stdout.close()
        assert process.wait(LIMIT_SECONDS) == 141
        assert process.stderr.read() == ""
    assert run("instances", "--store", store).returncode == 1


@pytest.mark.parametrize(("words_", "part"), [(["--since", "junk"], "cursor"), (["--listen", "here"], "HOST:PORT")])
def test_listen_refuses_what_makes_no_sense(words_, part, store):
    assert_complains(run("listen", "account=42", *words_, "--store", store), 2, part)


def test_listen_at_an_address_of_another_machine_is_trouble(store):
    assert_complains(run("listen", "account=42", "--listen", "192.0.2.1:0", "--store", store), 3, "192.0.2.1")


# -- look and tend --------------------------------------------------------------------------------


def test_instances_and_hooks_show_who_waits_for_what(store):
    with listening("account=42", "account=43", "--store", store) as process:
        (instance,) = lines(run("instances", "--json", "--store", store).stdout)
        hooks = lines(run("hooks", "--json", "--store", store).stdout)
        table = run("hooks", "account=43", "--store", store).stdout.splitlines()
        shown = run("instances", "--store", store).stdout.splitlines()
        assert str(process.pid) in instance["label"]
    assert 0 < instance["lease_left_seconds"] <= 30
    assert [(hook["key"], hook["url"]) for hook in hooks] == [(f"account={n}", instance["url"]) for n in (42, 43)]
    assert table[1].split()[:3] == ["account=43", instance["instance_id"][:8], instance["url"]]
    assert shown[1].startswith(instance["instance_id"][:8])
    assert not any("key" in name for name in instance)


@pytest.mark.parametrize("command", ["instances", "hooks", "hooks account=42", "history account=42"])
@pytest.mark.parametrize("json", [[], ["--json"]])
def test_nothing_found_is_status_1(command, json, store):
    run("notify", "other=1", "--store", store)
    done = run(*command.split(), *json, "--store", store)
    assert done.returncode == 1
    assert done.stdout.count("\n") == (0 if json else 1)


def test_history_is_a_table_of_what_the_log_keeps(store):
    with Notifier(store) as notifier:
        for number in range(600):
            notifier.submit({"account": 42}, {"número": number}, id=f"task-{number}")
    done = run("history", "account=42", "--last", "501", "--store", store)
    headers, first, *_, last = done.stdout.splitlines()
    assert headers.split() == ["SEQ", "SENT", "ID", "BYTES", "DATA"]
    assert (first.split()[0], last.split()[0]) == ("100", "600")
    assert last.endswith('{"número":599}')


def test_history_is_of_one_key(store):
    run("notify", "account=42", "--store", store)
    assert_complains(run("history", "account=42", "account=43", "--store", store), 2)


def test_a_reader_that_goes_early_is_no_error(store):
    with Notifier(store) as notifier:
        for number in range(500):
            notifier.submit({"account": 42}, "x" * 400, id=f"task-{number}")
    with begin("history", "account=42", "--json", "--store", store) as process:
        assert '"task-0"' in process.stdout.readline()
        process.stdout.close()
        assert (process.wait(LIMIT_SECONDS), process.stderr.read()) == (141, "")


def test_reap_counts_what_it_removed(store):
    run("notify", "account=42", "--store", f"{store}?keep_seconds=0&keep_min_seconds=0")
    assert run("reap", "--store", store).stdout == "removed: instances 0, hooks 0, notifications 1, keys 0\n"
    (counts,) = lines(run("reap", "--json", "--store", store).stdout)
    assert counts == {"instances": 0, "hooks": 0, "entries": 0, "keys": 0}


def test_renew_epochs_makes_old_cursors_old(store):
    run("notify", "account=42", "--store", store)
    before = lines(run("history", "account=42", "--json", "--store", store).stdout)[0]
    assert run("store", "renew-epochs", "--store", store).stdout == "gave a new epoch to 1 log\n"
    after = lines(run("history", "account=42", "--json", "--store", store).stdout)[0]
    assert (before["id"], before["cursor"] != after["cursor"]) == (after["id"], True)
    assert lines(run("store", "renew-epochs", "--json", "--store", store).stdout) == [{"logs": 1}]


def test_a_terminal_gets_colours_and_short_lines_unless_it_says_otherwise(store):
    run("notify", "account=42", "--data", f'"{"x" * 300}"', "--store", store)
    coloured, plain = (in_terminal("history", "account=42", "--store", store, **env) for env in ({}, {"NO_COLOR": "1"}))
    assert "\x1b[2mSEQ" in coloured
    assert "\x1b" not in plain
    assert max(map(len, plain.splitlines())) <= 100
    assert plain.rstrip().endswith("x…")


def in_terminal(*arguments, **env):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(words(*arguments), env=environment(TERM="xterm", **env), stdout=theirs)
    os.close(theirs)
    with open(ours, "rb") as terminal:
        shown = b""
        while True:
            try:
                part = terminal.read1()
            except OSError:  # Linux says so when the last writer has gone
                break
            shown += part
    assert process.wait(LIMIT_SECONDS) == 0
    return shown.decode()


def test_notify_rings_over_tls_whom_a_private_authority_has_signed(tmp_path, certificate):
    store = f"sqlite:///{tmp_path}/tls.db"
    with Instances(store) as instances:
        heard = Heard()
        instances.start(heard, certfile=certificate, cafile=certificate)
        refused = run("notify", "account=42", "--data", "1", "--store", store)
        reached = run("notify", "account=42", "--data", "2", "--cafile", certificate, "--store", store)
        assert (refused.returncode, reached.returncode) == (1, 0)
        assert "certificate" in refused.stdout
        assert 2 in heard.wait_for(1)


def test_a_cafile_that_cannot_be_read_is_bad_input(tmp_path):
    done = run("notify", "account=42", "--cafile", tmp_path / "missing.pem", "--store", f"sqlite:///{tmp_path}/a.db")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--cafile" in done.stderr
