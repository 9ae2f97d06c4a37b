"""``python -m benchmarks.idle``: Django with the project's applications, and nothing done with it, until the input ends."""

import sys

import django

if __name__ == "__main__":
    django.setup()
    print("ready", flush=True)
    sys.stdin.read()
