"""What one commit stores: together or not at all, numbered without a gap, by the newest connector only."""

import threading

import pytest
from django.db import IntegrityError, connection, transaction

from alerts import services
from alerts.models import Alert, AlertRule, ExchangeSequence
from alerts.rules import Rule
from alerts.services import Fenced, Naming, alert_payload, public_payload
from market_data.models import Checkpoint
from symbols.tiers import Place
from tests.alerts.drafts import STEP, T0, begin, checkpoint, commit, draft
from tests.people import person

pytestmark = pytest.mark.django_db


def numbers(exchange_id: str = "coinbase") -> list[int]:
    return list(Alert.objects.filter(exchange_id=exchange_id).order_by("number").values_list("number", flat=True))


def test_a_commit_stores_alerts_and_checkpoints() -> None:
    begin()
    before = services.now_ms()

    [alert] = commit(draft(2), checkpoints=[checkpoint(2, state="[101.5,false,[1,2.5]]")])

    stored = Alert.objects.get()
    assert stored.pk == alert.pk
    assert {name: getattr(stored, name) for name in ("number", "symbol", "base", "quote", "timeframe", "alert_type", "trigger_label")} == {
        "number": 1,
        "symbol": "BTC-USD",
        "base": "BTC",
        "quote": "USD",
        "timeframe": "5m",
        "alert_type": "macdv",
        "trigger_label": "level_150",
    }
    assert (stored.direction, stored.trigger_value, stored.previous_value, stored.signal_delta) == ("up", 151.25, 149.0, 11.25)
    assert (stored.price, stored.candle_time, stored.stage, stored.bias) == (101.5, T0 + 2 * STEP, "overbought", "bearish")
    assert (stored.delayed, stored.revised, stored.published_at) == (False, False, None)
    assert before <= stored.triggered_at <= services.now_ms()
    assert stored.uid == f"coinbase|BTC-USD|5m|{AlertRule.objects.get().pk}.3|level_150|{T0 + 2 * STEP}"
    row = Checkpoint.objects.get()
    assert (row.exchange_id, row.symbol, row.timeframe, row.open_time) == ("coinbase", "BTC-USD", "5m", T0 + 2 * STEP)
    assert (row.indicator, row.memory) == ("[101.5,false,[1,2.5]]", "{}")


def test_the_payload_of_a_stored_alert_is_the_contracts() -> None:
    begin()
    [alert] = commit(draft(delayed=True))

    assert alert_payload(alert, "e1") == {
        "type": "alert",
        "id": 1,
        "epoch": "e1",
        "uid": alert.uid,
        "source_exchange_id": "coinbase",
        "symbol": "BTC-USD",
        "base": "BTC",
        "quote": "USD",
        "timeframe": "5m",
        "alert_type": "macdv",
        "trigger_label": "level_150",
        "direction": "up",
        "trigger_value": 151.25,
        "signal_delta": 11.25,
        "price": 101.5,
        "candle_time": T0,
        "triggered_at": alert.triggered_at,
        "published_at": 0,
        "delayed": True,
        "revised": False,
        "stage": "overbought",
        "bias": "bearish",
        "timeframes": [
            {"timeframe": "5m", "macdv": 151.25, "stage": "overbought"},
            {"timeframe": "1d", "macdv": None, "stage": "unknown"},
        ],
        "elsewhere": [],
        "overflow": False,
        "shared": True,
    }


def test_what_everybody_gets_of_an_alert_that_is_not_shared_is_its_number() -> None:
    begin()
    owner = person("mike")
    [alert] = commit(draft(), naming={"BTC-USD": Naming("BTC", "USD", Place(owner.pk, frozenset({owner.pk}), shared=False))})

    assert public_payload(alert, "e1") == {"type": "withheld", "id": 1, "epoch": "e1", "source_exchange_id": "coinbase"}
    assert [alert_payload(alert, "e1")[name] for name in ("type", "symbol", "overflow", "shared")] == ["alert", "BTC-USD", True, False]


@pytest.mark.parametrize(("shared", "owned"), [(True, []), (False, ["kaia", "mike"])])
def test_who_wanted_a_symbol_when_it_fired_is_stored_where_it_is_not_shared(shared: bool, owned: list[str]) -> None:
    begin()
    owners = [person("mike"), person("kaia")]
    place = Place(owners[0].pk, frozenset(user.pk for user in owners), shared)
    [overflow, one] = commit(
        draft(), draft(symbol="ETH-USD"), naming={"BTC-USD": Naming("BTC", "USD", place), "ETH-USD": Naming("ETH", "USD")}
    )

    assert sorted(overflow.owners.values_list("username", flat=True)) == owned
    assert (overflow.overflow, overflow.shared, overflow.number) == (True, shared, 1)
    assert (list(one.owners.all()), one.overflow, one.shared, one.number) == ([], False, True, 2)


