"""What greenroom uses of other libraries that they do not promise: one module for each library, and nothing elsewhere.

Each module says for which versions it holds, and tests/greenroom/test_private.py fails where it no longer does.
"""
