"""The pages a person opens: what they show to whom, and that their parts fit together."""

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.template.loader import render_to_string
from django.test import Client, RequestFactory

from market_data.macdv import STAGES
from symbols.models import Coin, Symbol
from tests import seeds
from tests.people import browser, client_of, person

STATIC = Path(settings.BASE_DIR) / "livermore" / "static" / "livermore"
TEMPLATES = Path(settings.BASE_DIR) / "templates"
MODULES = {path.name: path.read_text(encoding="utf-8") for path in (STATIC / "js").glob("*.js")}


@pytest.fixture(autouse=True)
def _world(db, redis_url):
    seeds.restore()


def page(client: Client, path: str = "/") -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.parametrize(("who", "may"), [("viewer", "no"), ("operator", "yes"), ("superuser", "yes")])
def test_the_dashboard_says_whether_its_reader_may_start_and_stop_exchanges(who: str, may: str):
    assert f'data-may-control="{may}"' in page(browser(who))


@pytest.mark.parametrize(("staff", "links"), [(True, 2), (False, 0)])
def test_links_to_the_admin_are_for_those_who_have_one(staff: bool, links: int):
    text = page(client_of(person("trader", group="viewer", staff=staff)))
    assert text.count('<a href="/admin/">') == links
    assert ('data-admin="/admin/"' in text) is staff


def test_the_dashboard_shows_the_way_to_a_new_password_and_out_by_a_form():
    text = page(browser("viewer"))
    assert '<a href="/password/">Change password</a>' in text
    assert re.search(r'<form method="post" action="/logout/">\s*<input type="hidden" name="csrfmiddlewaretoken"', text)


def test_the_log_in_page_keeps_the_name_after_an_error_but_not_the_password():
    answer = Client().post("/login/", {"username": "<trader>", "password": "not-the-password", "next": "/?q=btc"})
    text = answer.content.decode()
    assert 'value="&lt;trader&gt;"' in text
    assert "not-the-password" not in text
    assert '<input type="hidden" name="next" value="/?q=btc">' in text
    assert 'role="alert"' in text


def test_no_page_needs_inline_scripts_or_styles():
    request = RequestFactory().get("/")
    request.user = AnonymousUser()
    Symbol.objects.create(exchange_id="coinbase", symbol="BTC-USD", base="BTC", quote="USD")
    client = browser("operator")
    symbol_page = page(client, "/symbols/coinbase/BTC-USD/")
    assert "https://www.coinbase.com/" in symbol_page
    pages = [page(client), symbol_page.replace("https://www.coinbase.com/", "/"), page(Client(), "/login/")]
    pages += [render_to_string(f"{name}.html", request=request) for name in ("403", "403_csrf", "404", "500")]
    for text in pages:
        assert re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|javascript:", text) == []
        assert re.findall(r'(?:src|href)="(?:https?:)?//', text) == []


def test_the_server_error_page_needs_neither_user_nor_request():
    assert "The server failed" in render_to_string("500.html")


def test_every_module_that_is_imported_exists():
    for name, source in MODULES.items():
        for imported in re.findall(r'from "\./([^"]+)"', source):
            assert imported in MODULES, f"{name} imports {imported}"


def modules_of(name: str) -> set[str]:
    """A module and all that it imports."""
    found, waiting = set(), {name}
    while waiting:
        found |= waiting
        waiting = {imported for one in waiting for imported in re.findall(r'from "\./([^"]+)"', MODULES[one])} - found
    return found


@pytest.mark.parametrize(("module", "url"), [("dashboard.js", "/"), ("symbol.js", "/symbols/coinbase/BTC-USD/")])
def test_every_element_a_page_asks_for_is_in_it(module, url):
    coin = Coin.objects.create(code="BTC", simulated=False)
    Symbol.objects.create(exchange_id="coinbase", symbol="BTC-USD", base="BTC", quote="USD", coin=coin)
    text = page(browser("operator"), url)
    wanted = {found for name in modules_of(module) for found in re.findall(r'byId\("([\w-]+)"\)', MODULES[name])}
    assert len(wanted) > 20
    assert {name for name in wanted if f'id="{name}"' not in text} == set()


def test_every_icon_that_is_named_is_in_the_sprite():
    sprite = set(re.findall(r'<symbol id="([\w-]+)"', (TEMPLATES / "icons.html").read_text(encoding="utf-8")))
    named = {found for source in MODULES.values() for found in re.findall(r'[iI]con\((?:[^)]*, )?"([\w-]+)"', source)}
    named |= {
        found for path in TEMPLATES.rglob("*.html") for found in re.findall(r'<use href="#([\w-]+)"', path.read_text(encoding="utf-8"))
    }
    words = dict(re.findall(r"export const (STAGES|STATES) = \{(.*?)\};", MODULES["stages.js"], re.DOTALL))
    named |= {f"stage-{word}" for word in re.findall(r"^  (\w+):", words["STAGES"], re.MULTILINE)}
    named |= {f"state-{word}" for word in re.findall(r"^  (\w+):", words["STATES"], re.MULTILINE)}
    assert len(named) > 25
    assert named - sprite == set()


def test_the_pages_stages_are_those_of_the_indicator():
    source = re.search(r"export const STAGES = \{(.*?)\};", MODULES["stages.js"], re.DOTALL)
    assert source is not None
    assert set(re.findall(r"^  (\w+):", source[1], re.MULTILINE)) == set(STAGES)
