"""`make bench`: every subject gives its figures, and a table says what they come to. How fast anything is decides nothing here."""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import charts, frames, peer, report, subjects
from benchmarks.__main__ import FAILED, main
from benchmarks.frames import MIDNIGHT, STEP
from benchmarks.peer import Peers
from benchmarks.rivals import Rival, gather
from benchmarks.rows import Point, Row, at_least, at_most, at_most_times, compared, single, times_better
from benchmarks.timing import TINY, Spread, compare
from exchanges.adapters import binance, coinbase
from exchanges.events import Candle, Sequence, Ticker
from tests.conftest import NO_CHROMIUM, find_chromium

PROJECT = Path(__file__).resolve().parents[1]
RATIOS = {
    "parsing": {"bare typed decode"},
    "socket": {"websockets alone"},
    "indicator": {"empty loop"},
    "pipeline": {"bare typed decode"},
    "growth": {f"a frame at {TINY.growth[0]} symbols"},
    "redis": {"the same on a plain redis-py pipeline", "a script per 50, packed by hiredis, on a bare socket"},
    "commit": {"the same rows by executemany"},
    "fanout": {"websockets' broadcast()", "the Channels tutorial", "the same on daphne"},
    "warmup": {"the same requests at the exchange's limit"},
    "card": {"the alert through Redis to websockets' broadcast()"},
    "browser": {"the same through Redis to websockets' broadcast()"},
    "ten": {"one exchange in a process of its own, ten times"},
    "screen": {"the same page at rest"},
    "footprint": {"django.setup(), the same applications", "hello, world on daphne, the same applications"},
    "lists": {"SELECT … LIMIT 50 by primary key, the same driver"},
}
"""What each subject is measured against wherever it runs. The peers of .venv-bench are left out here: they are 700 MB."""

_SECOND = ("fanout", "ten", "screen", "lists")
"""About half of the work."""

Found = dict[str, list[dict[str, Any]]]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "benchmarks", *words], cwd=PROJECT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def found() -> Found:
    """The rows of a quick run, by subject: two runs side by side. A subject that failed has a row that says so, and fails its own tests."""
    names = [name for name in subjects.names() if name not in _SECOND]
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda some: run("--quick", "--no-peers", "--json", *some), (names, _SECOND)))
    for one in done:
        sys.stderr.write(one.stderr)  # pytest shows it where a test fails
    return {name: rows for one in done for name, rows in json.loads(one.stdout).items()}


# A whole run


@pytest.mark.parametrize("name", subjects.names())
def test_a_subject_has_figures_and_their_ratio_to_each_thing_it_is_measured_against(found: Found, name: str):
    if name == "screen" and find_chromium() is None:
        pytest.skip(NO_CHROMIUM)
    assert not [row["note"] for row in found[name] if row["what"] == FAILED]
    measured = {row["against"] for row in found[name] if row["ratio"] is not None}
    assert measured >= RATIOS[name]
    for row in found[name]:
        figures = [figure for kind in ("ours", "theirs", "ratio") for figure in row[kind] or ()]
        assert all(figure >= 0 for figure in figures), row
        grown = row["unit"] in {"kB", "MB"}  # a process may have had room for it
        assert grown or all(figure > 0 for figure in figures) or row["goal"]["bound"] == 0, row


@pytest.mark.parametrize("name", subjects.names())
def test_what_could_not_be_measured_says_why_and_has_no_figure_in_its_place(found: Found, name: str):
    for row in found[name]:
        if row["goal"] is not None and row["met"] is None:
            assert (row["theirs"], row["ratio"]) == (None, None)
            assert row["note"].startswith(("peer not installed: ", "not measured: "))


def test_no_message_is_lost_on_its_way_to_the_pages(found: Found):
    assert [row["ours"][1] for row in found["fanout"] if "messages lost" in row["what"]] == [
        0
    ] * 3  # of bursts, and paced by number of sockets


def test_every_alert_reaches_every_page_once_and_with_the_price_on_the_other_exchange(found: Found):
    counts = {row["what"].partition(": ")[2]: row["ours"][1] for row in found["card"] if row["unit"] == ""}
    assert counts == {"alerts lost": 0, "alerts that came twice": 0, "alerts without the other exchange's price": 0}
    assert {row["what"].rpartition(" ")[2] for row in found["card"] if row["unit"] == "ms"} == {"p50", "p95", "p99", "max"}


def test_prices_candles_and_alerts_come_from_the_exchange_to_every_browser(found: Found):
    rows = {row["what"].partition(": ")[2]: row for row in found["browser"]}
    assert [row["ours"][1] for what, row in rows.items() if what.endswith("lost")] == [0]
    for kind in ("price, p50", "closed candle, p50", "alert, p50", "alert, p99"):
        assert rows[f"exchange's frame → browser, {kind}"]["ours"][1] > 0
    assert rows["all close at once, last delivery"]["ours"][1] > 0


