"""The parts wire protocols are made of."""

from collections.abc import Iterable

import pytest

from exchanges.sandbox.protocol import Agenda, Bucket, Frame, Throttle, decimal, rfc3339, shortest


@pytest.mark.parametrize(
    ("value", "places", "padded", "short"),
    [
        (6509100, 2, "65091.00", "65091"),
        (6508366, 2, "65083.66", "65083.66"),
        (1916, 1, "191.6", "191.6"),
        (468, 8, "0.00000468", "0.00000468"),
        (0, 8, "0.00000000", "0"),
        (1200, 0, "1200", "1200"),
        (-74, 5, "-0.00074", "-0.00074"),
    ],
)
def test_numbers_are_printed_with_all_places_or_with_as_few_as_possible(value: int, places: int, padded: str, short: str) -> None:
    assert (decimal(value, places), shortest(value, places)) == (padded, short)


def test_times_are_printed_as_go_prints_them() -> None:
    assert rfc3339(1_786_309_548_228, 568_804) == "2026-08-09T21:05:48.228568804Z"
    assert rfc3339(1_786_309_548_593, 771_330) == "2026-08-09T21:05:48.59377133Z"
    assert rfc3339(1_786_309_548_000) == "2026-08-09T21:05:48Z"


class _Beat:
    def __init__(self, name: str, due: int, pause: int) -> None:
        self.name, self.due, self.pause = name, due, pause

    def fire(self, now: int) -> Iterable[Frame]:
        moment, self.due = self.due, self.due + self.pause
        return [Frame({"at": moment}, self.name)]


def test_an_agenda_sends_what_is_due_in_the_order_of_time() -> None:
    agenda = Agenda()
    agenda.add("slow", _Beat("slow", 10, 100))
    agenda.add("fast", _Beat("fast", 5, 30))
    assert agenda.next_due == 5
    assert [(frame.channel, frame.message["at"]) for frame in agenda.run(70)] == [("fast", 5), ("slow", 10), ("fast", 35), ("fast", 65)]
    assert agenda.next_due == 95


def test_an_agenda_forgets_a_stream_that_was_dropped_and_takes_it_anew() -> None:
    agenda = Agenda()
    agenda.add("one", _Beat("one", 10, 100))
    agenda.drop("one")
    assert agenda.next_due is None
    agenda.add("one", _Beat("one", 50, 100))
    assert [frame.message["at"] for frame in agenda.run(120)] == [50]


def test_a_bucket_lets_through_its_rate_and_its_burst() -> None:
    bucket = Bucket(rate=10, burst=12)
    assert [bucket.take(0.0) for _ in range(13)] == [*range(11, -1, -1), -1]
    assert bucket.take(0.05) == -1
    assert bucket.take(0.1) == 0


def test_a_throttle_counts_the_last_second_only() -> None:
    throttle = Throttle(5, 1.0)
    assert [throttle.exceeded(at / 10) for at in range(6)] == [False] * 5 + [True]
    assert throttle.exceeded(1.45) is False
