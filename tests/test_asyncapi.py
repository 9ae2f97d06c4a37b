"""docs/asyncapi.yaml says what alerts/payloads.py does, and what the server says and takes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

from alerts import asyncapi, consumers, payloads, subscriptions

DOCS = Path(__file__).resolve().parents[1] / "docs"
DOCUMENT = yaml.safe_load((DOCS / "asyncapi.yaml").read_text(encoding="utf-8"))
SCHEMAS = DOCUMENT["components"]["schemas"]
KINDS = {**asyncapi.SENT, **asyncapi.SAID}
TYPED = {name: kind for name, kind in vars(payloads).items() if isinstance(kind, type) and hasattr(kind, "__required_keys__")}


def validate(message: Any, schema: str) -> None:
    """Raises ValidationError where a message is not as the document says."""
    Draft202012Validator({"$ref": f"#/components/schemas/{schema}", "components": DOCUMENT["components"]}).validate(message)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_it_is_as_the_code_writes_it():
    assert asyncapi.document() == DOCUMENT, "write it anew: python -m alerts.asyncapi > docs/asyncapi.yaml"


def test_every_reference_leads_somewhere():
    found = set(references(DOCUMENT))
    assert len(found) > 20
    for reference in found:
        place: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_every_message_and_every_field_of_the_code_is_there():
    for name, kind in TYPED.items():
        if name != "ChannelsRequest":
            assert set(SCHEMAS[name]["properties"]) == set(kind.__annotations__), name
            assert set(SCHEMAS[name].get("required", [])) == set(kind.__required_keys__), name
    frame = SCHEMAS["Frame"]["properties"]["m"]["items"]["oneOf"]
    assert [one["$ref"].rpartition("/")[2] for one in frame] == [kind.__name__ for kind in asyncapi.SENT.values()]


def test_what_a_client_may_say_is_what_the_server_reads():
    asked = set(payloads.SubscribeRequest.__annotations__)
    assert asked == set(payloads.UnsubscribeRequest.__annotations__) == set(subscriptions.Request.__struct_fields__)
    said = set(payloads.HelloRequest.__annotations__) | set(payloads.AckRequest.__annotations__)
    assert said == set(consumers.Said.__struct_fields__)


def examples() -> list[dict[str, Any]]:
    text = (DOCS / "websocket-contract.md").read_text(encoding="utf-8")
    found = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]
    return [one for one in found if isinstance(one, dict) and one.get("type") in KINDS]


def test_every_message_has_an_example_in_the_prose():
    assert {one["type"] for one in examples()} == set(KINDS)


@pytest.mark.parametrize("example", examples(), ids=lambda example: str(example["type"]))
def test_the_examples_of_the_prose_are_as_it_says_and_others_are_not(example: dict[str, Any]):
    name = KINDS[example["type"]].__name__
    validate(example, name)
    msgspec.convert(example, KINDS[example["type"]])
    for field in SCHEMAS[name]["properties"].keys() & example.keys():
        with pytest.raises(ValidationError):
            validate({**example, field: {"not": object}}, name)
