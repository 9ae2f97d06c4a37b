"""Which alerts become messages: the policy over the database, the cursor, and what a user may see."""

import json

import pytest

from alerts import deciding
from alerts.deciding import decide, exchanges_behind
from alerts.models import (
    Alert,
    Delivery,
    DeliveryCursor,
    NotificationSettings,
    Outage,
    RepeatPolicy,
    Silence,
)
from alerts.services import Naming, now_ms
from exchanges.models import Exchange, ExchangeEvent, Preferences, UserExchange
from livermore import bus, keys
from symbols.models import Symbol, UserSymbol
from symbols.tiers import Place
from tests.alerts.drafts import NAMING, STEP, T0, begin, commit, draft
from tests.alerts.notifying import channel, reader
from tests.people import person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("_begun")]


@pytest.fixture
def _begun(db, redis_url):
    begin("coinbase", "binance")
    Exchange.objects.filter(pk="coinbase").update(name="Coinbase")
    exchanges_behind()


def now_of(at: int = 0) -> int:
    """A moment after the close of the ``at``-th candle."""
    return T0 + (at + 1) * STEP + 2_000


def decided(exchange_id: str = "coinbase", now: int | None = None) -> list[str]:
    """Decide all there is; the titles of the messages it made."""
    before = set(Delivery.objects.values_list("pk", flat=True))
    while decide(exchange_id, now_of() if now is None else now) is not None:
        pass
    return list(Delivery.objects.exclude(pk__in=before).order_by("pk").values_list("title", flat=True))


TITLE = "▲ BTC-USD 5m crossed above +150"


def test_an_alert_becomes_one_message_to_each_channel():
    one = reader()
    channel(one.user, "json://127.0.0.1:2/")
    (alert,) = commit(draft())
    assert exchanges_behind() == ["coinbase"]
    assert decided() == [TITLE, TITLE]
    assert exchanges_behind() == []
    row = Delivery.objects.filter(channel=one).get()
    assert (row.key, row.about, row.state, row.due_at, row.silent) == (alert.uid, "alert", "waiting", now_of(), False)
    assert row.body == "Coinbase · 101.5 USD · MACD-V 151.2 · overbought"
    assert row.closed_at == T0 + STEP


def test_it_is_decided_once():
    reader()
    commit(draft())
    assert decided() == [TITLE]
    assert decided() == []
    DeliveryCursor.objects.update(number=0)
    assert decided() == [], "told already at this stage; and the outbox takes a key once"


def test_a_new_installation_does_not_begin_with_history():
    DeliveryCursor.objects.all().delete()
    commit(draft())
    reader()
    assert exchanges_behind() == []
    commit(draft(1))
    assert exchanges_behind() == ["coinbase"]
    assert decided(now=now_of(1)) == [TITLE]


