"""/api/alerts/: the record of what fired."""

import pytest

from alerts.models import Alert, AlertRule, ExchangeSequence
from livermore import pagination
from tests import seeds
from tests.people import browser, client_of, person
from tests.seeds import KNOWN

LIST = "/api/alerts/"
START = 1_790_000_100_000


@pytest.fixture(autouse=True)
def _world(db):
    seeds.restore()


def alert(number: int, exchange_id: str = "coinbase", **more: object) -> Alert:
    fields = {
        "symbol": "BTC-USD",
        "timeframe": "5m",
        "trigger_label": "level_150",
        "direction": "up",
        "candle_time": START + number * 300_000,
        "triggered_at": START + number * 300_000 + 301_000,
        **more,
    }
    return Alert.objects.create(
        exchange_id=exchange_id,
        number=number,
        uid=f"{exchange_id}|{fields['symbol']}|{fields['timeframe']}|1.1|{fields['trigger_label']}|{fields['candle_time']}",
        rule=AlertRule.objects.get(),
        rule_version=1,
        base="BTC",
        quote="USD",
        trigger_value=151.25,
        previous_value=149.0,
        signal_delta=None,
        price=64210.5,
        published_at=START + 1,
        stage="rallying",
        bias="bullish",
        timeframes=[{"timeframe": "5m", "macdv": 151.25, "stage": "rallying"}],
        **fields,
    )


def ids(answer) -> list[int]:
    return [row["id"] for row in answer.json()["results"]]


def test_an_alert_has_the_shape_of_the_message_on_the_socket():
    ExchangeSequence.objects.create(exchange_id="coinbase", last_number=1, epoch="e1")
    row = alert(1)
    expected = {
        "type": "alert",
        "id": 1,
        "epoch": "e1",
        "uid": f"coinbase|BTC-USD|5m|1.1|level_150|{START + 300_000}",
        "source_exchange_id": "coinbase",
        "symbol": "BTC-USD",
        "base": "BTC",
        "quote": "USD",
        "timeframe": "5m",
        "alert_type": "macdv",
        "trigger_label": "level_150",
        "direction": "up",
        "trigger_value": 151.25,
        "signal_delta": None,
        "price": 64210.5,
        "candle_time": START + 300_000,
        "triggered_at": START + 601_000,
        "published_at": START + 1,
        "delayed": False,
        "revised": False,
        "stage": "rallying",
        "bias": "bullish",
        "timeframes": [{"timeframe": "5m", "macdv": 151.25, "stage": "rallying"}],
        "elsewhere": [],
        "overflow": False,
        "shared": True,
    }
    client = browser("viewer")
    assert client.get(f"{LIST}{row.uid}/").json() == expected
    assert client.get(LIST).json() == {"count": 1, "next": None, "previous": None, "results": [expected]}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [5, 4, 3, 2, 1]),
        ("?exchange=coinbase", [3, 2, 1]),
        ("?exchange=coinbase&since=1", [3, 2]),
        ("?exchange=coinbase&since=3", []),
        ("?symbol=ETH-USD", [2]),
        ("?timeframe=1h", [3]),
        ("?trigger_label=reversal_oversold", [4]),
        ("?direction=down", [5]),
        ("?delayed=true", [4]),
        (f"?candle_from={START + 600_000}&candle_to={START + 900_000}", [3, 2]),
        ("?ordering=number", [1, 2, 3, 4, 5]),
        ("?ordering=-candle_time&page_size=2", [5, 4]),
        ("?page_size=2&page=3", [1]),
    ],
)
def test_the_list_can_be_filtered_ordered_and_paged(query, expected):
    alert(1)
    alert(2, symbol="ETH-USD")
    alert(3, timeframe="1h")
    alert(4, "binance", trigger_label="reversal_oversold", delayed=True)
    alert(5, "binance", direction="down")
    assert ids(browser("viewer").get(LIST + query)) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?since=5", {"since": ["Name the exchange too: ids count per exchange."]}),
        ("?exchange=coinbase&since=x", {"since": ["Enter a whole number."]}),
        ("?exchange=coinbase&since=-1", {"since": ["Ensure this value is greater than or equal to 0."]}),
        (f"?candle_from={2**63}", {"candle_from": [f"Ensure this value is less than or equal to {2**63 - 1}."]}),
        ("?timeframe=1m", {"timeframe": ["Select a valid choice. 1m is not one of the available choices."]}),
        ("?direction=sideways", {"direction": ["Select a valid choice. sideways is not one of the available choices."]}),
        ("?symbol=%00", {"symbol": ["Null characters are not allowed."]}),
        (
            "?exchange=mtgox",
            {"exchange": [f"unknown exchange 'mtgox'; known: {KNOWN}"]},
        ),
    ],
)
def test_a_filter_with_a_wrong_value_is_an_error(query, expected):
    answer = browser("viewer").get(LIST + query)
    assert (answer.status_code, answer.json()) == (400, expected)


def test_a_page_holds_at_most_500_and_needs_the_same_queries_for_each(django_assert_num_queries):
    Alert.objects.bulk_create(_many(501))
    client = browser("viewer")
    with django_assert_num_queries(8):  # session, user, the user's rights, those of the groups, epochs, keys, count, rows
        answer = client.get(f"{LIST}?page_size=10000")
    assert (answer.json()["count"], len(answer.json()["results"])) == (501, 500)


