"""Users and groups, with the theme's forms. Who may change users may not make anybody a superuser."""

from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from simple_history.admin import SimpleHistoryAdmin
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from exchanges.admin import UserExchangeInline, ValidatedAgain
from livermore.pagination import ROWS_A_PAGE

admin.site.unregister([User, Group])
# Not for people to edit: nobody signs up here, and a second factor is its owner's (`manage.py resetsecondfactor` removes a lost one).
admin.site.unregister([EmailAddress, Authenticator])


@admin.register(User)
class UserAdmin(SimpleHistoryAdmin, DjangoUserAdmin, ValidatedAgain):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    inlines = [UserExchangeInline]
    list_per_page = ROWS_A_PAGE
    list_display = ["username", "email", "is_active", "is_staff", "is_superuser", "last_login"]

    def get_inlines(self, request: HttpRequest, obj: User | None) -> list[Any]:
        return self.inlines if obj else []

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return fields if request.user.is_superuser else [*fields, "is_superuser", "user_permissions"]

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and _may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_touch(request, obj)


def _may_touch(request: HttpRequest, user: User | None) -> bool:
    """A superuser's account, password included, is for superusers."""
    return user is None or request.user.is_superuser or not user.is_superuser


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    pass
