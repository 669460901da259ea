"""What must not be in the logs."""

import logging


class WithoutQuery(logging.Filter):
    """Cuts the query string off uvicorn's access log: on the way back from a provider it carries a code."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, with the path alone."""
        if isinstance(record.args, tuple) and len(record.args) == 5:
            client, method, path, version, status = record.args
            record.args = (client, method, str(path).partition("?")[0], version, status)
        return True


def install() -> None:
    """Put the filter in place; uvicorn's logger need not exist yet."""
    logging.getLogger("uvicorn.access").addFilter(WithoutQuery())
