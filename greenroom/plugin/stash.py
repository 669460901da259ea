"""The keys under which the plugin stores data on pytest's own objects."""

from __future__ import annotations

import pytest

from greenroom.worker import Worker

worker_key = pytest.StashKey[Worker]()
