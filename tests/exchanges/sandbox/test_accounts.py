"""The accounts of the simulated exchanges: who is let in, and who is not. Requests are signed here, by what the exchanges document."""

import base64
import hashlib
import hmac
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from exchanges.events import Credentials
from exchanges.sandbox.accounts import KINDS, demo_credentials
from exchanges.sandbox.venues import KNOWN
from tests.exchanges.sandbox.conftest import BINANCE, COINBASE, START, Bench

ACCOUNTS = "/api/v3/brokerage/accounts"
SECOND = START // 1000
Change = dict[str, Any]


def token(credentials: Credentials, uri: str, *, header: Change | None = None, key: Any = None, algorithm: str = "", **claims: Any) -> str:
    """A token as Coinbase wants it, but for what a test changes."""
    elliptic = credentials.secret.startswith("-----")
    if key is None:
        key = credentials.secret if elliptic else ed25519(credentials)
    told = {"sub": credentials.key, "iss": "cdp", "nbf": SECOND, "exp": SECOND + 120, "uri": uri, **claims}
    head = {"kid": credentials.key, "nonce": "n-1", **(header or {})}
    return jwt.encode(told, key, algorithm or ("ES256" if elliptic else "EdDSA"), head)


def ed25519(credentials: Credentials) -> str:
    """The seed as a PEM, put together by hand: 16 bytes of PKCS 8 before it."""
    seed = base64.b64decode(credentials.secret)[:32]
    body = base64.b64encode(bytes.fromhex("302e020100300506032b657004220420") + seed).decode()
    return f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"


async def ask(bench: Bench, credentials: Credentials, uri: str = "", path: str = ACCOUNTS, **changes: Any) -> httpx.Response:
    url = bench.sandbox.rest_url(COINBASE) + path
    bearer = token(credentials, uri or f"GET {url.removeprefix('http://').partition('?')[0]}", **changes)
    return await bench.http.get(url, headers={"Authorization": f"Bearer {bearer}"})


@pytest.mark.parametrize("kind", KINDS["coinbase"])
async def test_coinbase_tells_what_the_owner_of_a_key_holds(bench: Bench, kind: str) -> None:
    credentials = bench.sandbox.accounts(COINBASE).open("ann", {"BTC": 0.3, "USD": 10}, kind, locked={"BTC": 0.1})
    answer = await ask(bench, credentials)
    assert answer.status_code == 200
    told = answer.json()
    rows = [(row["currency"], row["available_balance"]["value"], row["hold"]["value"], row["type"]) for row in told["accounts"]]
    assert rows == [("BTC", "0.2", "0.1", "ACCOUNT_TYPE_CRYPTO"), ("USD", "10", "0", "ACCOUNT_TYPE_FIAT")]
    assert (told["has_next"], told["cursor"], told["size"]) == (False, "", 2)


@pytest.mark.parametrize(
    "change",
    [
        {"header": {"nonce": ""}},
        {"header": {"kid": "organizations/o/apiKeys/k"}},
        {"algorithm": "none", "key": ""},
        {"sub": "organizations/o/apiKeys/k"},
        {"iss": "somebody"},
        {"nbf": SECOND - 121, "exp": SECOND - 1},
        {"nbf": SECOND - 120, "exp": SECOND},
        {"nbf": SECOND + 2, "exp": SECOND + 60},
        {"exp": SECOND + 121},
        {"uri": "GET api.coinbase.com/api/v3/brokerage/accounts"},
        {"uri": f"GET 127.0.0.1:1/coinbase-sandbox{ACCOUNTS}"},
        {"algorithm": "HS256", "key": "k" * 32},
    ],
    ids=str,
)
async def test_coinbase_lets_no_wrong_token_in(bench: Bench, change: Change) -> None:
    credentials = bench.sandbox.accounts(COINBASE).open("ann", {"BTC": 1})
    answer = await ask(bench, credentials, **change)
    assert (answer.status_code, answer.text) == (401, "Unauthorized\n")


async def test_a_token_of_somebody_else_or_for_another_request_is_refused(bench: Bench) -> None:
    accounts = bench.sandbox.accounts(COINBASE)
    ann, bob = accounts.open("ann", {"BTC": 1}, "ES256"), accounts.open("bob", {"ETH": 1}, "ES256")
    stolen = Credentials(ann.key, bob.secret)
    url = bench.sandbox.rest_url(COINBASE).removeprefix("http://")
    asked = [
        await ask(bench, stolen),
        await ask(bench, ann, f"POST {url}{ACCOUNTS}"),
        await ask(bench, ann, f"GET {url}{ACCOUNTS}?limit=1"),
    ]
    assert [answer.status_code for answer in asked] == [401, 401, 401]


