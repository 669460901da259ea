"""Whole requests to the service, over the client."""

import pytest

# Before it is imported: its assertions then show their values, as those in the tests do.
pytest.register_assert_rewrite("tests.api.helpers")
