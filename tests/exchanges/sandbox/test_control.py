"""The control endpoint: faults and clock from another process."""

from typing import Any

import pytest

from exchanges.sandbox.clock import RunningClock
from tests.exchanges.sandbox.conftest import BINANCE, COINBASE, START, Bench, serving


async def _control(bench: Bench, method: str, path: str = "", **settings: Any) -> Any:
    return await bench.http.request(method, bench.sandbox.control_url + path, **settings)


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_fault_is_set_listed_and_cleared_over_http(bench: Bench, method: str) -> None:
    answer = await _control(bench, method, "/faults", json={"name": "rest-status", "venue": BINANCE, "status": 429, "count": 2})
    told = {
        "id": 1,
        "name": "rest-status",
        "venue": BINANCE,
        "probability": 1.0,
        "count": 2,
        "struck": 0,
        "arguments": {"status": 429, "retry_after": 0},
    }
    assert (answer.status_code, answer.json()) == (200, told)
    assert (await bench.get(BINANCE, "/time")).status_code == 429
    assert (await _control(bench, "GET", "/faults")).json()["faults"] == [{**told, "struck": 1}]
    assert (await _control(bench, "DELETE", "/faults?id=1")).json() == {"cleared": 1}
    assert (await bench.get(BINANCE, "/time")).status_code == 200


async def test_all_faults_or_those_of_a_name_are_cleared(bench: Bench) -> None:
    for name in ("gap", "gap", "late"):
        bench.faults.set(name)
    assert (await _control(bench, "DELETE", "/faults?name=gap")).json() == {"cleared": 2}
    assert (await _control(bench, "DELETE", "/faults")).json() == {"cleared": 1}


async def test_the_list_tells_which_faults_there_are(bench: Bench) -> None:
    known = (await _control(bench, "GET", "/faults")).json()["known"]
    assert known["disconnect"]["arguments"] == {"code": 1001, "reason": ""}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{", "truncated"),
        ("[1]", "send a JSON object"),
        ("{}", "unknown fault ''"),
        ('{"name":"gap","probability":"often"}', "probability of gap must be a number, not 'often'"),
        ('{"name":"gap","venue":"kraken"}', "unknown venue 'kraken'"),
    ],
)
async def test_it_refuses_what_it_cannot_set_and_says_why(bench: Bench, body: str, message: str) -> None:
    answer = await _control(bench, "POST", "/faults", content=body)
    assert answer.status_code == 400
    assert message in answer.json()["error"]
    assert bench.faults.active() == []


async def test_a_clock_that_stands_still_is_advanced_over_http(bench: Bench) -> None:
    assert (await _control(bench, "POST", "/clock", json={"advance": 300_000})).json() == {"now": START + 300_000, "speed": 1.0}
    assert (await bench.get(BINANCE, "/time")).json() == {"serverTime": START + 300_000}
    for wrong in ({"advance": -1}, {"advance": "1"}, {}):
        assert (await _control(bench, "POST", "/clock", json=wrong)).status_code == 400
    assert (await _control(bench, "GET", "/clock")).json()["now"] == START + 300_000


async def test_a_running_clock_is_not_moved() -> None:
    async with serving(clock=RunningClock(START, 60)) as bench:
        assert (await _control(bench, "POST", "/clock", json={"advance": 1})).status_code == 409


async def test_it_counts_what_was_asked_of_each_venue(bench: Bench) -> None:
    client = await bench.binance("btcusdt@ticker")
    await bench.get(BINANCE, "/nothing")
    counters = (await _control(bench, "GET")).json()["counters"]
    assert counters[BINANCE] == {"connects": 1, "open": 1, "messages": 1, "frames": 1, "rest_requests": 1, "rest_404": 1}
    assert counters[COINBASE] == {}
    await client.socket.close()


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}])
async def test_a_page_in_a_browser_cannot_reach_it(bench: Bench, headers: dict[str, str]) -> None:
    answer = await _control(bench, "POST", "/faults", json={"name": "silence"}, headers=headers)
    assert answer.status_code == 403
    assert bench.faults.active() == []


async def test_unknown_paths_are_told_what_there_is(bench: Bench) -> None:
    answer = await bench.http.get(bench.sandbox.control_url.replace("/control", "/kraken-sandbox/0/public/Time"))
    assert (answer.status_code, answer.json()["error"]) == (
        404,
        "unknown path; served here: /control, /coingecko, /coinbase-sandbox, /binance-sandbox",
    )
    assert (await _control(bench, "GET", "/gremlins")).status_code == 404


async def test_only_reading_is_served_below_an_exchange(bench: Bench) -> None:
    answer = await bench.http.post(bench.sandbox.rest_url(BINANCE) + "/api/v3/order")
    assert answer.status_code == 405