def test_ten_exchanges_run_in_one_process(found: Found):
    assert {row["what"].rpartition(": ")[2]: row["unit"] for row in found["ten"]} == {
        "share of a core": "%",
        "memory": "MB",
        "live all the time": "",
    }


def test_every_symbol_that_closes_at_once_raises_its_alert(found: Found):
    assert found["commit"][0]["note"].startswith(f"{TINY.together} alerts a close;")


def test_an_unknown_subject_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["speed"])
    assert f"unknown subject: speed; known: {', '.join(subjects.names())}" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--quick", "parsing"], ["--quick"], ["--no-peers"]])
def test_figures_that_say_little_are_not_written(words: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["--write", *words])
    assert "--write takes real figures" in capsys.readouterr().err


# Frames


def test_the_frames_are_what_the_adapters_read():
    (closed,) = binance.parse(frames.binance_klines(1, closed=True)[0])
    assert closed == Candle("BTCUSDT", "5m", MIDNIGHT, 65000.0, 65048.0, 64938.0, 64980.5, 53.38997, True, MIDNIGHT + STEP)
    (ticker,) = binance.parse(frames.binance_tickers(1)[0])
    assert ticker == Ticker("BTCUSDT", 65000.0, MIDNIGHT, 17351.119, 1146988332.40703994, -1.209, 64999.99, 65000.01)
    number, candle = coinbase.parse(frames.coinbase_candles(1)[0])
    assert (number, candle) == (
        Sequence(0),
        Candle("C0-USD", "5m", MIDNIGHT, 65000.0, 65048.0, 64938.0, 64980.5, 53.38997, False, MIDNIGHT),
    )
    number, ticker = coinbase.parse(frames.coinbase_tickers(1)[0])
    assert ticker == Ticker("C0-USD", 65000.0, MIDNIGHT, 3974.98800786, None, 1.21471769193719, 64999.99, 65000.01)


# Peers


async def test_a_run_without_peers_says_so():
    async with Peers(None) as peers:
        field = await gather([Rival("talipp", "talipp_macdv", "talipp", "update", times_better(10))], peers)
    (row,) = field.rows("an update", "µs", {"ours": [1e-6]})
    assert (row.ours, row.theirs, row.ratio, row.met) == (Spread(1, 1, 1), None, None, None)
    assert row.note == "peer not installed: left out of this run"


async def test_a_peer_that_could_not_be_installed_says_why():
    async with Peers({"talipp==2.7.0": "No matching distribution"}) as peers:
        field = await gather([Rival("talipp", "talipp_macdv", "talipp", "update", times_better(10))], peers)
    assert field.absent == {"talipp": "peer not installed: No matching distribution"}


@pytest.fixture
def own_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the place of .venv-bench, the environment of these tests: it has none of the peers."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.setattr(peer, "ENVIRONMENT", tmp_path)


@pytest.mark.usefixtures("own_python")
async def test_a_peer_that_cannot_be_imported_is_not_measured():
    async with Peers({}) as peers:
        field = await gather([Rival("talipp", "talipp_macdv", "talipp", "update", times_better(10))], peers)
    assert field.absent == {"talipp": "peer does not run here: ModuleNotFoundError: No module named 'talipp'"}


def test_every_peer_has_its_requirement():
    modules = {path.stem for path in (PROJECT / "benchmarks" / "peers").glob("[a-z]*.py")}
    assert {module.partition("_")[0] for module in modules} == {"ccxt", "cryptofeed", "nautilus", "talib", "talipp"}
    assert [one.partition("==")[0] for one in peer.wanted()] == ["talipp", "TA-Lib", "nautilus_trader", "ccxt", "cryptofeed"]


# Rows


async def test_contenders_take_turns():
    order: list[str] = []

    def slice_of(name: str) -> Any:
        return lambda times: order.append(name) or times * 0.01

    found = await compare({"a": slice_of("a"), "b": slice_of("b"), "c": slice_of("c")}, TINY._replace(slices=3))
    assert order[-9:] == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]
    assert found == {name: [0.01, 0.01, 0.01] for name in "abc"}


def test_a_spread_is_the_median_and_its_quartiles():
    assert Spread.of([5, 1, 4, 2, 3]) == Spread(2, 3, 4)
    assert Spread.of([7]) == Spread(7, 7, 7)


