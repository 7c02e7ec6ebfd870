"""Who may import whom, and what the core never names: read from the sources, as DESIGN section 4 says."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import skyhooks

ROOT = Path(skyhooks.__file__).parent


def words(text):
    return text.split()


ORDER = words("""
exceptions _keys _values _cursor _json _notification abc
_registration _track _callbacks _dispatch _stream
_dates _wire _signing _replay _http.parser _http.head _http.client _http.requests _http.server _http _urls _policy _identity
_lane _stores _fetcher _hooks _ping _inbox _lease _heartbeat _registry _sending _delivery _backlog _targets _notifier
_bridge _bridge.options _bridge.refusals _bridge.door _bridge.feed _bridge.audience _bridge.events _bridge.messages _bridge.poll _bridge.script
_driver _calls _settings _life _tls _faults _pool _resolver _unpinned _attempts
_answering _bridge.socket
_blocking_verbs _requests
blocking._readiness blocking._turns blocking._exchange blocking._sockets blocking._fan blocking._workers blocking._runtime
blocking._notifier blocking
_asyncio _asyncio.runtime _asyncio.client _asyncio.listener _asyncio.io _asyncio.stream _asyncio.registry _asyncio.notifier
tornado._client tornado._registry tornado._notifier tornado._handler tornado._bridge tornado._reading tornado._socket
tornado._script tornado
gevent._fork gevent._greenlets gevent._operations gevent._runtime gevent._client gevent._clients gevent._listener gevent._calls
gevent._stream gevent._registry gevent._notifier gevent._app gevent._handler
gevent._connection gevent._bridge gevent._reading gevent._frames gevent._socket gevent._script gevent
twisted._reactor twisted._deferred twisted._tasks twisted._threads twisted._runtime twisted._names twisted._errors twisted._tls
twisted._client twisted._treq twisted._listener twisted._stream twisted._registry twisted._notifier twisted._resource
twisted._site twisted._log twisted._service
twisted._visit twisted._bridge twisted._events twisted._poll twisted._socket twisted._script twisted
celery._event celery._courier celery._installation celery._signals celery
""")
"""All modules but those of the packages behind them: each imports only from those before it. A new one is listed here, once."""

BEHIND = {"backends", "testing", "cli", "demo"}
"""Packages that stand on the whole, or on its contract alone."""

PURE = set(
    words("""
    _keys _values _cursor _json _notification _registration _track _callbacks _dispatch _stream _dates _wire _signing _replay
    _http.parser _http.head _http.client _http.requests _http.server _http _urls _policy _identity
    _bridge _bridge.options _bridge.refusals
""")
)
CORE = set(ORDER[: ORDER.index("_driver")])
"""What names no loop and no clock; behind it come the worlds, each with its own."""

GUARDED = {"_lane", "_sending", "_notifier", "_backlog", "_targets"}
"""Where a plain lock guards a queue or a count."""

FRAMEWORKS = {"asyncio", "tornado", "gevent", "twisted", "treq", "requests", "urllib3", "pymongo", "celery"}
DRIVERS = {"apsw", "sqlite3", "pymongo"}
OUTSIDE = set(
    words("""
    os io sys socket ssl select selectors subprocess pathlib tempfile random secrets logging warnings
