"""The programs of the documents, written out as files to be run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"
REDIS = "redis://127.0.0.1:6379/0"
_PROGRAM = re.compile(r"<!-- (\S+\.py) -->\n```python\n(.*?)```", re.DOTALL)


def write_programs(document, folder, redis_url=REDIS):
    """Write all programs of a document into a folder, with the broker that there is."""
    found = _PROGRAM.findall((DOCS / document).read_text(encoding="utf-8"))
    assert found, f"no program in {document}"
    for name, text in found:
        (folder / name).write_text(text.replace(REDIS, redis_url), encoding="utf-8")
