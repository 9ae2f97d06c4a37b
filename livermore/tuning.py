"""How often a process that lives long looks for garbage."""

import gc

from django.conf import settings

THRESHOLDS = (50_000, 20, 100)
"""Python's own first one, 700, has a process that decodes thousands of messages a second look for garbage many times a second."""


def settle() -> None:
    """What is loaded by now stays for good: leave it out of every later look for garbage, and look less often."""
    if settings.GC_TUNING:
        gc.collect()
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)
