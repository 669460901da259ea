"""The converter: asynchronous tests become synchronous ones.

    reading (modules, functions, which client is which) ─► planning ─► writing ─► checking (counted, run before and after)

Nothing is imported and nothing is run: everything is read from the sources. What cannot be converted surely stays as it is,
with a reason.
"""
