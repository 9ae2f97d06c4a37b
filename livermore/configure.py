"""``python -m livermore.configure``: write a first .env with secrets of this installation's own."""

import sys
from pathlib import Path

from livermore.configuration import write_configuration


def main() -> None:
    path = Path(__file__).resolve().parent.parent / ".env"
    written = write_configuration(path)
    sys.stdout.write(f"{'wrote' if written else 'kept'} {path.name}\n")


if __name__ == "__main__":
    main()
