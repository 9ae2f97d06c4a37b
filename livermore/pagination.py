"""How lists are paged: in one order from page to page, at a cost that does not grow with the table."""

import base64
import binascii
import json
from functools import cached_property
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.core.paginator import Paginator
from django.db.models import F, Q, QuerySet
from django.db.models.expressions import OrderBy
from rest_framework.exceptions import NotFound
from rest_framework.filters import OrderingFilter
from rest_framework.pagination import PageNumberPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param

COUNTED = 10_000
"""Rows of a long list that are counted, and that its page numbers reach. To count a million takes a second."""

ROWS_A_PAGE = 25
"""In the admin: the theme takes a millisecond or two for a row."""


def counted(rows: QuerySet[Any]) -> int:
    """How many there are, but no more than one beyond ``COUNTED``."""
    return int(rows.order_by().values("pk")[: COUNTED + 1].count())


def _rows(queryset: QuerySet[Any], keys: list[Any]) -> list[Any]:
    """The rows of these keys, in this order, found by the key alone: by a filter too, SQLite may look through all that pass the filter."""
    if not keys:
        return []
    rows = queryset.order_by()
    rows.query.where = type(rows.query.where)()
    found = rows.in_bulk(keys)
    return [found[key] for key in keys if key in found]


class Pages(PageNumberPagination):
    """100 rows a page, ``?page_size=`` up to 500."""

    page_size = 100
    page_size_query_param = "page_size"
    max_page_size = 500


class LongPages(Pages):
    """``Pages`` for what grows without end. ``count`` stops at 10,000; ``next`` goes on to the last row, from there on by a cursor.

    The rows have to be ordered by fields that are never null, the key last: ``StableOrdering`` does.
    """

    cursor_query_param = "cursor"
    page_query_description = f"A page number, as far as it is within the first {COUNTED:,} rows; `next` leads beyond them."
    cursor_query_description = "Where the page begins, out of `next`: opaque."

    def paginate_queryset(self, queryset: QuerySet[Any], request: Request, view: Any = None) -> list[Any]:
        self.request = request
        size = self.get_page_size(request) or self.page_size
        names = [str(name) for name in queryset.query.order_by or queryset.model._meta.ordering]
        cursor = request.query_params.get(self.cursor_query_param)
        self._number = 0 if cursor else self._page_number(request, size)
        start = max(0, self._number - 1) * size
        rows = queryset.filter(_after(names, _values(cursor, names))) if cursor else queryset
        # The keys first, out of an index alone: rows that are skipped are not read, and none is sorted with all it carries.
        keys = list(rows.values_list("pk", flat=True)[start : start + size + 1])
        if self._number > 1 and not keys:
            raise NotFound("Invalid page.")
        self._count = counted(queryset) if cursor or len(keys) > size else start + len(keys)
        page = _rows(queryset, keys[:size])
        self._next = self._link_after(page[-1], names, size) if len(keys) > size and page else None
        return page

    def _page_number(self, request: Request, size: int) -> int:
        text = request.query_params.get(self.page_query_param, "1")
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
        if number < 1:
            raise NotFound("Invalid page.")
        if number > 1 and number * size > COUNTED:
            raise NotFound(
                f"Page numbers reach the first {COUNTED:,} rows: follow `next` beyond them, or narrow the list with its filters."
            )
        return number

    def _link_after(self, last: Any, names: list[str], size: int) -> str:
        url = remove_query_param(self.request.build_absolute_uri(), self.cursor_query_param)
        if self._number and (self._number + 1) * size <= COUNTED:
            return str(replace_query_param(url, self.page_query_param, self._number + 1))
        values = [getattr(last, name.lstrip("-")) for name in names]
        cursor = base64.urlsafe_b64encode(json.dumps(values).encode()).decode()
        return str(replace_query_param(remove_query_param(url, self.page_query_param), self.cursor_query_param, cursor))

    def get_previous_link(self) -> str | None:
        """None on the first page, and behind a cursor."""
        if self._number < 2:
            return None
        url = self.request.build_absolute_uri()
        return str(replace_query_param(url, self.page_query_param, self._number - 1))

    def get_paginated_response(self, data: Any) -> Response:
        count = min(self._count, COUNTED)
        return Response({"count": count, "next": self._next, "previous": self.get_previous_link(), "results": data})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        described: dict[str, Any] = super().get_paginated_response_schema(schema)
        described["properties"]["count"]["description"] = f"How many match; {COUNTED}: that many, or more."
        return described

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        parameter = {"name": self.cursor_query_param, "required": False, "in": "query", "schema": {"type": "string"}}
        return [*super().get_schema_operation_parameters(view), {**parameter, "description": self.cursor_query_description}]


def _values(cursor: str, names: list[str]) -> list[int]:
    """The ordered-by values of the last row of the page before."""
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor.encode()))
    except (ValueError, binascii.Error, RecursionError):
        values = None
    if not isinstance(values, list) or len(values) != len(names) or not all(type(value) is int and abs(value) < 2**63 for value in values):
        raise NotFound("Invalid cursor: take it out of `next`, with the same `ordering`.")
    return values


def _after(names: list[str], values: list[int]) -> Q:
    """What comes after a row, in that order. The first field bounds the whole, so that an index on it begins there."""
    first, *rest = names
    field, past = first.lstrip("-"), "lt" if first.startswith("-") else "gt"
    beyond = Q(**{f"{field}__{past}": values[0]})
    if not rest:
        return beyond
    return Q(**{f"{field}__{past}e": values[0]}) & (beyond | (Q(**{field: values[0]}) & _after(rest, values[1:])))


class StableOrdering(OrderingFilter):
    """``?ordering=``, with equal rows in one order on every page and unknown values last on every database."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        names = self.get_ordering(request, queryset, view) or queryset.query.order_by or queryset.model._meta.ordering
        return queryset.order_by(*[_known_first(queryset, name) for name in names], "-pk")


def _known_first(queryset: QuerySet[Any], name: Any) -> OrderBy | str:
    if not isinstance(name, str) or not _may_be_unknown(queryset, name.lstrip("-")):
        return name
    field = F(name.lstrip("-"))
    return field.desc(nulls_last=True) if name.startswith("-") else field.asc(nulls_last=True)


def _may_be_unknown(queryset: QuerySet[Any], name: str) -> bool:
    try:
        return bool(queryset.model._meta.get_field(name).null)
    except FieldDoesNotExist:
        return True  # an annotation


class LongPaginator(Paginator):
    """For the admin's lists of what grows without end: it counts, and pages, as far as ``COUNTED``."""

    template_name = "admin/long_pagination.html"
    object_list: QuerySet[Any]

    def page(self, number: Any) -> Any:
        """The keys first, out of an index alone: neither a join nor what a row carries is in the way of the order."""
        number = self.validate_number(number)
        start = (number - 1) * self.per_page
        keys = list(self.object_list.values_list("pk", flat=True)[start : start + self.per_page])
        return self._get_page(_rows(self.object_list, keys), number, self)

    @cached_property
    def counted(self) -> int:
        return counted(self.object_list)

    @cached_property
    def count(self) -> int:
        return min(self.counted, COUNTED)

    @property
    def more(self) -> bool:
        """Whether there are others behind the last page."""
        return self.counted > COUNTED
