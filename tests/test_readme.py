"""The README's programs run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from documents import README, programs

LIMIT_SECONDS = 30
WEB = {"tornado": "web", "gevent": "web-gevent", "twisted": "web-twisted"}


def program(name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert found, f"no program {name!r} in the README"
    return found[1]


@pytest.mark.parametrize("framework", [pytest.param(name, marks=getattr(pytest.mark, name)) for name in WEB])
def test_a_result_goes_from_the_job_of_the_readme_to_its_web_side(tmp_path, framework):
    web = subprocess.Popen(
        [sys.executable, "-c", program(WEB[framework])], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    try:
        job = run_until_somebody_waits(tmp_path)
        line = web.stdout.readline()
    finally:
        web.terminate()
        web.communicate(timeout=LIMIT_SECONDS)
    assert line.strip() == "account=42 {'rows': 12}"
    assert "callbacks have it" in job or "nobody waits now" in job


def run_until_somebody_waits(folder):
    """The job may be first: then the web side finds the result in the log, and the job, run twice, does no harm."""
    job = subprocess.run(
        [sys.executable, "-c", program("job")],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=True,
    )
    return job.stdout


def test_the_programs_are_as_short_as_is_said():
    job = [line for line in program("job").splitlines() if line.strip()]
    for name in WEB.values():
        assert len([line for line in program(name).splitlines() if line.strip()]) <= 10
    assert len(job) <= 5


def test_the_way_from_a_task_to_the_browser_is_as_short_as_is_said():
    """Without imports, and the page's tags; tests/test_script_celery.py runs it."""
    beside = re.compile(r"\s*(from |import |<|$)")
    lines = {
        name: [line for line in text.splitlines() if not beside.match(line)] for name, text in programs(README).items()
    }
    assert {name: len(found) for name, found in lines.items()} == {"tasks.py": 5, "web.py": 10, "page.html": 2}
