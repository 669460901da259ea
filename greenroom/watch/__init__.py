"""What is noticed while the tests run: connections on the wrong loop, lazy loads, queries that repeat, who holds a connection.

SQLAlchemy's engines and sessions are watched, those of the application and those of the tests. A connection that is made
straight with a driver is not seen.
"""

from greenroom.watch.connection_holders import Holder, holders
from greenroom.watch.queries import Queries, Query

__all__ = ["Holder", "Queries", "Query", "holders"]
