"""Runs as CI wants them: reports that are whole, shards of a suite, and the shards' reports merged."""
