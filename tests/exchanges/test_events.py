import traceback

import pytest

from exchanges.events import Credentials, Request

CREDENTIALS = Credentials("canary-key", "canary-secret", "canary-phrase")


@pytest.mark.parametrize("show", [repr, str, "{}".format, lambda value: repr([value]), lambda value: str(value.__rich_repr__())])
def test_credentials_show_nothing_of_themselves(show):
    assert "canary" not in show(CREDENTIALS)


def test_a_traceback_with_locals_shows_nothing_of_credentials():
    try:
        raise ValueError(CREDENTIALS)
    except ValueError as error:
        text = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "canary-key" not in text
    assert "canary-secret" not in text


def test_a_request_shows_what_it_asks_and_not_who_asks():
    request = Request("/accounts", (("limit", "250"),), 2, (("Authorization", "Bearer canary"),), "POST", b"canary")
    assert repr(request) == "Request(POST /accounts, params=(('limit', '250'),), weight=2)"
    assert "canary" not in str(request.__rich_repr__())
