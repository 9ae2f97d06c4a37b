#!/usr/bin/env python
"""Django's command line."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured

WITHOUT_PAGES = {"runexchange", "rundelivery", "exchangectl", "runsandbox"}
"""They serve no page, and weigh two thirds without what pages need: admin, API, log-in, daphne."""


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "livermore.settings")
    if WITHOUT_PAGES.intersection(sys.argv[1:2]):
        os.environ["LIVERMORE_PAGES"] = "no"
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"Livermore did not start: {error}")


if __name__ == "__main__":
    main()
