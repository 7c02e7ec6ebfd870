"""Runs the command line: `python -m skyhooks`."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())
