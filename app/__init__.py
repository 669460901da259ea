"""A service that connects its users to financial data providers, async from end to end."""
