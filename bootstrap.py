"""Install what Livermore needs into an environment of its own, and run the demo from it. Standard library only.

python bootstrap.py run [ARGUMENT]…   .venv with requirements.txt, a first .env, then `manage.py demo ARGUMENT…`
python bootstrap.py dev               .venv-dev with requirements.txt and requirements-dev.txt, for tests and checks

Two environments, so that what runs is never more than what is needed to run: the tests' tools are larger than Livermore.
An environment is brought up to date when the requirements have changed; otherwise this costs nothing.
"""

import hashlib
import os
import subprocess  # nosec B404  # programs of ours, never a shell
import sys
import time
from collections.abc import Sequence
from pathlib import Path

HOME = Path(__file__).resolve().parent
UV_REQUIREMENTS = HOME / "requirements-uv.txt"
PATIENCE_SECONDS = 20


def main(arguments: Sequence[str]) -> None:
    os.chdir(HOME)
    match arguments:
        case ["run", *rest]:
            began = time.monotonic()
            python = install(HOME / ".venv", [HOME / "requirements.txt"])
            if not (HOME / ".env").exists():
                subprocess.run([python, "-m", "livermore.configure"], check=True, stdout=subprocess.DEVNULL)  # nosec B603  # a fixed program, no shell
            os.execv(python, [python, "manage.py", "demo", "--installed-in", f"{time.monotonic() - began:.1f}", *rest])  # nosec B606  # our own program
        case ["dev"]:
            install(HOME / ".venv-dev", [HOME / "requirements.txt", HOME / "requirements-dev.txt"])
        case _:
            sys.exit(__doc__)


def install(environment: Path, requirements: Sequence[Path]) -> str:
    """Make the environment hold exactly these requirements. Returns the path of its Python."""
    python = environment / "bin" / "python"
    stamp = environment / ".livermore-requirements"
    wanted = _fingerprint(requirements)
    if not _works(python):
        _say(f"Making {environment.name} with Python {sys.version.split()[0]} …")
        _make(environment)
    elif stamp.exists() and stamp.read_text() == wanted:
        return str(python)
    stamp.unlink(missing_ok=True)
    _say(f"Installing the requirements into {environment.name}: less than a minute on a usual line …")
    if not (_has_uv(python) and _sync_with_uv(python, requirements)):
        _install_with_pip(python, requirements)
    stamp.write_text(wanted)
    return str(python)


def _fingerprint(requirements: Sequence[Path]) -> str:
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in requirements)).hexdigest()


def _works(python: Path) -> bool:
    """Whether there is an environment, and the Python it was made from is still there and new enough."""
    probe = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    return python.exists() and subprocess.run([python, "-c", probe], capture_output=True, check=False).returncode == 0  # nosec B603  # a fixed program, no shell


def _make(environment: Path) -> None:
    done = _patiently([sys.executable, "-m", "venv", "--clear", str(environment)])
    if done.returncode:
        version = "{}.{}".format(*sys.version_info)
        _give_up(
            done,
            f"Python could not make a virtual environment. On Debian or Ubuntu: apt install python{version}-venv; then run this again.",
        )


def _has_uv(python: Path) -> bool:
    """uv installs in a third of pip's time; where it cannot be had, pip does."""
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    return _patiently([*pip, "--require-hashes", "-r", str(UV_REQUIREMENTS)]).returncode == 0


def _sync_with_uv(python: Path, requirements: Sequence[Path]) -> bool:
    command = [str(python), "-m", "uv", "--quiet", "--no-config", "pip", "sync", "--require-hashes", "--compile-bytecode"]
    return _patiently([*command, "--python", str(python), *map(str, requirements)]).returncode == 0


def _install_with_pip(python: Path, requirements: Sequence[Path]) -> None:
    files = [word for path in requirements for word in ("-r", str(path))]
    done = _patiently(
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--require-hashes", *files]
    )
    if done.returncode:
        _give_up(
            done,
            "The requirements could not be installed. If the package index did not answer, check the network, the proxy and pip's "
            "own settings (pip config list), and run this again: what was fetched is kept.",
        )


def _patiently(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run a command, saying now and then that it is still at work."""
    began = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:  # nosec B603  # a fixed program, no shell
        while True:
            try:
                output, _ = process.communicate(timeout=PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                _say(f"  still at it after {time.monotonic() - began:.0f} s: the package index, or this machine, is slow")
                continue
            return subprocess.CompletedProcess(command, process.returncode, output)


def _give_up(done: "subprocess.CompletedProcess[str]", sentence: str) -> None:
    said = "\n".join(f"  {line}" for line in done.stdout.strip().splitlines()[-5:])
    sys.exit(f"{said}\n{sentence}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit("Interrupted; the same command goes on from here.")
    except OSError as error:
        sys.exit(f"The installation stopped: {error}.")
