"""Market caps, from a provider of CoinGecko's public shape where MARKET_CAP_URL names one. Absent is null, never a guess.

A provider knows coins by ticker, and different coins share tickers: a cap counts only where the provider's price is that of our own
exchanges. A provider on loopback is the sandbox's, and is asked about simulated coins only.
"""

import logging
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
from django.conf import settings
from django.db import transaction
from django.db.models import Avg, Q

from exchanges.reasons import why
from exchanges.status import now_ms
from livermore.configuration import is_loopback
from livermore.db import db
from symbols.models import Coin
from symbols.tiers import USD_GROUP

log = logging.getLogger(__name__)

PAGES, A_PAGE = 4, 250
TRUSTED_FOR = 3_600_000
"""Milliseconds for which what was told is not asked for again."""
SAME_WITHIN = 0.10
"""Share by which the provider's price of a coin may differ from ours."""


class _Row(msgspec.Struct):
    symbol: str
    market_cap: float | None = None
    current_price: float | None = None


_decode = msgspec.json.Decoder(list[_Row], strict=False).decode


async def refresh(*, simulated: bool) -> str:
    """Ask the provider, unless there is none for these coins or it has been asked within the hour. Says what became of it; never raises."""
    url = settings.MARKET_CAP_URL
    if not url or is_loopback(urlsplit(url).hostname or "") != simulated or not await db(_is_due)(simulated):
        return ""
    rows: list[_Row] = []
    try:
        async with httpx.AsyncClient(timeout=10.0, trust_env=False, headers={"User-Agent": "livermore"}) as client:
            for page in range(1, PAGES + 1):
                found = await _page(client, url, page)
                rows += found
                if len(found) < A_PAGE:
                    break
    except (httpx.HTTPError, msgspec.MsgspecError) as error:
        said = f"market caps are not known: {why(error)}"
        log.warning("%s", said)
        return said
    return f"market caps of {await db(store)(rows, simulated=simulated)} coins"


async def _page(client: httpx.AsyncClient, url: str, page: int) -> list[_Row]:
    query: dict[str, str | int] = {"vs_currency": "usd", "order": "market_cap_desc", "per_page": A_PAGE, "page": page}
    answer = await client.get(f"{url.rstrip('/')}/coins/markets", params=query)
    answer.raise_for_status()
    return _decode(answer.content)


def _is_due(simulated: bool) -> bool:
    return not Coin.objects.filter(simulated=simulated, market_cap_at__gt=now_ms() - TRUSTED_FOR).exists()


@transaction.atomic
def store(rows: list[_Row], *, simulated: bool) -> int:
    """Note the cap of each coin the provider means; those it does not tell become unknown. Returns how many are known."""
    traded = Q(symbols__tradable=True, symbols__quote__in=USD_GROUP, symbols__price__isnull=False)
    coins = list(Coin.objects.filter(simulated=simulated).annotate(ours=Avg("symbols__price", filter=traded)))
    told: dict[str, list[_Row]] = {}
    for row in rows:
        told.setdefault(row.symbol.upper(), []).append(row)
    at, known = now_ms(), 0
    for coin in coins:
        coin.market_cap, coin.market_cap_at = _meant(coin, told.get(coin.code.upper(), [])), at
        known += coin.market_cap is not None
    Coin.objects.bulk_update(coins, ["market_cap", "market_cap_at"], batch_size=500)
    return known


def _meant(coin: Any, rows: list[_Row]) -> float | None:
    """The cap of the coin of that ticker whose price is ours."""
    for row in rows:
        if row.market_cap and row.current_price and coin.ours and abs(row.current_price / coin.ours - 1) <= SAME_WITHIN:
            return row.market_cap
    return None
