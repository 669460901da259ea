"""Runs for CI: complete reports, shards of a suite, and the merging of their reports."""
