"""The one way from async code to the database.

Unlike the native async ORM, it gives a long-running process a fresh connection after PostgreSQL dropped the old one.
"""

from channels.db import database_sync_to_async as db

__all__ = ["db"]
