"""What the plugin keeps on pytest's own objects."""

from __future__ import annotations

import pytest

from greenroom.stage import Stage

stage_key = pytest.StashKey[Stage]()
