"""For how much of a time an exchange was live."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.uptime import Span, Timeline, Uptime, uptime


def live(at: int, seen: int) -> Span:
    return Span(at, seen, live=True)


def down(at: int, seen: int | None = None) -> Span:
    return Span(at, at if seen is None else seen, live=False)


@pytest.mark.parametrize(
    ("spans", "share", "since"),
    [
        pytest.param([], None, None, id="nothing is known"),
        pytest.param([live(200, 300)], None, None, id="what comes after the window says nothing of it"),
        pytest.param([live(200, 300), live(0, 100)], 1.0, 0, id="but does not hide what came before"),
        pytest.param([live(0, 100)], 1.0, 0, id="live all the time"),
        pytest.param([down(0, 100)], 0.0, 0, id="down all the time"),
        pytest.param([live(-50, 100)], 1.0, 0, id="live since before the window"),
        pytest.param([live(-50, 40)], 0.4, 0, id="its process died without a word within the window"),
        pytest.param([live(-50, -10)], 0.0, 0, id="and before it"),
        pytest.param([live(-50, 0)], 0.0, 0, id="and just as it began"),
        pytest.param([down(-50, -50)], 0.0, 0, id="offline since before the window"),
        pytest.param([live(50, 100)], 1.0, 50, id="of what came before the first word nothing is known"),
        pytest.param([down(20, 60), live(60, 100)], 0.5, 20, id="counted from the first word on"),
        pytest.param([live(0, 25), down(25, 75), live(75, 100)], 0.5, 0, id="up, down, up"),
        pytest.param([live(0, 25), live(75, 100)], 0.5, 0, id="died, and came back live"),
        pytest.param([live(0, 90), down(50, 100)], 0.5, 0, id="the later word counts where two overlap"),
        pytest.param([down(50, 100), live(0, 90)], 0.5, 0, id="in whatever order they are told"),
        pytest.param([live(0, 90), live(50, 100)], 1.0, 0, id="two that are live count once"),
        pytest.param([live(0, 100), down(50, 50)], 0.5, 0, id="a word in between ends a state for good"),
        pytest.param([live(50, 40), down(60)], 0.0, 50, id="a mark before its own beginning is worth nothing"),
        pytest.param([down(50, 50), live(50, 100)], 1.0, 50, id="two at the same time: the later told one"),
        pytest.param([live(0, 500)], 1.0, 0, id="a clock ahead of ours adds nothing"),
    ],
)
def test_it_is_the_share_of_what_is_known(spans: list[Span], share: float | None, since: int | None) -> None:
    assert uptime(spans, 0, 100) == Uptime(share, since)


@given(st.lists(st.builds(Span, st.integers(-50, 150), st.integers(-50, 200), st.booleans())))
def test_it_is_a_share_and_agrees_with_counting_the_moments(spans: list[Span]) -> None:
    share, since = uptime(spans, 0, 100)
    ordered = sorted(spans, key=lambda span: span.at)

    def is_live(moment: int) -> bool:
        last = [span for span in ordered if span.at <= moment][-1]
        return last.live and moment < last.seen

    if share is None or since is None:
        assert not any(span.at < 100 for span in spans)
    else:
        assert share == sum(is_live(moment) for moment in range(since, 100)) / (100 - since)


@given(
    st.lists(st.builds(Span, st.integers(-50, 150), st.integers(-50, 200), st.booleans())),
    st.integers(-20, 60),
    st.integers(0, 200),
)
def test_a_timeline_says_the_same_as_counting_its_spans_anew(spans: list[Span], start: int, seen: int) -> None:
    ordered = sorted(spans, key=lambda span: span.at)
    timeline = Timeline()
    for span in ordered:
        timeline.add(span)
    if ordered:
        ordered[-1] = ordered[-1]._replace(seen=max(ordered[-1].seen, seen))
    assert timeline.uptime(start, 100, seen=seen) == uptime(ordered, start, 100)


def test_a_timeline_takes_no_span_from_before_its_last() -> None:
    timeline = Timeline()
    timeline.add(Span(5, 9, True))
    with pytest.raises(ValueError, match="in order"):
        timeline.add(Span(4, 9, True))