""")
)
BACKENDS_MAY = {"exceptions", "_keys", "_values", "abc"}


def sources(below=ROOT):
    return sorted(below.rglob("*.py"))


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def path_of(module):
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def parse(module):
    return ast.parse(path_of(module).read_text())


def nodes(tree):
    """Walk a tree, passing over what only a type checker sees."""
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and getattr(child.test, "id", "") == "TYPE_CHECKING"):
            yield child
            yield from nodes(child)


def ours(module):
    """Return the modules of this package that a module imports, from wherever in it."""
    parts = module.split(".")
    package = parts if path_of(module).name == "__init__.py" else parts[:-1]
    found = set()
    for node in nodes(parse(module)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found.update(".".join([*base, name]) for name in names)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            assert "skyhooks" not in names_of(node), f"{module} names its own package absolutely"
    return found


def names_of(node):
    names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
    return {name.partition(".")[0] for name in names}


def theirs(module):
    """Return the top-level modules outside this package that a module imports."""
    imports = [node for node in nodes(parse(module)) if isinstance(node, ast.Import | ast.ImportFrom)]
    return {name for node in imports if not getattr(node, "level", 0) for name in names_of(node)}


def test_every_module_has_its_place_in_the_order():
    there = {name_of(path) for path in sources() if path.relative_to(ROOT).parts[0] not in BEHIND}
    assert sorted(ORDER) == sorted(there - {"", "__main__"})


@pytest.mark.parametrize("module", ORDER)
def test_imports_only_from_modules_before_it(module):
    assert ours(module) <= set(ORDER[: ORDER.index(module)])


@pytest.mark.parametrize("module", sorted(CORE))
def test_the_core_names_no_loop_no_clock_and_no_framework(module):
    banned = FRAMEWORKS | DRIVERS | {"time", "threading", "concurrent", "queue"}
    assert theirs(module) & banned <= ({"threading"} if module in GUARDED else set())


@pytest.mark.parametrize("module", sorted(GUARDED))
def test_of_threads_the_core_takes_nothing_but_a_lock(module):
    imports = [node for node in nodes(parse(module)) if isinstance(node, ast.Import | ast.ImportFrom)]
    threading = [node for node in imports if "threading" in names_of(node)]
    assert all(isinstance(node, ast.ImportFrom) for node in threading)
    assert {alias.name for node in threading for alias in node.names} <= {"Lock"}


@pytest.mark.parametrize("module", sorted(PURE))
def test_the_pure_modules_reach_nothing_outside(module):
    assert not theirs(module) & OUTSIDE
    called = {getattr(node.func, "id", "") for node in nodes(parse(module)) if isinstance(node, ast.Call)}
    assert not called & {"open", "print", "input", "exec", "eval"}
    read = {node.attr for node in nodes(parse(module)) if isinstance(node, ast.Attribute)}
    assert not read & {"now", "utcnow", "today", "monotonic", "perf_counter", "getLogger"}


@pytest.mark.parametrize("module", sorted(PURE))
def test_the_pure_modules_import_nothing_of_the_core_that_is_not_pure(module):
    assert ours(module) <= PURE | {"exceptions", "abc"}


@pytest.mark.parametrize("world", ["tornado", "gevent", "twisted"])
def test_adapters_import_neither_each_other_nor_a_backend(world):
    mine = [module for module in ORDER if module.partition(".")[0] == world]
    others = {"tornado", "gevent", "twisted"} - {world}
    for module in mine:
        imported = {name.partition(".")[0] for name in ours(module)}
        assert not imported & {*others, "backends"}
        assert not theirs(module) & others


@pytest.mark.parametrize("module", ORDER)
def test_only_entry_points_lead_to_a_backend(module):
    assert not {name for name in ours(module) if name.partition(".")[0] in BEHIND}


@pytest.mark.parametrize("path", sources(ROOT / "backends"), ids=name_of)
def test_a_backend_imports_only_the_contract_and_its_siblings(path):
    assert {name for name in ours(name_of(path)) if not name.startswith("backends.")} <= BACKENDS_MAY


def test_backends_do_not_know_each_other():
    modules = [name_of(path).split(".") for path in sources(ROOT / "backends")]
    homes = {module[1] for module in modules if len(module) > 1}
    stores = {home for home in homes if not home.startswith("_")}
    for module in modules[1:]:
        imported = {name.split(".")[1] for name in ours(".".join(module)) if name.startswith("backends.")}
        assert not imported & (stores - {module[1]})


def test_importing_skyhooks_brings_no_framework_and_no_driver():
    code = "import sys, skyhooks; print(*sys.modules)"
    # coverage, where it measures this run, starts in every child, and brings its own database driver along.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, env=environment
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "skyhooks" in loaded
    assert not loaded & (FRAMEWORKS | DRIVERS)
