"""The converter: asynchronous tests become synchronous ones.

    files ─► modules and functions ─► values (which client, which session) ─► plan ─► rewritten, tidied, counted

Nothing is imported and nothing is run: everything is read from the sources. What cannot be converted surely stays as it is,
with a reason.
"""
