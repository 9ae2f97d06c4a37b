"""Runs the tests of the page's pure modules, tests/js/*.test.mjs, where Node is installed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

TESTS = sorted(str(path) for path in (Path(__file__).parent / "js").glob("*.test.mjs"))
OLDEST = (20, 19)
"""The first Node that takes a .js file with `import` in it for a module without being told."""


def _node() -> str:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed: the page's JavaScript modules are not tested")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    found = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if found < OLDEST:
        pytest.skip(f"Node {version.strip()} is too old for the page's JavaScript modules: 20.19 or newer is needed")
    return node


def test_the_pages_pure_modules_pass_their_own_tests() -> None:
    run = subprocess.run([_node(), "--test", "--test-reporter=tap", *TESTS], capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    assert int(re.findall(r"^# pass (\d+)$", run.stdout, re.MULTILINE)[0]) >= len(TESTS)
