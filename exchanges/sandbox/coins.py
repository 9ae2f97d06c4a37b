"""The coins of the simulated market: real names with believable prices and volumes, then invented tickers. Pure."""

from dataclasses import dataclass

from exchanges.sandbox.hashing import generator

INVENTED_LIFE = (20, 30)
"""Days an invented ticker has been listed: short, so that a thousand of them can be warmed up in a minute."""


@dataclass(frozen=True, slots=True)
class Coin:
    """One coin. ``price`` and ``volume`` (a day) are in dollars, ``decimals`` and ``size_decimals`` those of price and size.

    ``volatility`` is in basis points per 5 minutes, ``beta`` the pull of the common market factor, ``busy`` the share of 5-minute
    intervals that see a trade. ``life`` is how many days before the market's epoch it was listed; 0 leaves that to the seed.
    """

    code: str
    name: str
    price: float
    decimals: int
    size_decimals: int
    volume: float
    volatility: float
    beta: float
    busy: float = 1.0
    life: int = 0


NAMED = (
    Coin("BTC", "Bitcoin", 65_086.18, 2, 8, 186_600_000, 7, 0.9),
    Coin("ETH", "Ethereum", 1_919.41, 2, 8, 88_300_000, 9, 1.1),
    Coin("SOL", "Solana", 77.12, 2, 8, 58_500_000, 11, 1.3),
    Coin("XRP", "XRP", 1.0411, 4, 6, 39_300_000, 10, 1.1),
    Coin("ADA", "Cardano", 0.19782, 5, 8, 19_750_000, 11, 1.2),
    Coin("DOGE", "Dogecoin", 0.0704, 5, 1, 13_260_000, 13, 1.4),
    Coin("LINK", "Chainlink", 8.326, 3, 2, 10_510_000, 11, 1.2),
    Coin("ZEC", "Zcash", 516.2, 2, 8, 9_970_000, 15, 0.8),
    Coin("LTC", "Litecoin", 46.09, 2, 8, 8_070_000, 10, 0.9),
    Coin("SUI", "SUI", 0.6989, 4, 1, 7_540_000, 13, 1.4),
    Coin("AVAX", "Avalanche", 6.552, 3, 8, 6_410_000, 12, 1.3),
    Coin("XLM", "Stellar Lumens", 0.163834, 6, 8, 5_610_000, 11, 1.0),
    Coin("NEAR", "NEAR Protocol", 1.627, 4, 3, 5_060_000, 13, 1.2),
    Coin("UNI", "Uniswap", 4.053, 4, 6, 4_570_000, 13, 1.2),
    Coin("TAO", "Bittensor", 205.55, 2, 4, 3_980_000, 15, 1.1, life=70),
    Coin("HBAR", "Hedera", 0.06933, 5, 1, 3_310_000, 12, 1.1),
    Coin("AAVE", "Aave", 91.4, 2, 3, 2_920_000, 13, 1.2),
    Coin("ENA", "Ethena", 0.08768, 5, 1, 2_640_000, 16, 1.4),
    Coin("DOT", "Polkadot", 0.808, 4, 8, 2_320_000, 12, 1.2),
    Coin("ONDO", "Ondo", 0.35767, 5, 2, 1_980_000, 13, 1.2),
    Coin("SHIB", "SHIBA INU", 0.00002468, 8, 0, 1_550_000, 13, 1.3),
    Coin("FET", "Artificial Superintelligence Alliance", 0.13744, 5, 1, 1_190_000, 15, 1.3, life=12),
    Coin("BAND", "Band Protocol", 0.1752, 4, 2, 101_000, 18, 0.8, busy=0.9),
    Coin("RLC", "iExec RLC", 0.2771, 4, 2, 24_500, 20, 0.6, busy=0.55),
)
"""Ordered by volume, so that a smaller market keeps the big ones. The last two are thinly traded."""

DELISTED = Coin("EOS", "EOS", 0.4217, 4, 2, 310_000, 15, 1.0)
HALTED = Coin("MKR", "Maker", 1_402.7, 1, 4, 950_000, 13, 1.0)
RETIRED = (DELISTED, HALTED)
"""Listed, but no longer traded: every exchange keeps a few of these in its listings."""

_STARTS = "BCDFGKLMNPRSTVZ"
_VOWELS = "AEIOU"


def universe(count: int, seed: int) -> tuple[Coin, ...]:
    """The first ``count`` coins (1 to 1,000): the named ones, then invented ones. Raises ValueError outside that range."""
    if not 1 <= count <= 1_000:
        raise ValueError(f"a simulated market holds 1 to 1000 symbols, not {count}")
    return NAMED[:count] + tuple(_invented(number, seed) for number in range(count - len(NAMED)))


def _invented(number: int, seed: int) -> Coin:
    draw = generator(seed, "coin", number).random
    price = 10 ** (4.5 * draw() - 2.5)
    decimals = next(places for places in range(2, 9) if price * 10**places > 5_000)
    low, high = INVENTED_LIFE
    return Coin(
        code=_ticker(number),
        name=f"{_ticker(number).title()} (invented)",
        price=round(price, decimals),
        decimals=decimals,
        size_decimals=2 if price < 50 else 5,
        volume=1_000_000 / (1 + number) ** 0.35,
        volatility=9 + 9 * draw(),
        beta=0.6 + draw(),
        life=low + int((high - low) * draw()),
    )


def _ticker(number: int) -> str:
    """Five letters nobody trades: consonant, vowel, consonant, vowel, X; unique for each number below 5,625."""
    rest, letters = number, ""
    for alphabet in (_VOWELS, _STARTS, _VOWELS, _STARTS):
        rest, at = divmod(rest, len(alphabet))
        letters = alphabet[at] + letters
    return letters + "X"
