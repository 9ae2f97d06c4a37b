"""The websocket as an AsyncAPI 3.0 document, from the types of ``alerts.payloads``.

``python -m alerts.asyncapi > docs/asyncapi.yaml`` writes it; tests/test_asyncapi.py says when that is due.
"""

import sys
from typing import Any, get_args, get_type_hints

import msgspec
import yaml

from alerts import payloads

SENT: dict[str, Any] = {get_args(get_type_hints(kind)["type"])[0]: kind for kind in get_args(payloads.Message)}
"""What the server sends in frames, by ``type``."""
SAID: dict[str, Any] = {get_args(get_type_hints(kind)["type"])[0]: kind for kind in get_args(payloads.Said)}
"""What a client says, by ``type``."""

_ABOUT = (
    "One socket for all that a user may see: exchanges, symbols, prices, candles and alerts of every exchange. The handshake carries the"
    " session cookie of /login/, or an API token in the header Authorization, and an Origin of this server. Times are integer milliseconds"
    " UTC. Fields and messages may be added: ignore what you do not know. In prose, with an example of each message:"
    " docs/websocket-contract.md."
)

_SECURITY = [{"$ref": f"#/components/securitySchemes/{name}"} for name in ("session", "token")]


def document() -> dict[str, Any]:
    """The whole document."""
    _, schemas = msgspec.json.schema_components([*SENT.values(), *SAID.values()], ref_template="#/components/schemas/{name}")
    schemas["Frame"] = {
        "title": "Frame",
        "description": "Everything owed at that moment, to be taken in order; `n` counts up by one on this socket.",
        "type": "object",
        "properties": {
            "n": {"type": "integer"},
            "m": {"type": "array", "items": {"oneOf": [_schema(kind) for kind in SENT.values()]}},
        },
        "required": ["n", "m"],
    }
    names = ["frame", *SAID]
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Livermore: /ws/feed/", "version": "1", "description": _ABOUT},
        "defaultContentType": "application/json",
        "servers": {
            "local": {"host": "127.0.0.1:8000", "protocol": "ws", "security": _SECURITY},
            "production": {
                "host": "{host}",
                "protocol": "wss",
                "variables": {"host": {"description": "One of ALLOWED_HOSTS."}},
                "security": _SECURITY,
            },
        },
        "channels": {
            "feed": {
                "address": "/ws/feed/",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
                "bindings": {"ws": {"method": "GET", "headers": _headers(), "bindingVersion": "0.1.0"}},
            }
        },
        "operations": {
            "listen": {"action": "receive", "channel": _channel(), "messages": [_message(name) for name in SAID]},
            "tell": {"action": "send", "channel": _channel(), "messages": [_message("frame")]},
        },
        "components": {
            "securitySchemes": {
                "session": {"type": "httpApiKey", "name": "sessionid", "in": "cookie"},
                "token": {"type": "http", "scheme": "bearer", "description": "An API token, made on the settings page."},
            },
            "messages": {
                "frame": {"payload": {"$ref": "#/components/schemas/Frame"}},
                **{name: {"payload": _schema(kind)} for name, kind in SAID.items()},
            },
            "schemas": {name: schemas[name] for name in sorted(schemas)},
        },
    }


def _schema(kind: Any) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _message(name: str) -> dict[str, str]:
    return {"$ref": f"#/channels/feed/messages/{name}"}


def _channel() -> dict[str, str]:
    return {"$ref": "#/channels/feed"}


def _headers() -> dict[str, Any]:
    names = ("Origin", "Cookie", "Authorization")
    return {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": ["Origin"]}


class _Plain(yaml.SafeDumper):
    """Every value spelled out where it stands."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def text() -> str:
    """The document as YAML."""
    head = "# Written by `python -m alerts.asyncapi > docs/asyncapi.yaml`, from alerts/payloads.py. Not to be edited by hand.\n"
    return head + yaml.dump(document(), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)


if __name__ == "__main__":
    sys.stdout.write(text())