def test_the_message_is_there_if_and_only_if_the_cursor_moved(monkeypatch):
    reader()
    commit(draft())
    monkeypatch.setattr(DeliveryCursor, "save", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        decide("coinbase", now_of())
    assert (Delivery.objects.count(), DeliveryCursor.objects.get(pk="coinbase").number) == (0, 0)
    monkeypatch.undo()
    assert decided() == [TITLE]


def test_another_worker_that_decided_meanwhile_is_believed(monkeypatch):
    reader()
    commit(draft())
    plan = deciding._plan

    def slow(*args):
        monkeypatch.setattr(deciding, "_plan", plan)
        assert decided() == [TITLE]
        return plan(*args)

    monkeypatch.setattr(deciding, "_plan", slow)
    assert decide("coinbase", now_of()) == []
    assert Delivery.objects.count() == 1


# Who


def test_who_is_not_told():
    UserExchange.objects.create(user=reader("away").user, exchange_id="coinbase", watch=False)
    channel(person("no-role"))
    gone = reader("gone").user
    gone.is_active = False
    gone.save()
    reader("off", enabled=False)
    person("without-channel", group="viewer")
    commit(draft())
    assert decided() == []


def test_only_the_timeframes_of_a_channel():
    reader(timeframes=["1h"])
    commit(draft(), draft(timeframe="1h"))
    assert decided() == ["▲ BTC-USD 1h crossed above +150"]


def test_mine_only_is_what_the_user_holds_or_added():
    one = reader(mine_only=True)
    row = Symbol.objects.create(exchange_id="coinbase", symbol="ETH-USD", base="ETH", quote="USD", tier=1)
    UserSymbol.objects.create(user=one.user, symbol=row)
    commit(draft(), draft(symbol="ETH-USD"))
    assert decided() == ["▲ ETH-USD 5m crossed above +150"]


def test_an_alert_that_is_not_shared_goes_to_its_owners_only():
    owner, _ = reader("owner"), reader("other")
    private = Naming("PEPE", "USD", Place(owners=frozenset({owner.user_id}), shared=False))
    commit(draft(symbol="PEPE-USD"), naming={**NAMING, "PEPE-USD": private})
    decided()
    assert [row.channel_id for row in Delivery.objects.all()] == [owner.pk]


# Quiet


def test_the_same_stage_is_told_once_as_redis_has_its_readings():
    reader()
    commit(draft(0))
    assert decided(now=now_of(0)) == [TITLE]
    readings("overbought", "overbought", "overbought")
    commit(draft(3, "level_200"))
    assert decided(now=now_of(3)) == []
    readings("overbought", "rallying", "overbought")
    commit(draft(4, "level_250"))
    assert decided(now=now_of(4)) == ["▲ BTC-USD 5m crossed above +250"]


def readings(*stages: str) -> None:
    """The last readings of BTC-USD 5m, candle by candle from T0 on."""
    key = keys.readings("coinbase", "BTC-USD", "5m")
    bus.sync().delete(key)
    for at, stage in enumerate(stages):
        open_time = T0 + at * STEP
        bus.sync().zadd(key, {json.dumps([open_time, 160.0, 150.0, 10.0, stage]): open_time})


def test_each_rule_has_its_own_policy():
    one = reader()
    commit(draft(0))
    decided()
    (alert,) = Alert.objects.all()
    RepeatPolicy.objects.create(user=one.user, rule=alert.rule, repeat="every")
    readings("overbought")
    commit(draft(1, "level_200"))
    assert decided(now=now_of(1)) == ["▲ BTC-USD 5m crossed above +200"]
    RepeatPolicy.objects.update(repeat="never")
    commit(draft(2, "level_250"))
    assert decided(now=now_of(2)) == []


def acknowledged(user, stage):
    series = {"exchange_id": "coinbase", "symbol": "BTC-USD", "timeframe": "5m"}
    Silence.objects.create(user=user, kind="ack", stage=stage, candle_time=T0, created_at=0, **series)


def test_what_is_acknowledged_or_snoozed_is_not_told():
    one = reader()
    Silence.objects.create(
        user=one.user,
        kind="ack",
        exchange_id="coinbase",
        symbol="BTC-USD",
        timeframe="5m",
        stage="overbought",
        candle_time=T0,
        created_at=0,
    )
    Silence.objects.create(user=one.user, kind="snooze", exchange_id="coinbase", symbol="ETH-USD", until=now_of() + 1, created_at=0)
    readings("overbought")
    commit(draft(1), draft(1, symbol="ETH-USD"))
    assert decided() == []


def test_an_acknowledgement_ends_when_its_stage_does():
    one = reader()
    acknowledged(one.user, "oversold")
    commit(draft(1))
    assert decided(now=now_of(1)) == [TITLE]
    assert not Silence.objects.exists()


def test_an_acknowledgement_ends_without_an_alert_too():
    one = reader()
    acknowledged(one.user, "overbought")
    readings("overbought", "overbought")
    deciding.silences_sweep(now_of())
    assert Silence.objects.exists()
    readings("overbought", "rallying", "overbought")
    deciding.silences_sweep(now_of())
    assert not Silence.objects.exists()


def test_a_snooze_that_is_over_is_forgotten():
    user = reader().user
    for until in (now_of() - 1, now_of() + 1):
        Silence.objects.create(user=user, kind="snooze", exchange_id="coinbase", symbol=f"S{until}", until=until, created_at=0)
    deciding.silences_sweep(now_of())
    assert [row.until for row in Silence.objects.all()] == [now_of() + 1]


def test_quiet_hours_are_in_the_zone_of_the_pages_or_of_the_settings():
    one = reader()
    chosen = NotificationSettings.objects.create(user=one.user, quiet_from=22 * 60, quiet_to=7 * 60, zone="Asia/Tokyo")
    commit(draft(0))
    assert decided() != [], "22:05 in London is 07:05 in Tokyo"
    Preferences.objects.create(user=one.user, time_zone="Europe/London")
    commit(draft(1, symbol="ETH-USD"))
    assert decided(now=now_of(1)) == []
    chosen.quiet_from = chosen.quiet_to = None
    chosen.save()
    commit(draft(2, symbol="ETH-USD"))
    assert decided(now=now_of(2)) != []


def test_what_is_delayed_is_silent_and_what_is_older_than_a_timeframe_is_not_sent():
    reader()
    commit(draft(0, delayed=True))
    decided(now=now_of(0))
    row = Delivery.objects.get()
    assert row.silent
    assert row.body.startswith("Delayed")
    commit(draft(1, "level_200", symbol="ETH-USD", delayed=True))
    assert decided(now=now_of(2)) == []


# Moves


def coins(*numbers: int, at: int = 0) -> None:
    naming = {f"C{number}-USD": Naming(f"C{number}", "USD") for number in numbers}
    commit(*[draft(at, symbol=name) for name in naming], naming=naming)


def test_a_market_wide_move_is_one_message_and_later_ones_join_it_until_it_goes():
    reader()
    coins(*range(6))
    assert decided() == ["▲ Coinbase: 6 symbols go up together"]
    coins(7, 8)
    assert decided(now=now_of() + 100) == []
    assert Delivery.objects.get().title == "▲ Coinbase: 8 symbols go up together"


def test_the_next_message_about_a_move_comes_a_minute_later_with_what_came_meanwhile():
    reader()
    coins(*range(6))
    decided()
    Delivery.objects.update(state="sent")
    coins(7, at=0)
    assert decided(now=now_of() + 100) == ["▲ Coinbase: 1 symbols go up together"]
    coins(8, at=0)
    assert decided(now=now_of() + 200) == []
    row = Delivery.objects.first()
    assert (row.title, row.due_at) == ("▲ Coinbase: 2 symbols go up together", now_of() + 60_000)


def test_few_are_told_one_by_one_and_count_for_the_next():
    reader()
    coins(0, 1, 2)
    assert len(decided()) == 3
    coins(3, 4)
    assert decided(now=now_of() + 5_000) == ["▲ Coinbase: 2 symbols go up together"]


# Open pages


def test_an_open_page_is_told_of_what_passes_and_has_no_row():
    user = person("kaia", group="viewer")
    NotificationSettings.objects.create(user=user, pages=True)
    (alert,) = commit(draft())
    assert decide("coinbase", now_of()) == [
        (
            user.pk,
            {
                "type": "notify",
                "title": TITLE,
                "body": "Coinbase · 101.5 USD · MACD-V 151.2 · overbought",
                "path": f"/alerts/{alert.uid.replace('|', '%7C')}/",
                "tag": alert.uid,
                "silent": False,
                "at": T0 + STEP,
            },
        )
    ]
    assert not Delivery.objects.exists()


# Outages


def look(health: deciding.Health, state: str, now: int, error: str = "") -> list[str]:
    before = set(Delivery.objects.values_list("pk", flat=True))
    health.look({"coinbase": state}, {"coinbase": {"error": error}}, now)
    return list(Delivery.objects.exclude(pk__in=before).order_by("pk").values_list("title", flat=True))


def test_an_outage_is_one_message_and_stands_for_its_alerts():
    reader()
    health, start = deciding.Health(), now_ms() - 5_000
    assert look(health, "live", start) == []
    assert look(health, "offline", start + 1_000) == []
    assert look(health, "offline", start + 61_000, "HTTP 503") == ["Coinbase is dark"]
    assert "HTTP 503" in Delivery.objects.get().body
    commit(draft())
    assert decided(now=start + 62_000) == []
    assert Outage.objects.get().inhibited == 1
    assert look(health, "live", start + 120_000) == []
    assert look(health, "live", start + 140_000) == ["Coinbase is live again"]
    assert Delivery.objects.first().body == "It was dark for 2 min. 1 alerts of that time are in the history."


def test_several_workers_tell_of_an_outage_once():
    reader()
    one, other = deciding.Health(), deciding.Health()
    for health in (one, other):
        look(health, "live", 0)
        look(health, "offline", 1)
    assert look(one, "offline", 100_000) == ["Coinbase is dark"]
    assert look(other, "offline", 100_000) == []
    look(one, "live", 200_000)
    look(other, "live", 200_000)
    assert look(other, "live", 300_000) == ["Coinbase is live again"]
    assert look(one, "live", 300_000) == []


def test_a_worker_that_starts_while_it_is_dark_knows_what_was():
    reader()
    ExchangeEvent.objects.create(exchange_id="coinbase", at=1, event="live", seen=2)
    ExchangeEvent.objects.create(exchange_id="coinbase", at=3, event="offline", seen=4)
    health = deciding.Health()
    assert look(health, "offline", 10) == []
    assert look(health, "offline", 100_000) == ["Coinbase is dark"]
    assert look(deciding.Health(), "offline", 900_000) == [], "an outage is on"


def test_an_exchange_that_was_stopped_is_not_dark():
    reader()
    ExchangeEvent.objects.create(exchange_id="coinbase", at=1, event="live", seen=2)
    ExchangeEvent.objects.create(exchange_id="coinbase", at=3, event="idle", seen=4)
    health = deciding.Health()
    look(health, "offline", 10)
    assert look(health, "offline", 900_000) == []


def test_who_does_not_want_to_hear_of_outages_does_not():
    one = reader()
    NotificationSettings.objects.create(user=one.user, health=False)
    outage = deciding.outage_begin("coinbase", 0, "", 1)
    assert outage == []
    assert not Delivery.objects.exists()
    assert Exchange.objects.get(pk="coinbase").outages.count() == 1
