"""Docker, through its own command line: what answers, which images there are, and the stacks of compose/."""
