"""``python -m livermore.configure``: write a first .env, or add the secrets that one lacks. What stands there stays."""

import os
import re
import sys
from pathlib import Path

from livermore.configuration import fresh_configuration

SECRETS = ("SECRET_KEY", "FIELD_KEYS")


def configure(path: Path) -> str:
    """Write or complete the file, readable by its owner only. Returns what was done, as a sentence."""
    text = fresh_configuration()
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    except FileExistsError:
        return _complete(path, text)
    return f"wrote {path.name}"


def _complete(path: Path, fresh: str) -> str:
    standing = path.read_text(encoding="utf-8")
    missing = [name for name in SECRETS if not re.search(rf"^\s*(export\s+)?{name}\s*=[ \t]*\S", standing, re.MULTILINE)]
    if not missing:
        return f"kept {path.name}"
    # A line without a value, as in .env.example, has to go: the first line of a name is the one that counts.
    standing = re.sub(rf"^[ \t]*(export\s+)?({'|'.join(missing)})\s*=[ \t]*\n?", "", standing, flags=re.MULTILINE)
    lines = [line for line in fresh.splitlines(keepends=True) if line.partition("=")[0] in missing]
    path.chmod(0o600)
    path.write_text("".join([standing, "" if not standing or standing.endswith("\n") else "\n", *lines]), encoding="utf-8")
    return f"added {' and '.join(missing)} to {path.name}"


def main() -> None:
    path = Path(__file__).resolve().parent.parent / ".env"
    try:
        sys.stdout.write(f"{configure(path)}\n")
    except OSError as error:
        sys.exit(f"Could not write {path}: {error.strerror}. Make the directory writable, or set the variables of .env.example yourself.")


if __name__ == "__main__":
    main()