async def test_coinbase_accepts_a_token_once(bench: Bench) -> None:
    credentials = bench.sandbox.accounts(COINBASE).open("ann", {"BTC": 1})
    assert [(await ask(bench, credentials)).status_code for _ in range(2)] == [200, 401]
    bench.clock.advance(121_000)
    assert (await ask(bench, credentials, nbf=SECOND + 121, exp=SECOND + 240)).status_code == 200


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer x", "Bearer a.b.c", "Basic a.b.c", "Bearer ....", "Bearer e30.e30.e30", "Bearer \xff.\xff.\xff"]
)
async def test_what_is_no_token_is_refused(bench: Bench, value: str) -> None:
    answer = await bench.http.get(bench.sandbox.rest_url(COINBASE) + ACCOUNTS, headers={"Authorization": value.encode("latin-1")})
    assert answer.status_code == 401


async def test_a_tampered_token_is_refused(bench: Bench) -> None:
    credentials = bench.sandbox.accounts(COINBASE).open("ann", {"BTC": 1}, "ES256")
    url = bench.sandbox.rest_url(COINBASE) + ACCOUNTS
    head, body, signature = token(credentials, f"GET {url.removeprefix('http://')}").split(".")
    spoilt = [
        (head, body, signature[:-8]),
        (head, body, signature[4:] + signature[:4]),
        (head + "A", body, signature),
        (head, "e30", signature),
    ]
    for parts in spoilt:
        assert (await bench.http.get(url, headers={"Authorization": f"Bearer {'.'.join(parts)}"})).status_code == 401


async def test_a_key_without_the_scope_and_a_revoked_one_are_told_apart(bench: Bench) -> None:
    accounts = bench.sandbox.accounts(COINBASE)
    blind, gone = accounts.open("ann", {"BTC": 1}, scopes=()), accounts.open("bob", {"BTC": 1})
    accounts.revoke("bob")
    answer = await ask(bench, blind)
    assert (answer.status_code, answer.json()["error_details"]) == (403, "Missing required scopes")
    assert (await ask(bench, gone)).status_code == 401


async def test_coinbase_pages_its_accounts_by_a_cursor(bench: Bench) -> None:
    credentials = bench.sandbox.accounts(COINBASE).open("ann", {f"C{number}": 1 for number in range(60)})
    usual = (await ask(bench, credentials)).json()
    assert (usual["size"], usual["has_next"]) == (49, True)
    rest = (await ask(bench, credentials, path=f"{ACCOUNTS}?cursor={usual['cursor']}", header={"nonce": "n-2"})).json()
    assert [row["currency"] for row in rest["accounts"]] == [f"C{number}" for number in range(49, 60)]
    assert (rest["has_next"], rest["cursor"]) == (False, "")
    for number, odd in enumerate(("cursor=nowhere", "limit=0", "limit=251", "limit=x")):
        answer = await ask(bench, credentials, path=f"{ACCOUNTS}?{odd}", header={"nonce": f"odd {number}"})
        assert (answer.status_code, answer.json()["error"]) == (400, "INVALID_ARGUMENT")


# Binance


def signed(credentials: Credentials, **parameters: Any) -> str:
    """A query as Binance wants it, but for what a test changes."""
    query = urlencode({"timestamp": START, "recvWindow": 5000, **parameters})
    if credentials.secret.startswith("-----"):
        key: Any = load_pem_private_key(credentials.secret.encode(), None)
        return f"{query}&{urlencode({'signature': base64.b64encode(key.sign(query.encode())).decode()})}"
    return f"{query}&signature={hmac.new(credentials.secret.encode(), query.encode(), hashlib.sha256).hexdigest()}"


async def look(bench: Bench, query: str, key: str) -> httpx.Response:
    return await bench.http.get(f"{bench.sandbox.rest_url(BINANCE)}/api/v3/account?{query}", headers={"X-MBX-APIKEY": key})


@pytest.mark.parametrize("kind", KINDS["binance"])
async def test_binance_tells_what_the_owner_of_a_key_holds(bench: Bench, kind: str) -> None:
    credentials = bench.sandbox.accounts(BINANCE).open("ann", {"BTC": 0.3, "DOGE": 0}, kind, locked={"BTC": 0.1})
    answer = await look(bench, signed(credentials, omitZeroBalances="true"), credentials.key)
    assert answer.json()["balances"] == [{"asset": "BTC", "free": "0.20000000", "locked": "0.10000000"}]
    assert answer.headers["x-mbx-used-weight-1m"] == "20"
    whole = (await look(bench, signed(credentials), credentials.key)).json()["balances"]
    assert len(whole) > 20
    assert {row["asset"]: row["free"] for row in whole}["DOGE"] == "0.00000000"


