"""``python -m tokendrop.cli``: the same as ``tokendrop``."""

from __future__ import annotations

import sys

from tokendrop.cli import main

sys.exit(main())
