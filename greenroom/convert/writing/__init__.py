"""The new text: rewritten, tidied, formatted."""
