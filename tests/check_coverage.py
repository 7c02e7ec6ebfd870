"""Judge the combined coverage: the pure core is covered in full, branches included, and every other file above 90 %."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

PURE = (
    "_callbacks", "_cursor", "_dates", "_dispatch", "_http_client", "_http_head", "_http_parser", "_http_requests", "_http_server", "_identity", "_inbox", "_json", "_keys",
    "_lane", "_notification", "_policy", "_registration", "_replay", "_signing", "_stream", "_track", "_unpinned", "_urls", "_values", "_wire",
)  # fmt: skip
WHOLE = 100.0
LEAST = 90.0


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "coverage.json"
        subprocess.run([sys.executable, "-m", "coverage", "json", "-q", "-o", str(report)], check=True)
        files = json.loads(report.read_text(encoding="utf-8"))["files"]
    faults = []
    for name, file in sorted(files.items()):
        covered = file["summary"]["percent_covered"]
        least = WHOLE if Path(name).stem in PURE else LEAST
        if covered < least:
            faults.append(
                f"{name}: {covered:.1f} %, wanted {least:g} %; missing {file['missing_lines']} {file['missing_branches']}"
            )
    print("\n".join(faults) or f"{len(files)} files are covered as they should be")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
