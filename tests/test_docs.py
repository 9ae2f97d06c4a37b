"""The documentation says what the code does: links lead somewhere, names are those of the code, examples are run."""

import inspect
import json
import re
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_type_hints
from urllib.parse import unquote

import msgspec
import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError

from alerts import payloads
from exchanges import adapters
from exchanges.events import TIMEFRAMES
from exchanges.models import Exchange
from exchanges.status import Status
from livermore import keys
from livermore.entry import find_system_user
from tests.people import person

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "deploy").glob("*.md")])
APPS = ("alerts", "exchanges", "livermore", "market_data", "symbols", "templates", "tests", "docs", "deploy")
MESSAGES = {get_args(get_type_hints(kind)["type"])[0]: kind for kind in get_args(payloads.Message)}


def each_page(function: Any) -> Any:
    return pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))(function)


def text_of(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The fragments that headings have on GitHub."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next one."""
    return re.split(r"^#+ ", text.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def first_cells(text: str) -> Iterator[str]:
    """The code in the first column of every table."""
    for cell in re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE):
        yield from re.findall(r"`([^`]+)`", cell)


def module_of(source: str, name: str) -> ModuleType:
    module = ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
    return module


# Links and names


@each_page
def test_every_relative_link_resolves(page: Path):
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, fragment = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (fragment and fragment not in anchors(target)):
            broken.append(link)
    assert broken == []


@each_page
def test_every_file_it_names_is_there(page: Path):
    named = re.findall(rf"`((?:{'|'.join(APPS)})/[\w./-]*)`", prose(page))
    assert [name for name in named if "lumen" not in name and not (ROOT / name).exists()] == []


def test_the_pages_say_only_what_a_user_has():
    assert len(PAGES) >= 11
    assert [page.name for page in PAGES if "shared/" in page.read_text(encoding="utf-8")] == []


# Names in Redis


def spelled_by_the_code() -> list[str]:
    """Every name that keys.py makes, with its parameters' names in braces."""
    names = []
    for _, function in inspect.getmembers(keys, inspect.isfunction):
        if inspect.signature(function).return_annotation is str and function is not keys.symbol_of:  # that one reads names
            wanted = [item for item in inspect.signature(function).parameters.values() if item.default is inspect.Parameter.empty]
            names.append(function(*(f"{{{item.name}}}" for item in wanted)))
    return names


WHOLE = ("crossing:", "delivery:")
"""Names that hold no id."""


def test_the_redis_contract_lists_exactly_the_names_of_the_code():
    documented = [name for name in first_cells(text_of("redis-contract.md")) if "_id}" in name or name.startswith(WHOLE)]
    assert sorted(documented) == sorted(spelled_by_the_code())


def test_the_fields_of_the_status_hash_are_described():
    described = set(first_cells(section(text_of("redis-contract.md"), "exchange:status")))
    assert set(Status("coinbase").fields()) - described == set()


def test_the_timeframes_are_named():
    assert f"one of {' '.join(TIMEFRAMES)}" in " ".join(text_of("redis-contract.md").split())


# Operations


def test_the_key_to_make_at_each_exchange_is_the_one_its_adapter_asks_for():
    for name in adapters.adapter_choices():
        assert adapters.adapter_for(name[0]).key_help in text_of("operations.md"), name


@pytest.mark.django_db
def test_the_roles_are_those_of_the_database():
    described = re.findall(r"^\| (\w+) \|", section(text_of("operations.md"), "People and roles"), re.MULTILINE)
    assert described == ["role", *Group.objects.order_by("pk").values_list("name", flat=True)]


@pytest.mark.django_db
def test_a_system_user_is_refused_in_the_words_of_the_table():
    person("gone", superuser=True)
    User.objects.filter(username="gone").update(is_active=False)
    person("looker", group="viewer")
    said = section(text_of("operations.md"), "Unattended")
    for name in ("nobody", "gone", "looker"):
        with pytest.raises(CommandError) as refusal:
            find_system_user(name)
        words = re.split(r"[:,(]", str(refusal.value).replace(name, "NAME"))[0].strip()
        assert f"| {words}" in said


# Messages


def examples(name: str) -> list[Any]:
    return [json.loads(block) for block in blocks(text_of(name), "json")]


@pytest.mark.parametrize("name", ["redis-contract.md", "websocket-contract.md"])
def test_the_examples_have_the_types_that_the_code_declares(name: str):
    typed = [example for example in examples(name) if isinstance(example, dict) and example.get("type") in MESSAGES]
    assert len(typed) >= 4
    for example in typed:
        msgspec.convert(example, MESSAGES[example["type"]])


@pytest.mark.parametrize("kind", MESSAGES)
def test_each_message_of_the_socket_has_a_heading_and_an_example_without_unknown_fields(kind: str):
    (block,) = blocks(section(text_of("websocket-contract.md"), kind), "json")
    example = json.loads(block)
    assert example["type"] == kind
    assert set(example) - set(MESSAGES[kind].__annotations__) == set()


def test_the_socket_sends_what_its_table_lists():
    table = section(text_of("websocket-contract.md"), "What the server sends")
    assert sorted(re.findall(r"^\| \[`(\w+)`\]", table, re.MULTILINE)) == sorted(MESSAGES)


def test_an_indicator_in_redis_is_a_reading():
    block = json.loads(blocks(section(text_of("redis-contract.md"), "indicator"), "json")[0])
    assert msgspec.convert(block, payloads.Reading) == block
    assert set(block) == set(payloads.Reading.__annotations__)


@pytest.mark.parametrize("name", ["redis-contract.md", "websocket-contract.md"])
def test_the_python_example_compiles(name: str):
    (program,) = blocks(text_of(name), "python")
    assert "__main__" in compile(program, name, "exec").co_consts


# The walk-through


@pytest.fixture
def lumen(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The adapter of the walk-through, where its own test will look for it."""
    module = module_of(the_block("# exchanges/adapters/lumen.py"), "exchanges.adapters.lumen")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(adapters, "lumen", module, raising=False)
    monkeypatch.setitem(adapters._ADAPTERS, "lumen", module)
    return module


def the_block(start: str) -> str:
    (block,) = [block for block in blocks(text_of("add-an-exchange.md"), "python") if block.startswith(start)]
    return block


def test_the_adapter_of_the_walk_through_offers_what_the_protocol_asks_for(lumen: ModuleType):
    for name, wanted in inspect.getmembers(adapters.Adapter):
        if name.startswith("_"):
            continue
        assert hasattr(lumen, name), name
        if inspect.isfunction(wanted):
            assert list(inspect.signature(getattr(lumen, name)).parameters) == list(inspect.signature(wanted).parameters)[1:], name


def test_the_tests_of_the_walk_through_pass(lumen: ModuleType):
    module = module_of(the_block("# tests/exchanges/adapters/test_lumen.py"), "test_lumen")
    tests = [item for name, item in vars(module).items() if name.startswith("test_")]
    assert len(tests) == 9
    for test in tests:
        marks = getattr(test, "pytestmark", [])
        for arguments in [(value,) for value in marks[0].args[1]] if marks else [()]:
            test(*arguments)


def test_the_row_of_the_walk_through_is_a_valid_exchange(lumen: ModuleType):
    names = {"Decimal": Decimal, "ALL_TIMEFRAMES": list(TIMEFRAMES)}
    rows = eval("{" + the_block('"lumen": {') + "}", names)
    exchange = Exchange(id="lumen", **rows["lumen"])
    exchange.full_clean(validate_unique=False)
    assert exchange.protocol is lumen
