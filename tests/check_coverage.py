"""Judge the combined coverage: the pure core in full, branches included; every other file above 90 %, the suites together."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

PURE = frozenset(
    """
    _bridge/audience _bridge/door _bridge/options _bridge/refusals _bridge/events _bridge/feed _bridge/messages _bridge/poll _bridge/script
    _http/client _http/head _http/parser _http/requests _http/server _callbacks _cursor _dates _dispatch _identity _inbox _json _keys
    _lane _notification _policy _registration _replay _signing _stream _track _unpinned _urls _values _wire
    """.split()  # noqa: SIM905 - quotes around each would not make it plainer
)
UNSEEN = {
    "checkpoints": "its work is done by a native thread, which coverage cannot follow",
    "native": "it starts that thread, and has a branch for gevent",
    "_store_worker": "it runs in processes that are killed",
    "web_gevent": "coverage sees nothing of its main, in a process that gevent has patched; test_demo_mixed runs it",
}
SUITES = "/testing/"
WHOLE = 100.0
LEAST = 90.0


def main() -> int:
    files = {name: file for name, file in sorted(report().items()) if Path(name).stem not in UNSEEN}
    suites = [file for name, file in files.items() if SUITES in name]
    faults = [fault(name, file) for name, file in files.items() if SUITES not in name and not enough(name, file)]
    if together(suites) < LEAST:
        faults.append(f"the suites together: {together(suites):.1f} %, wanted {LEAST:g} %")
    print("\n".join(faults) or f"{len(files)} files are covered as they should be")
    print("not judged:", "; ".join(f"{name}, since {reason}" for name, reason in UNSEEN.items()))
    return bool(faults)


def report():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coverage.json"
        subprocess.run([sys.executable, "-m", "coverage", "json", "-q", "-o", str(path)], check=True)
        return json.loads(path.read_text(encoding="utf-8"))["files"]


def enough(name, file):
    return file["summary"]["percent_covered"] >= least(name)


def least(name):
    return WHOLE if name.rpartition("skyhooks/")[2].removesuffix(".py") in PURE else LEAST


def fault(name, file):
    missing = f"missing {file['missing_lines']} {file['missing_branches']}"
    return f"{name}: {file['summary']['percent_covered']:.1f} %, wanted {least(name):g} %; {missing}"


def together(files):
    there = sum(file["summary"]["num_statements"] + file["summary"]["num_branches"] for file in files)
    seen = sum(file["summary"]["covered_lines"] + file["summary"]["covered_branches"] for file in files)
    return 100.0 * seen / there


if __name__ == "__main__":
    sys.exit(main())
