"""What explanations and the watch both stand on: frames, attributes, engines and loops in words, and the form of what is said.

Nothing here imports `greenroom.explain`, which is not imported before a test has failed.
"""
