"""Measurements against the goals: each a ratio to a named peer or limit that is measured in the same run. docs/benchmarks.md has the table.

``python -m benchmarks [SUBJECT]…``; a subject is one module, named in ``benchmarks.subjects``.
"""
