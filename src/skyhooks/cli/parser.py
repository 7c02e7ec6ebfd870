"""The words of the command line: commands, options, and the texts that explain them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.metadata import version
from typing import NoReturn

from .exits import EXITS, Exit

_HELP = f"""\
usage: skyhooks COMMAND [OPTION]…

Brings the result of a background job to everyone who waits for it.

see it work
  demo                three web processes, a job and a page, on their own store
  demo --once         no browser: kill each process, check that nothing is lost

ring and listen
  notify KEY=VALUE    bring data to everyone who waits for a key
  listen KEY=VALUE    wait for a key, and print what arrives

look
  instances           the web processes that are alive
  hooks               who waits for what
  history KEY=VALUE   what a key's log still keeps

tend
  reap                remove what has expired
  store renew-epochs  after a backup was restored

options:
  -h, --help          this text; skyhooks COMMAND --help has more, and examples
  --version           the version

The store is --store URL, else $SKYHOOKS_STORE, else sqlite:///skyhooks.db in
the working directory. A shared secret is in --secret-file or $SKYHOOKS_SECRET.

in one terminal               in another
  skyhooks listen account=42    skyhooks notify account=42 --data '{{"rows": 1}}'

{EXITS}
"""

_COLUMNS = 80

_STORE_HELP = "the store (default: $SKYHOOKS_STORE, else sqlite:///skyhooks.db)"
_SECRET_HELP = "file with the whsec_… secret that jobs and web processes share (default: $SKYHOOKS_SECRET)"  # noqa: S105
_JSON_HELP = "print a line of JSON for each, for pipes"
_KEY_HELP = "for example account=42; several are any-of, and a name may repeat"


def make_parser() -> argparse.ArgumentParser:
    """Make the whole command line."""
    parser = _TopParser(prog="skyhooks")
    parser.add_argument("--version", action="version", version=f"skyhooks {version('skyhooks')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    for add in (_add_demo, _add_notify, _add_listen, _add_instances, _add_hooks, _add_history, _add_reap, _add_store):
        add(commands.add_parser)
    return parser


class _Parser(argparse.ArgumentParser):
    """Explains at length when asked, and complains in one line."""

    def __init__(self, **options: object) -> None:
        super().__init__(
            formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(
                prog, max_help_position=26, width=_COLUMNS
            ),
            allow_abbrev=False,
            **options,  # type: ignore[arg-type]  # whatever ArgumentParser takes
        )

    def error(self, message: str) -> NoReturn:
        self.exit(Exit.USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


class _TopParser(_Parser):
    """Its commands are explained in groups, which argparse cannot."""

    def format_help(self) -> str:
        return _HELP


_Add = Callable[..., argparse.ArgumentParser]


def _add_demo(add: _Add) -> None:
    parser = add(
        "demo",
        usage="skyhooks demo [PATH…] [--once] [--store URL] [--port PORT] [--open]",
        description="""\
Start three web processes, a Tornado, a gevent and a Twisted one, and a page,
each of its panes connected to another one: by EventSource, WebSocket and long
poll. A button starts a job that reads files (lines, words, bytes, SHA-256);
its progress and its summary reach all three. Kill a process, or cut a
connection: the pane carries on without a gap. A framework that is not
installed is replaced by plain asyncio, which has no WebSocket here.""",
        epilog=f"""\
examples:
  skyhooks demo                   print a URL, and serve the page until Ctrl-C
  skyhooks demo --open ~/notes    open the browser; the job reads these files
  skyhooks demo --once            no browser: run the job, read it by each
                                  transport, kill -9 each process in turn,
                                  check that all got everything
  skyhooks demo --store mongodb://localhost/skyhooks

The store is a temporary SQLite file whose retention is large enough for the
job: nothing is trimmed while the demo runs, and nothing is left when it ends.
In a store of --store the demo takes one key, drawn at random. That store keeps
what it was made to keep; when the demo ends, it still has the log of that key,
for as long as it keeps any.

{EXITS}""",
    )
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="files and directories (default: Python's own library)"
    )
    parser.add_argument("--once", action="store_true", help="no page: run one job, kill each process, check, end")
    parser.add_argument("--store", metavar="URL", help="the store (default: a file of the demo's own)")
    parser.add_argument("--port", type=_port, default=0, help="port of the page; the processes take the next three")
    parser.add_argument("--files", type=_count, default=400, metavar="N", help="read N files at most (default: 400)")
    parser.add_argument(
        "--seconds", type=_seconds, metavar="S", help="spread a job over S seconds (default: 15, with --once 4)"
    )
    browser = parser.add_mutually_exclusive_group()
    browser.add_argument("--open", action="store_true", help="open the page in the browser")
    browser.add_argument("--no-browser", action="store_true", help="only print the page's URL (the default)")
    parser.add_argument("--json", action="store_true", help="with --once: the result as a line of JSON")
    parser.set_defaults(module="..demo.command")


def _add_notify(add: _Add) -> None:
    parser = add(
        "notify",
        usage="skyhooks notify KEY=VALUE… [--data JSON] [OPTION]…",
        description="""\
Bring data to everyone who waits for a key: append it to the key's log, ring
every web process that holds the key, and say who got it.""",
        epilog=f"""\
examples:
  skyhooks notify account=42 --data '{{"rows": 12}}'
  skyhooks notify account=42 account=43 --data @result.json
  make-report | skyhooks notify report=7 --data -
  skyhooks notify account=42 --id task-17:success   twice within an hour is once

