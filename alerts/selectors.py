"""Reads of the record of alerts that would be slow in the plain way: it grows without end."""

from collections.abc import Sequence

from django.db import connection
from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Concat

from alerts.models import Alert
from symbols.models import Symbol

FEW = 50
"""Symbols that are looked up one by one; the alerts of more are come across soon enough, newest first."""


def labels_known() -> list[str]:
    """Every label that an alert has, in order."""
    return _steps("trigger_label")


def symbols_known() -> list[str]:
    """Every symbol that has an alert, in order."""
    return _steps("symbol")


def _steps(column: str) -> list[str]:
    """From one value to the next through the index that begins with it: ``DISTINCT`` would read the whole of it."""
    name = connection.ops.quote_name(column)
    following = f"SELECT MIN({name}) FROM alerts_alert"  # nosec B608  # a column of ours
    steps = f"SELECT ({following} WHERE {name} > known.it) FROM known WHERE known.it IS NOT NULL"  # nosec B608
    known = f"WITH RECURSIVE known(it) AS ({following} UNION ALL {steps}) SELECT it FROM known WHERE it IS NOT NULL"  # nosec B608
    with connection.cursor() as cursor:
        cursor.execute(known)
        return [value for (value,) in cursor.fetchall()]


def alerts_found(alerts: QuerySet[Alert], words: Sequence[str]) -> QuerySet[Alert]:
    """Those whose symbol or base has every word in it, or the one whose uid it is."""
    if any("|" in word for word in words):
        return alerts.filter(uid=" ".join(words))
    matching = Q()
    for word in words:
        matching &= Q(symbol__icontains=word) | Q(base__icontains=word)
    symbols = set(Symbol.objects.filter(matching).order_by().values_list("symbol", flat=True))
    symbols |= {name for name in symbols_known() if all(word.lower() in name.lower() for word in words)}
    if len(symbols) > FEW:
        # Not by the index of symbols, which would have to be sorted by time.
        return alerts.alias(sought=Concat("symbol", Value(""))).filter(sought__in=sorted(symbols))
    return alerts.filter(symbol__in=sorted(symbols))
