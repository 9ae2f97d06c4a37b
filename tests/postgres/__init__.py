"""Django's PostgreSQL, but for how tables are emptied between tests."""
