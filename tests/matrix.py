"""The conformance matrix as a table: each behaviour, in each way to be rung and with each client.

`python tests/matrix.py` runs the suites and prints it; `python tests/matrix.py FOLDER` prints it from the JUnit files that
runs have left there, as tox does. Its status is 0 only if every cell is filled and good.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

HERE = Path(__file__).parent
PYTEST = ("-m", "pytest")
RUNS = {
    "asyncio": (PYTEST, ("test_asyncio.py", "test_blocking.py", "test_requests_notifier.py")),
    "tornado": (PYTEST, ("test_tornado.py",)),
    "gevent": ((str(HERE / "gevent_pytest.py"),), ("test_gevent.py",)),
    "twisted": (PYTEST, ("test_twisted.py",)),
}
"""What starts pytest for the suites of each world, and where they are; what is not installed leaves its cells empty."""


class Way(NamedTuple):
    """A column: whose registries, how they are rung, and by which client; `theirs` is the framework's own."""

    world: str
    listener: str
    client: str


MOUNTED = {"tornado": "MountedHandler", "gevent": "MountedApp", "twisted": "MountedResource"}
CLIENTS = {"tornado": "TornadosClient", "gevent": "Session", "twisted": "Treq"}
WAYS = {
    f"test_{world}.Test{rung}{client}": Way(world, listener, sender)
    for world in CLIENTS
    for rung, listener in (("OwnListener", "own"), (MOUNTED[world], "mounted"))
    for client, sender in (("OwnClient", "own"), (CLIENTS[world], "theirs"))
} | {
    "test_asyncio.TestAsyncio": Way("asyncio", "own", "own"),
    "test_blocking.TestBlocking": Way("asyncio", "own", "blocking"),
    "test_requests_notifier.TestBlockingOverRequests": Way("asyncio", "own", "requests"),
}

Cell = str
"""`+`: as everywhere. `F`: failed. A number: the remark below the table says how it differs."""


class Matrix:
    """What the suites have said, cell by cell."""

    def __init__(self) -> None:
        self.cells: dict[tuple[str, Way], Cell] = {}
        self.remarks: list[str] = []

    def read(self, path: Path) -> None:
        """Take the results of one run."""
        for case in ET.parse(path).iter("testcase"):
            way = WAYS.get(".".join(case.get("classname", "").split(".")[-2:]))
            if way is not None and (name := _behaviour(case)):
                self.cells[name, way] = self._worse(self.cells.get((name, way), "+"), self._cell(case))

    @property
    def rows(self) -> list[str]:
        return sorted({name for name, _ in self.cells})

    @property
    def ways(self) -> list[Way]:
        return list(WAYS.values())

    @property
    def whole(self) -> bool:
        """Whether no cell is empty or bad."""
        return all(self.cells.get((name, way), "F") != "F" for name in self.rows for way in self.ways)

    def show(self) -> str:
        """Write the table."""
        width = max(map(len, self.rows), default=0)
        heads = [" " * width + "  " + " ".join(f"{word:9}" for word in words) for words in zip(*self.ways, strict=True)]
        lines = [
            f"{name:{width}}  " + " ".join(f"{self.cells.get((name, way), ''):9}" for way in self.ways)
            for name in self.rows
        ]
        remarks = [f"{number}: {remark}" for number, remark in enumerate(self.remarks, 1)]
        filled = sum((name, way) in self.cells for name in self.rows for way in self.ways)
        bad = sum(cell == "F" for cell in self.cells.values())
        count = f"{len(lines)} behaviours, {len(self.ways)} ways: {filled} cells, {bad} bad, {len(lines) * len(self.ways) - filled} empty"
        return "\n".join((*heads, "", *lines, "", *remarks, "", count))

    def _cell(self, case: ET.Element) -> Cell:
        if case.find("failure") is not None or case.find("error") is not None:
            return "F"
        skipped = case.find("skipped")
        if skipped is not None:
            return self._remark(skipped.get("message", ""))
        differs = [one.get("value", "") for one in case.iter("property") if one.get("name") == "differs"]
        return self._remark(differs[0]) if differs else "+"

    def _remark(self, text: str) -> Cell:
        if text not in self.remarks:
            self.remarks.append(text)
        return str(self.remarks.index(text) + 1)

    @staticmethod
    def _worse(one: Cell, other: Cell) -> Cell:
        return "F" if "F" in {one, other} else max(one, other)


def _behaviour(case: ET.Element) -> str:
    return case.get("name", "").removeprefix("test_").replace("_", " ")


def run(folder: Path) -> None:
    """Run all suites that this interpreter has the packages for."""
    for name, (pytest, files) in RUNS.items():
        command = [
            sys.executable,
            *pytest,
            "-q",
            f"--junitxml={folder / name}.xml",
            *(str(HERE / file) for file in files),
        ]
        subprocess.run(command, check=False)


def main() -> int:
    matrix = Matrix()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[1]) if sys.argv[1:] else Path(scratch)
        if not sys.argv[1:]:
            run(folder)
        for path in sorted(folder.glob("*.xml")):
            matrix.read(path)
    print(matrix.show())
    return not matrix.whole


if __name__ == "__main__":
    sys.exit(main())