def test_who_sees_what() -> None:
    begin()
    mike, kaia = person("mike"), person("kaia")
    place = Place(mike.pk, frozenset({mike.pk}), shared=False)
    commit(draft(), draft(symbol="ETH-USD"), naming={"BTC-USD": Naming("BTC", "USD", place), "ETH-USD": Naming("ETH", "USD")})

    seen = [list(Alert.objects.visible_to(user).values_list("number", flat=True).order_by("number")) for user in (mike.pk, kaia.pk, None)]
    assert seen == [[1, 2], [2], [2]]


def test_a_later_commit_moves_the_checkpoint() -> None:
    begin()
    commit(checkpoints=[checkpoint(0), checkpoint(0, "ETH-USD")])
    commit(checkpoints=[checkpoint(1, state="[2,true,[]]")])

    rows = {(row.symbol, row.open_time, row.indicator) for row in Checkpoint.objects.all()}
    assert rows == {("BTC-USD", T0 + STEP, "[2,true,[]]"), ("ETH-USD", T0, "[1.5,false,[]]")}


def test_alerts_are_numbered_from_one_without_a_gap_for_each_exchange() -> None:
    begin("coinbase", "binance")
    commit(draft(0), draft(0, symbol="ETH-USD"))
    commit(draft(0), exchange_id="binance")
    commit(draft(1))

    assert (numbers("coinbase"), numbers("binance")) == ([1, 2, 3], [1])
    assert ExchangeSequence.objects.get(pk="coinbase").last_number == 3


def test_an_alert_that_is_there_stays_as_it_is_and_costs_no_number() -> None:
    begin()
    [first] = commit(draft(0))

    new = commit(draft(0, price=7.0), draft(1), draft(1, "reversal_oversold"))

    assert [alert.number for alert in new] == [2, 3]
    assert commit(draft(0), draft(1)) == []
    assert Alert.objects.get(uid=first.uid).price == 101.5
    assert numbers() == [1, 2, 3]


def test_one_alert_twice_in_a_batch_is_one_alert() -> None:
    begin()

    assert [alert.number for alert in commit(draft(0), draft(0), draft(1))] == [1, 2]


def written_by_another_process(number: int, uid: str) -> Alert:
    """An alert that this process has never heard of."""
    alert = Alert.objects.get(number=1)
    alert.pk, alert.number, alert.uid = None, number, uid
    alert.save(force_insert=True)
    ExchangeSequence.objects.filter(pk="coinbase").update(last_number=number)
    return alert


def test_what_another_process_stored_is_known_from_the_database() -> None:
    begin()
    commit(draft(0))
    written_by_another_process(2, services._uid("coinbase", draft(1)))

    assert commit(draft(0), draft(1)) == []
    assert [alert.number for alert in commit(draft(1), draft(2))] == [3]


def test_the_database_itself_refuses_an_alert_twice() -> None:
    begin()
    [first] = commit(draft(0))

    with pytest.raises(IntegrityError), transaction.atomic():
        written_by_another_process(2, first.uid)
    assert numbers() == [1]


def test_an_error_leaves_neither_alerts_nor_checkpoints() -> None:
    begin()
    commit(draft(0), checkpoints=[checkpoint(0)])

    with pytest.raises(IntegrityError):
        commit(draft(1), draft(2, price=None), checkpoints=[checkpoint(2), checkpoint(2, "ETH-USD")])

    assert numbers() == [1]
    assert [row.open_time for row in Checkpoint.objects.all()] == [T0]
    assert [alert.number for alert in commit(draft(1))] == [2], "the number was not lost"


def test_an_older_connector_is_fenced_off() -> None:
    begin()
    commit(draft(0), checkpoints=[checkpoint(0)])
    fence, _ = services.sequence_take_over(exchange_id="coinbase")

    with pytest.raises(Fenced, match="coinbase: another connector has taken over"):
        commit(draft(1), checkpoints=[checkpoint(1)], fence=fence - 1)
    with pytest.raises(Fenced):
        commit(fence=fence - 1)

    assert numbers() == [1]
    assert Checkpoint.objects.get().open_time == T0
    assert [alert.number for alert in commit(draft(1), fence=fence)] == [2]


