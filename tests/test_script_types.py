"""skyhooks.js as TypeScript reads it: its JSDoc is what an application's editor knows of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import skyhooks

SCRIPT = Path(skyhooks.__file__).with_name("_bridge") / "skyhooks.js"
TYPESCRIPT = "typescript@7.0.2"
USE = """
import {subscribe} from "./skyhooks.js";

const subscription = subscribe({events: "/events", socket: new URL("wss://other.example/socket")}, {
  onNotification: ({data, cursor, sentAt}) => console.log(data.rows, cursor.length, (sentAt ?? 0) + 1),
  onGap: ({reason}) => reason === "trimmed",
  onState: (state, {transport}) => state === "open" && transport === "poll",
  transports: ["socket", "events"],
});
const cursor: string | null = subscription.cursor;
subscription.retry();
subscription.close();
// @ts-expect-error
subscription.cursor = cursor;
// @ts-expect-error
subscribe("/events", {onNotification: () => {}});
// @ts-expect-error
subscribe("/events", {onNotification: () => {}, onGap: ({reason}) => reason === "lost"});
"""


@pytest.fixture
def tsc():
    npm = shutil.which("npm")
    if npm is None:
        reason = "no npm on PATH, which brings TypeScript"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    options = "--noEmit --allowJs --checkJs --strict --target es2022 --module es2022 --lib es2022,dom,dom.iterable"
    return [npm, "exec", "--yes", f"--package={TYPESCRIPT}", "--", "tsc", *options.split()]


def test_the_types_of_the_demos_page_hold(tsc, tmp_path):
    for file in [SCRIPT, *Path(skyhooks.__file__).with_name("demo").glob("page/*.js")]:
        shutil.copy(file, tmp_path)
    run = subprocess.run([*tsc, "page.js"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "")


def test_the_types_of_its_jsdoc_hold_within_and_for_who_uses_it(tsc, tmp_path):
    shutil.copy(SCRIPT, tmp_path)
    (tmp_path / "use.ts").write_text(USE, encoding="utf-8")
    run = subprocess.run([*tsc, "use.ts", SCRIPT.name], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "")
