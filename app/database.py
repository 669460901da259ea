"""What the database says when a statement fails."""

from sqlalchemy.exc import DBAPIError


def violated_constraint(error: DBAPIError) -> str | None:
    """Name of the database constraint that made a statement fail, None where there was none."""
    name: str | None = getattr(error.driver_exception, "constraint_name", None)
    return name


def sqlstate(error: DBAPIError) -> str | None:
    """PostgreSQL's five-character code of an error, None where the server did not speak."""
    code: str | None = getattr(error.driver_exception, "sqlstate", None)
    return code