{EXITS}""",
    )
    _add_keys(parser)
    parser.add_argument("--data", metavar="JSON", help="the data: JSON, @file, or - for standard input (default: null)")
    parser.add_argument("--id", metavar="ID", help="name it: publishing it again within an hour is no second time")
    parser.add_argument("--ephemeral", action="store_true", help="skip the log: at most once, in no order")
    parser.add_argument(
        "--timeout", type=_seconds, metavar="SECONDS", help="how long to try those who do not answer (default: 10)"
    )
    parser.add_argument(
        "--cafile",
        metavar="PATH",
        help="who has signed the processes' certificates, in PEM, where the system does not know",
    )
    _add_common(parser, secret=True, json="print the receipt as a line of JSON")
    parser.set_defaults(module=".notify")


def _add_listen(add: _Add) -> None:
    parser = add(
        "listen",
        usage="skyhooks listen KEY=VALUE… [--since CURSOR] [OPTION]…",
        description="""\
Join as an instance, wait for keys, and print what arrives, a line each, until
Ctrl-C.""",
        epilog=f"""\
examples:
  skyhooks listen account=42
  skyhooks listen account=42 --since start         first what the log has
  skyhooks listen account=42 --json | jq .data
  skyhooks listen task=17 --count 1 --timeout 60   one result, within a minute

Each line of --json has the cursor behind it: --since goes on from there.

{EXITS}""",
    )
    _add_keys(parser)
    parser.add_argument("--since", metavar="CURSOR", help='first what came after this cursor, or "start" for all')
    parser.add_argument("--count", type=_count, metavar="N", help="end after N notifications")
    parser.add_argument(
        "--timeout", type=_seconds, metavar="SECONDS", help="end after so long; exit 1 if too few arrived"
    )
    parser.add_argument(
        "--listen", default="auto", metavar="HOST:PORT", help="where to be rung (default: the system picks a port)"
    )
    parser.add_argument("--pull", action="store_true", help="be rung by nobody: ask the store each second instead")
    _add_common(parser, secret=True)
    parser.set_defaults(module=".listen")


def _add_instances(add: _Add) -> None:
    parser = add(
        "instances",
        usage="skyhooks instances [--json] [--store URL]",
        description="List the web processes that are alive, oldest first.",
        epilog=f"""\
examples:
  skyhooks instances
  skyhooks instances --json | jq -r .url

{EXITS}""",
    )
    _add_common(parser)
    parser.set_defaults(module=".instances")


def _add_hooks(add: _Add) -> None:
    parser = add(
        "hooks",
        usage="skyhooks hooks [KEY=VALUE…] [--json] [--store URL]",
        description="List who waits for what: on these keys, or on all.",
        epilog=f"""\
examples:
  skyhooks hooks
  skyhooks hooks account=42 >/dev/null && echo "somebody waits for it"

{EXITS}""",
    )
    _add_keys(parser, nargs="*")
    _add_common(parser)
    parser.set_defaults(module=".hooks")


def _add_history(add: _Add) -> None:
    parser = add(
        "history",
        usage="skyhooks history KEY=VALUE [--last N] [--json] [--store URL]",
        description="List what a key's log still keeps, oldest first.",
        epilog=f"""\
examples:
  skyhooks history account=42
  skyhooks history account=42 --last 1 --json | jq .data

Each line of --json has the cursor behind it, for skyhooks listen --since.

{EXITS}""",
    )
    parser.add_argument("keys", nargs=1, metavar="KEY=VALUE", help="for example account=42")
    parser.add_argument("--last", type=_count, metavar="N", help="only the newest N")
    _add_common(parser)
    parser.set_defaults(module=".history")


def _add_reap(add: _Add) -> None:
    parser = add(
        "reap",
        usage="skyhooks reap [--json] [--store URL]",
        description="""\
Remove what has expired: instances past their lease, their hooks, notifications
past the retention, keys that nobody has touched for an hour. Web processes do
this by themselves; where none runs for long, a cron job may.""",
        epilog=EXITS,
    )
    _add_common(parser, json="print the counts as a line of JSON")
    parser.set_defaults(module=".reap")


def _add_store(add: _Add) -> None:
    parser = add("store", usage="skyhooks store renew-epochs [OPTION]…", description="Tend the store itself.")
    actions = parser.add_subparsers(
        dest="action", metavar="ACTION", title="actions", required=True, parser_class=_Parser
    )
    renew = actions.add_parser(
        "renew-epochs",
        usage="skyhooks store renew-epochs [--json] [--store URL]",
        help="run this after a backup was restored",
        description="""\
Give every log a new epoch. Run this after a backup was restored, before jobs
go on: the backup lacks notifications that clients have seen, and their cursors
must not be taken for places in its history. Whoever waits is told a gap;
nothing is removed.""",
        epilog=EXITS,
    )
    _add_common(renew, json="print the count as a line of JSON")
    renew.set_defaults(module=".renew_epochs", command="store renew-epochs")


def _add_keys(parser: argparse.ArgumentParser, nargs: str = "+") -> None:
    parser.add_argument("keys", nargs=nargs, metavar="KEY=VALUE", help=_KEY_HELP)


def _add_common(parser: argparse.ArgumentParser, *, secret: bool = False, json: str = _JSON_HELP) -> None:
    parser.add_argument("--json", action="store_true", help=json)
    parser.add_argument("--store", metavar="URL", help=_STORE_HELP)
    if secret:
        parser.add_argument("--secret-file", metavar="PATH", help=_SECRET_HELP)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:20]) < 10**9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 5 or int(text) > 65_532:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to 65532, or 0 for any")
    return int(text)
