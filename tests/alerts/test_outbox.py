import pytest

from alerts.outbox import MOST_BYTES_OUT, MOST_OUT, MOST_QUEUED, Outbox, Overflow, Turn


def open_outbox() -> Outbox:
    outbox = Outbox()
    outbox.held = False
    return outbox


def test_everything_owed_goes_out_as_one_frame():
    outbox = open_outbox()
    outbox.put(b'{"a":1}')
    outbox.put_latest("price", b'{"p":1}')
    outbox.put(b'{"a":2}')
    assert outbox.frame() == b'{"n":1,"m":[{"a":1},{"a":2},{"p":1}]}'
    assert outbox.frame() is None


def test_only_the_latest_price_of_a_symbol_is_kept():
    outbox = open_outbox()
    for price in (b"1", b"2", b"3"):
        outbox.put_latest("BTC", price)
    outbox.put_latest("ETH", b"9")
    assert outbox.frame() == b'{"n":1,"m":[3,9]}'


def test_what_comes_while_a_snapshot_is_read_follows_it():
    outbox = Outbox()
    outbox.put(b'"alert"')
    assert outbox.frame() is None
    outbox.put_first(b'"snapshot"')
    outbox.held = False
    assert outbox.frame() == b'{"n":1,"m":["snapshot","alert"]}'


def test_a_socket_that_does_not_keep_up_overflows_and_loses_nothing_silently():
    outbox = Outbox()
    for _ in range(MOST_QUEUED):
        outbox.put(b"1")
    with pytest.raises(Overflow):
        outbox.put(b"1")
    for _ in range(10 * MOST_QUEUED):
        outbox.put_latest("price", b"1")


def test_frames_nobody_acknowledges_stop_at_a_bound():
    outbox = open_outbox()
    sent = 0
    for _ in range(2 * MOST_OUT):
        outbox.put_latest("price", b"1")
        sent += outbox.frame() is not None
    assert sent == MOST_OUT
    assert outbox.blocked
    outbox.acknowledge(1)
    assert outbox.frame() == b'{"n":%d,"m":[1]}' % (MOST_OUT + 1)


def test_an_acknowledgement_of_what_was_never_sent_counts_for_nothing():
    outbox = open_outbox()
    outbox.put(b"1")
    outbox.frame()
    outbox.acknowledge(10**9)
    for _ in range(MOST_OUT):
        outbox.put_latest("price", b"1")
        assert outbox.frame() is not None
    assert outbox.blocked


def test_it_knows_when_the_oldest_of_each_kind_in_a_frame_was_published():
    outbox = Outbox()
    outbox.held = False
    for at in (5, 3, 4, 0):
        outbox.put(b"1")
        outbox.note("alert", at)
    outbox.note("candle", 2)
    outbox.frame()
    assert outbox.carried == {"alert": 3, "candle": 2}
    outbox.put(b"1")
    outbox.frame()
    assert outbox.carried == {}, "of the last frame only"


def test_an_acknowledgement_tells_when_what_it_covers_was_published_once():
    outbox = Outbox()
    outbox.held = False
    for at in (10, 0, 30):
        outbox.put(b"1")
        outbox.note("alert", at)
        outbox.frame()
    assert outbox.acknowledge(2) == [10]
    assert outbox.acknowledge(2) == []
    assert outbox.acknowledge(99) == [30]


def test_what_a_newer_message_replaced_is_counted():
    outbox = Outbox()
    for price in (b"1", b"2", b"3"):
        outbox.put_latest("BTC", price)
    outbox.put_latest("ETH", b"9")
    assert outbox.conflated == 2


def turn_of(*queue: bytes, **latest: bytes) -> Turn:
    turn = Turn()
    turn.queue += queue
    for name, message in latest.items():
        turn.put_latest(name, message)
    return turn


def test_a_turn_of_many_goes_out_as_it_is_and_joins_what_else_is_owed():
    outbox, other = open_outbox(), open_outbox()
    turn = turn_of(b"1", b"2", BTC=b"3")
    outbox.take(turn)
    other.put(b"0")
    other.put_latest("ETH", b"8")
    other.put_latest("BTC", b"9")
    other.take(turn)
    assert (outbox.depth, other.depth) == (3, 5)
    assert outbox.frame() == b'{"n":1,"m":[1,2,3]}'
    assert other.frame() == b'{"n":1,"m":[0,1,2,8,3]}'
    assert (outbox.conflated, other.conflated) == (0, 1)


@pytest.mark.parametrize("more", ["put", "put_first", "put_latest", "take"])
def test_what_joins_a_turn_reaches_nobody_else(more: str):
    outbox, other, turn = open_outbox(), open_outbox(), turn_of(b"1", BTC=b"2")
    for one in (outbox, other):
        one.take(turn)
    match more:
        case "put":
            outbox.put(b"3")
        case "put_first":
            outbox.put_first(b"3")
        case "put_latest":
            outbox.put_latest("BTC", b"3")
        case "take":
            outbox.take(turn_of(BTC=b"3"))
    assert (
        outbox.frame()
        == {
            "put": b'{"n":1,"m":[1,3,2]}',
            "put_first": b'{"n":1,"m":[3,1,2]}',
            "put_latest": b'{"n":1,"m":[1,3]}',
            "take": b'{"n":1,"m":[1,3]}',
        }[more]
    )
    assert other.frame() == b'{"n":1,"m":[1,2]}'


def test_a_turn_of_any_length_is_taken_by_who_keeps_up_and_by_nobody_else():
    outbox = open_outbox()
    outbox.take(turn_of(*[b"1"] * 1000))
    frame = outbox.frame()
    assert frame is not None
    assert frame.count(b"1") == 1001
    outbox.take(turn_of(*[b"1"] * 1000))
    with pytest.raises(Overflow):
        outbox.take(turn_of(b"1"))


def test_bytes_nobody_acknowledges_stop_at_a_bound_too():
    outbox, message = open_outbox(), b"1" * 100_000
    sent = 0
    while True:
        outbox.put_latest("price", message)
        if outbox.frame() is None:
            break
        sent += 1
    assert sent == MOST_BYTES_OUT // len(message) + 1
    outbox.acknowledge(1)
    outbox.acknowledge(2)
    assert outbox.frame() is not None


def test_the_oldest_of_a_turn_counts():
    outbox, turn = open_outbox(), turn_of(b"1")
    turn.oldest["alert"] = 7
    outbox.take(turn)
    outbox.put(b"2")
    outbox.note("alert", 9)
    outbox.frame()
    assert outbox.carried == {"alert": 7}
