"""Texts with errors in them, as terminals, logs, CI jobs and error trackers have them: their lines, their forms, their failures."""
