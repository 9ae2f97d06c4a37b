"""Each row of the threat model in docs/security.md has its proof here, or names where else it is."""

import os

import pytest

LONG = bool(os.environ.get("SECURITY_LONG"))
"""SECURITY_LONG=1: the whole number of hostile messages and generated requests, which takes minutes."""
long = pytest.mark.skipif(not LONG, reason="takes long: run with SECURITY_LONG=1")
