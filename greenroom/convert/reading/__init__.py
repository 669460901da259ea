"""What a suite is: its modules, its functions, and which names are one and the same object."""
