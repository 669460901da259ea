"""Whether something is lost: counted, and run before and after."""
