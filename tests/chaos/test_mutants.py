"""The planted faults of ``make chaos-mutants`` can still be planted: the source they change is there."""

import ast
from pathlib import Path

import pytest

from tests.chaos.mutants import MUTANTS, ROOT, Edit, Mutant, plant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_fault_can_be_planted(mutant: Mutant, tmp_path: Path) -> None:
    for path in {edit.path for edit in mutant.edits}:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text((ROOT / path).read_text(encoding="utf-8"), encoding="utf-8")
    for edit in mutant.edits:
        plant(edit, tmp_path)
        if edit.path.endswith(".py"):
            ast.parse((tmp_path / edit.path).read_text(encoding="utf-8"))
    for test in mutant.tests:
        path, _, name = test.partition("::")
        assert (ROOT / path).is_file()
        assert name in (ROOT / path).read_text(encoding="utf-8")


def test_one_whose_source_has_moved_on_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("a = 1\na = 1\n")
    with pytest.raises(ValueError, match="stands there 2 times"):
        plant(Edit("module.py", "a = 1", "a = 2"), tmp_path)
    with pytest.raises(ValueError, match="stands there 0 times"):
        plant(Edit("module.py", "b = 1", "b = 2"), tmp_path)


def test_there_are_twelve() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == 12
