"""What becomes synchronous, and what stays as it is."""