@pytest.mark.parametrize(
    ("spoil", "status", "code"),
    [
        (lambda query: query.replace("recvWindow=5000", "recvWindow=5001"), 400, -1022),
        (lambda query: f"omitZeroBalances=true&{query}", 400, -1022),
        (lambda query: query[:-1] + ("0" if query[-1] != "0" else "1"), 400, -1022),
        (lambda query: query.partition("&signature")[0] + "&signature=nothing", 400, -1022),
        (lambda query: query.partition("&signature")[0], 400, -1102),
        (lambda query: f"{query}&omitZeroBalances=true", 400, -1102),
        (lambda query: "", 400, -1102),
    ],
)
async def test_binance_refuses_a_tampered_query(bench: Bench, spoil: Callable[[str], str], status: int, code: int) -> None:
    credentials = bench.sandbox.accounts(BINANCE).open("ann", {"BTC": 1})
    answer = await look(bench, spoil(signed(credentials)), credentials.key)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"timestamp": START - 5_000}, None),
        ({"timestamp": START - 5_001}, -1021),
        ({"timestamp": START + 999}, None),
        ({"timestamp": START + 1_000}, -1021),
        ({"timestamp": START - 50_000, "recvWindow": 60_000}, None),
        ({"recvWindow": 60_001}, -1131),
        ({"timestamp": "now"}, -1102),
    ],
    ids=str,
)
async def test_a_request_lives_as_long_as_its_window(bench: Bench, parameters: dict[str, Any], code: int | None) -> None:
    credentials = bench.sandbox.accounts(BINANCE).open("ann", {"BTC": 1})
    assert (await look(bench, signed(credentials, **parameters), credentials.key)).json().get("code") == code


async def test_binance_looks_at_its_own_clock(bench: Bench) -> None:
    credentials = bench.sandbox.accounts(BINANCE).open("ann", {"BTC": 1})
    bench.faults.set("clock-skew", venue=BINANCE, ms=60_000)
    assert (await look(bench, signed(credentials), credentials.key)).json()["code"] == -1021
    assert (await look(bench, signed(credentials, timestamp=START + 60_000), credentials.key)).status_code == 200


async def test_binance_tells_bad_keys_apart(bench: Bench) -> None:
    accounts = bench.sandbox.accounts(BINANCE)
    ann, blind, gone = accounts.open("ann", {}), accounts.open("bob", {}, scopes=()), accounts.open("cid", {})
    accounts.revoke("cid")
    asked = [(ann, "short"), (ann, ""), (ann, "f" * 64), (blind, blind.key), (gone, gone.key), (ann, blind.key)]
    answers = [(await look(bench, signed(credentials), key)).json()["code"] for credentials, key in asked]
    assert answers == [-2014, -2014, -2015, -2015, -2015, -1022]


# Both


@pytest.mark.parametrize("venue", KNOWN)
def test_every_process_knows_the_same_demo_account(venue: str) -> None:
    program = f"from exchanges.sandbox.accounts import demo_credentials as d; c = d('{venue}'); print(c.key, c.secret)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    credentials = demo_credentials(venue)
    assert [credentials.key, credentials.secret] == told
    assert len({demo_credentials(other).secret for other in KNOWN}) == len(KNOWN)


async def test_the_demo_account_holds_a_thin_coin_and_dust_and_can_be_changed(bench: Bench) -> None:
    ranked = sorted(
        (row for row in bench.sandbox.exchanges[COINBASE].listings.values() if not row.alias_of and row.trading(START)),
        key=lambda row: -bench.market.statistics(row, START).turnover / 10 ** (row.decimals + row.size_decimals),
    )
    assert "BAND" not in [row.coin.code for row in ranked[:12]]
    accounts = bench.sandbox.accounts(COINBASE)
    assert {"BTC", "ETH", "SOL", "BAND", "DOGE", "USD"} == set(accounts["demo"].balances)
    accounts["demo"].balances["BTC"] = 7
    rows = (await ask(bench, demo_credentials(COINBASE))).json()["accounts"]
    assert rows[0]["available_balance"] == {"value": "7", "currency": "BTC"}


def test_a_venue_opens_only_the_keys_it_knows(bench: Bench) -> None:
    with pytest.raises(ValueError, match="knows keys of EdDSA and ES256, not 'HMAC'"):
        bench.sandbox.accounts(COINBASE).open("ann", {}, "HMAC")
    with pytest.raises(LookupError, match="unknown simulated exchange"):
        bench.sandbox.accounts("kraken")
