"""What the service does, apart from HTTP.

Every function takes an AsyncSession first and, where it acts for somebody, that user's id; it commits what it
did and raises a `Problem` when it cannot.
"""