def test_taking_over_raises_the_fence_and_keeps_the_epoch() -> None:
    begin("binance")
    (first, epoch), (second, same) = (services.sequence_take_over(exchange_id="binance") for _ in range(2))

    assert (first, second) == (2, 3)
    assert epoch == same
    assert len(epoch) == 32
    assert services.sequence_new_epoch(exchange_id="binance") != epoch
    assert services.sequence_take_over(exchange_id="binance")[1] != epoch


def test_a_revision_marks_the_alerts_of_that_candle_only() -> None:
    begin("coinbase", "binance")
    commit(draft(0), draft(1), draft(0, symbol="ETH-USD"), draft(0, timeframe="15m"))
    commit(draft(0), exchange_id="binance")

    assert commit(revised=[("BTC-USD", T0), ("BTC-USD", T0 + 9 * STEP)]) == []

    marked = Alert.objects.filter(revised=True).values_list("exchange_id", "symbol", "timeframe", "candle_time")
    assert list(marked) == [("coinbase", "BTC-USD", "5m", T0)]


def test_rules_are_read_in_the_units_they_are_evaluated_in() -> None:
    begin()
    row = AlertRule.objects.create(
        name="Mine", levels=[50, 75.5], reversal_level=80, oversold_buffer=4, overbought_buffer=2.5, timeframes=["1h", "4h"], cooldown=90
    )
    AlertRule.objects.create(name="Off", enabled=False)

    assert {rule.id for rule in services.rules_load()} == {row.pk, AlertRule.objects.get(name="Default").pk}
    mine = next(rule for rule in services.rules_load() if rule.id == row.pk)
    assert mine == Rule(
        id=row.pk,
        version=1,
        levels=(50.0, 75.5),
        timeframes=frozenset({"1h", "4h"}),
        reversal_level=80.0,
        oversold_buffer=0.04,
        overbought_buffer=0.025,
        cooldown=90_000,
        name="Mine",
    )


def test_the_cooldowns_are_the_last_alert_of_each_kind() -> None:
    begin("coinbase", "binance")
    rule_id = AlertRule.objects.get().pk
    commit(draft(0), draft(3), draft(1, "level_-150"), draft(2, symbol="ETH-USD"), draft(5, timeframe="15m"))
    commit(draft(9), exchange_id="binance")

    assert sorted(services.cooldowns_stored(exchange_id="coinbase", since=T0 + STEP)) == [
        ("BTC-USD", "15m", rule_id, "level_150", T0 + 5 * STEP),
        ("BTC-USD", "5m", rule_id, "level_-150", T0 + STEP),
        ("BTC-USD", "5m", rule_id, "level_150", T0 + 3 * STEP),
        ("ETH-USD", "5m", rule_id, "level_150", T0 + 2 * STEP),
    ]
    assert services.cooldowns_stored(exchange_id="coinbase", since=T0 + 6 * STEP) == []


def test_what_is_not_published_yet_comes_in_order_and_once_marked_no_more() -> None:
    begin("coinbase", "binance")
    alerts = commit(draft(0), draft(1), draft(2))
    commit(draft(0), exchange_id="binance")
    alerts[0].committed_at, alerts[0].published_at, alerts[0].elsewhere = 76, 77, [{"exchange_id": "binance", "said": "100 % 'of' \u20bf"}]
    services.alerts_mark_published(alerts=[alerts[0]])

    stored = Alert.objects.get(pk=alerts[0].pk)
    assert (stored.committed_at, stored.published_at, stored.elsewhere) == (76, 77, alerts[0].elsewhere)
    assert Alert.objects.filter(published_at=None).count() == 3
    assert [alert.number for alert in services.alerts_unpublished(exchange_id="coinbase")] == [2, 3]
    for alert in alerts[1:]:
        alert.published_at = 88
    services.alerts_mark_published(alerts=alerts[1:])
    assert services.alerts_unpublished(exchange_id="coinbase") == []
    newest = services.alerts_newest(exchange_id="coinbase", most=2)
    assert [(alert.number, alert.published_at) for alert in newest] == [(2, 88), (3, 88)]
    assert services.alerts_newest(exchange_id="binance", most=2) == []


@pytest.mark.django_db(transaction=True)
def test_commits_at_the_same_moment_leave_no_gap_and_no_number_twice() -> None:
    begin()
    drafts = [[draft(commit_ * 4 + thread) for commit_ in range(8)] for thread in range(4)]
    errors: list[Exception] = []

    def work(mine: list) -> None:
        try:
            for one in mine:
                commit(one, draft(0, "level_-150"))
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(mine,)) for mine in drafts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert errors == []
    assert numbers() == list(range(1, 34))
    assert ExchangeSequence.objects.get(pk="coinbase").last_number == 33