def test_a_ratio_is_of_pairs_of_the_same_round():
    row = compared("x", "µs", [1e-6, 2e-6, 3e-6], "peer", [1e-6, 1e-6, 1e-6])
    assert row.ratio == Spread(1.5, 2.0, 2.5)
    assert row.ours is not None
    assert row.ours.middle == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (compared("x", "s", [3.0], "peer", [2.0], goal=at_most_times(1.5)), True),
        (compared("x", "s", [3.1], "peer", [2.0], goal=at_most_times(1.5)), False),
        (compared("x", "s", [1.0], "peer", [4.0], goal=times_better(4)), True),
        (compared("x", "s", [1.0], "peer", [3.9], goal=times_better(4)), False),
        (compared("x", "s", [1.0], "peer", [9.0], goal=at_most(0.9)), False),
        (single("x", "/s", [150_000.0], goal=at_least(150_000)), True),
        (single("x", "/s", [149_999.0], goal=at_least(150_000)), False),
        (single("x", "s", [1.0], "peer", goal=at_most_times(1.5), note="peer not installed"), None),
        (single("x", "s", [], "peer", goal=at_most(1), note="no server"), None),
        (compared("x", "s", [1.0], "peer", [1.0]), None),
    ],
)
def test_a_goal_is_met_or_missed_by_the_median_or_not_measured(row: Row, met: bool | None):
    assert row.met is met


def test_the_table_shows_a_missed_goal_as_missed_and_an_absent_peer_as_absent():
    rows = [
        compared("kline", "µs", [2e-6], "decode", [1e-6], goal=at_most_times(1.5)),
        compared("kline", "µs", [2e-6], "ccxt", [24e-6], goal=times_better(10)),
        single("kline", "µs", [2e-6], "nautilus", goal=times_better(10), note="peer not installed: no wheel"),
    ]
    assert report.table(rows) == (
        "| what  | ours | against  | theirs | ratio    | goal       |              | note                         |\n"
        "| ----- | ---- | -------- | ------ | -------- | ---------- | ------------ | ---------------------------- |\n"
        "| kline | 2 µs | decode   | 1 µs   | 2x       | ≤ 1.5x     | **missed**   |                              |\n"
        "| kline | 2 µs | ccxt     | 24 µs  | 12x less | ≥ 10x less | met          |                              |\n"
        "| kline | 2 µs | nautilus | -      | -        | ≥ 10x less | not measured | peer not installed: no wheel |\n"
    )
    assert report.summary(rows) == "1 goals met, 1 missed, 1 not measured."


@pytest.fixture
def document(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A document that nothing was written to yet."""
    monkeypatch.setattr(report, "DOCUMENT", document := tmp_path / "benchmarks.md")
    document.write_text(f"# Benchmarks\n{report.BEGIN}{report.END}after\n")
    return document


def test_a_whole_run_is_written_between_the_marks_and_nowhere_else(document: Path):
    for text in ("## A\n\nold\n", "## A\n\nnew\n"):
        report.write("Measured today.", {"a": text}, ["a"])
    measured = "\nMeasured today.\n\n<!-- section: a -->\n## A\n\nnew\n\n"
    assert document.read_text() == f"# Benchmarks\n{report.BEGIN}{measured}{report.END}after\n"
    document.write_text("# Benchmarks\n")
    with pytest.raises(ValueError, match="has lost the marks"):
        report.write("", {"a": "new"}, ["a"])


def test_the_section_of_one_subject_is_written_without_the_others(document: Path):
    order = ["a", "b", "c"]
    report.write("Measured in May.", {"a": "## A\n", "c": "## C\n"}, order)
    report.write("", {"b": "## B\n"}, order)
    report.write("", {"c": "## C\n\nin June\n"}, order)
    sections = "<!-- section: a -->\n## A\n\n<!-- section: b -->\n## B\n\n<!-- section: c -->\n## C\n\nin June\n"
    assert document.read_text() == f"# Benchmarks\n{report.BEGIN}\nMeasured in May.\n\n{sections}\n{report.END}after\n"


def test_a_section_says_when_it_was_measured_where_that_is_not_said_for_all():
    rows = [single("x", "s", [1.0], goal=at_most(2))]
    assert report.section("X", rows).startswith("## X\n\n1 goals met")
    assert report.section("X", rows, "Measured in June.").startswith("## X\n\nMeasured in June.\n\n1 goals met")


def test_what_has_a_place_in_a_chart_is_drawn_beside_the_document(document: Path):
    rows = [single("x", "µs", [1e-6 * x], point=Point("growth", "a <new> line", x)) for x in (50, 2000)]
    report.draw([*rows, single("of no chart", "s", [1.0])])
    text = (document.parent / "benchmarks-growth.svg").read_text()
    drawn = [element.text for element in ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}text")]
    assert {"symbols", "µs of the processor a frame", "a <new> line", "50", "2,000"} <= set(drawn)
    assert "(benchmarks-growth.svg)" in report.section("X", rows)
    assert not (document.parent / "benchmarks-fanout.svg").exists()


def test_a_chart_has_the_higher_figure_higher_up():
    (chart,) = charts.of(rows := [single("x", "µs", [1e-6 * x], point=Point("growth", "ours", x)) for x in (50, 100)])
    low, high = (float(y) for y in re.findall(r'cy="([\d.]+)"', charts.svg(chart, rows)))
    assert high < low


def test_the_document_has_its_marks():
    text = (PROJECT / "docs" / "benchmarks.md").read_text()
    assert 0 < text.find(report.BEGIN) < text.find(report.END)
