from exchanges.events import SymbolInfo
from symbols.tiers import dollar_rates, ranked, tier_one


def market(symbol: str, volume: float | None, *, price: float = 1.0, alias_of: str = "", tradable: bool = True) -> SymbolInfo:
    base, quote = symbol.split("-")
    return SymbolInfo(symbol, base, quote, tradable, "", price, None, volume, None, "", alias_of)


def ranks(markets: list[SymbolInfo]) -> dict[str, int | None]:
    return {info.symbol: rank for info, rank, _ in ranked(markets)}


def chosen(markets: list[SymbolInfo], top_n: int, members: set[str] = frozenset(), policies: dict[str, str] | None = None) -> list[str]:  # type: ignore[assignment]
    return tier_one(ranked(markets), top_n, members=frozenset(members), policies=policies or {})


def test_the_largest_quote_volume_comes_first():
    assert ranks([market("A-USD", 5.0), market("B-USD", 9.0), market("C-USD", 7.0)]) == {"A-USD": 3, "B-USD": 1, "C-USD": 2}


def test_an_alias_does_not_count_twice():
    assert ranks([market("BTC-USD", 9.0), market("BTC-USDC", 9.0, alias_of="BTC-USD"), market("ETH-USD", 5.0)]) == {
        "BTC-USD": 1, "BTC-USDC": None, "ETH-USD": 2,
    }  # fmt: skip


def test_volumes_are_compared_in_dollars():
    markets = [market("BTC-USD", 9_000.0, price=100.0), market("ETH-BTC", 100.0, price=0.1), market("ADA-EUR", 1_000.0)]
    assert dollar_rates(markets)["BTC"] == 100.0
    assert ranks(markets) == {"BTC-USD": 2, "ETH-BTC": 1, "ADA-EUR": None}


def test_an_inverse_market_gives_the_rate_of_a_currency():
    assert dollar_rates([market("USDT-TRY", 5.0, price=40.0)])["TRY"] == 1 / 40


def test_dollar_against_dollar_and_what_cannot_be_traded_have_no_rank():
    markets = [market("USDC-USDT", 99.0), market("OLD-USD", 50.0, tradable=False), market("NEW-USD", None), market("A-USD", 1.0)]
    assert ranks(markets) == {"USDC-USDT": None, "OLD-USD": None, "NEW-USD": None, "A-USD": 1}


MARKETS = [market(f"{name}-USD", 100.0 - place) for place, name in enumerate("ABCDEFGHIJ")]


def test_tier_one_holds_the_top_n():
    assert chosen(MARKETS, 3) == ["A-USD", "B-USD", "C-USD"]


def test_a_member_stays_down_to_rank_one_point_two_n():
    assert chosen(MARKETS, 5, {"F-USD", "G-USD"}) == ["A-USD", "B-USD", "C-USD", "D-USD", "E-USD", "F-USD"]


def test_pinned_is_in_and_excluded_is_out():
    assert chosen(MARKETS, 2, policies={"A-USD": "excluded", "J-USD": "pinned"}) == ["B-USD", "J-USD"]


def test_a_pinned_market_that_cannot_be_traded_is_out():
    assert chosen([*MARKETS, market("Z-USD", 1.0, tradable=False)], 1, policies={"Z-USD": "pinned"}) == ["A-USD"]
