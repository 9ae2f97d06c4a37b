"""How the API pages its lists, and keeps their order from page to page."""

from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models import F, QuerySet
from django.db.models.expressions import OrderBy
from rest_framework.filters import OrderingFilter
from rest_framework.pagination import PageNumberPagination
from rest_framework.request import Request


class Pages(PageNumberPagination):
    """100 rows a page, ``?page_size=`` up to 500."""

    page_size = 100
    page_size_query_param = "page_size"
    max_page_size = 500


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
