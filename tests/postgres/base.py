"""The database backend of tests on PostgreSQL."""

from collections.abc import Sequence
from typing import Any

from django.db.backends.postgresql import base, operations


class DatabaseOperations(operations.DatabaseOperations):
    def sql_flush(self, style: Any, tables: Sequence[str], *, reset_sequences: bool = False, allow_cascade: bool = False) -> list[str]:
        """DELETE, not TRUNCATE: of some fifty nearly empty tables that takes 10 ms, not 300, after each test that commits.

        In one transaction, at whose end the foreign keys are looked at: their order does not matter.
        """
        if reset_sequences:
            return list(super().sql_flush(style, tables, reset_sequences=True, allow_cascade=allow_cascade))
        return [f"DELETE FROM {self.quote_name(table)};" for table in tables]


class DatabaseWrapper(base.DatabaseWrapper):
    ops_class = DatabaseOperations