def test_the_count_stops_and_next_leads_on_by_a_cursor_to_the_last_row(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pagination, "COUNTED", 6)
    Alert.objects.bulk_create(_many(11))
    client = browser("viewer")
    pages, url = [], f"{LIST}?page_size=2"
    while url:
        answer = client.get(url).json()
        pages.append((ids(answer_of := client.get(url)), answer["count"], "cursor=" in url, answer["previous"] is None))
        assert answer_of.status_code == 200
        url = answer["next"]
    assert [row for page, *_ in pages for row in page] == list(range(11, 0, -1))
    assert [page[1:] for page in pages] == [
        (6, False, True), (6, False, False), (6, False, False), (6, True, True), (6, True, True), (6, True, True)
    ]  # fmt: skip


def test_what_fires_meanwhile_moves_no_row_past_a_cursor(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pagination, "COUNTED", 2)
    Alert.objects.bulk_create(_many(5))
    client = browser("viewer")
    following = client.get(f"{LIST}?page_size=2").json()["next"]
    alert(6)
    assert ids(client.get(following)) == [3, 2]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?page=101", "Page numbers reach the first 10,000 rows: follow `next` beyond them, or narrow the list with its filters."),
        ("?page=0", "Invalid page."),
        ("?page=x", "Invalid page."),
        ("?page=2", "Invalid page."),
        ("?cursor=x", "Invalid cursor: take it out of `next`, with the same `ordering`."),
        ("?cursor=WzFd", "Invalid cursor: take it out of `next`, with the same `ordering`."),
        ("?cursor=W251bGwsMSwxXQ==", "Invalid cursor: take it out of `next`, with the same `ordering`."),
    ],
)
def test_a_page_that_is_none_is_not_found(query: str, said: str):
    alert(1)
    answer = browser("viewer").get(LIST + query)
    assert (answer.status_code, answer.json()) == (404, {"detail": said})


def _many(count: int) -> list[Alert]:
    first = alert(1)
    first.delete()
    values = {
        field.attname: getattr(first, field.attname) for field in Alert._meta.concrete_fields if field.name not in {"id", "number", "uid"}
    }
    return [Alert(number=number, uid=f"u{number}", **values) for number in range(1, count + 1)]


def test_alerts_of_one_moment_come_in_one_order_over_all_pages():
    Alert.objects.bulk_create(_many(6))
    client = browser("viewer")
    pages = [ids(client.get(f"{LIST}?ordering=candle_time&page_size=2&page={page}")) for page in (1, 2, 3)]
    assert pages == [[6, 5], [4, 3], [2, 1]]


@pytest.mark.parametrize("uid", ["nothing", "a%00b", "a/b|c", "x" * 3000])
def test_an_alert_that_is_not_there_is_a_404(uid):
    answer = browser("viewer").get(f"{LIST}{uid}/")
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("There is no alert ")


def test_an_alert_of_a_symbol_with_a_slash_is_found():
    row = alert(1, symbol="BTC/USD")
    assert browser("viewer").get(f"{LIST}{row.uid}/").json()["uid"] == row.uid


def test_an_alert_that_is_not_shared_is_there_for_its_owners_only():
    mike, kaia = person("mike", group="viewer"), person("kaia", group="viewer")
    alert(1)
    own = alert(2, symbol="DOGE-USD", overflow=True, shared=False)
    own.owners.add(mike)
    alert(3, symbol="SOL-USD", overflow=True)
    clients = [client_of(user) for user in (mike, kaia)] + [browser("superuser")]

    assert [ids(client.get(LIST)) for client in clients] == [[3, 2, 1], [3, 1], [3, 1]]
    assert [ids(client.get(f"{LIST}?exchange=coinbase&since=1")) for client in clients] == [[3, 2], [3], [3]]
    assert [ids(client.get(f"{LIST}?symbol=DOGE-USD")) for client in clients] == [[2], [], []]
    assert [client.get(f"{LIST}{own.uid}/").status_code for client in clients] == [200, 404, 404]
    assert clients[1].get(f"{LIST}{own.uid}/").json() == {"detail": f"There is no alert {own.uid!r}."}, "as if it were not there"
    assert [client.get(LIST).json()["count"] for client in clients] == [3, 2, 2]


def test_an_alert_of_two_owners_is_there_once():
    mike, kaia = person("mike", group="viewer"), person("kaia", group="viewer")
    alert(1, overflow=True, shared=False).owners.add(mike, kaia)
    assert ids(client_of(mike).get(LIST)) == [1]


@pytest.mark.parametrize(("who", "status"), [("anonymous", 403), ("viewer", 200), ("trader", 200), ("operator", 200), ("superuser", 200)])
def test_who_reads_alerts(who, status):
    assert browser(who).get(LIST).status_code == status


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_alerts_are_a_record_that_nobody_writes(method):
    row = alert(1)
    client = browser("superuser")
    assert [getattr(client, method)(url).status_code for url in (LIST, f"{LIST}{row.uid}/")] == [405, 405]
    assert Alert.objects.count() == 1
