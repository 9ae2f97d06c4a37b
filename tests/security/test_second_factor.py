"""A second factor: set up, asked for at the log-in, and needed by staff before the admin opens. Recovery codes; axes."""

import re
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth as totp
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from tests import seeds
from tests.people import person

PASSWORD = "battery-staple-9"
CHANGELIST = "/admin/exchanges/exchange/"


@pytest.fixture(autouse=True)
def _world(db: None, redis_url: str) -> None:
    seeds.restore()


@pytest.fixture
def olive() -> User:
    user = person("olive", group="operator")
    user.set_password(PASSWORD)
    user.save()
    return user


class Steps:
    """Somebody with a browser and an authenticator app."""

    def __init__(self) -> None:
        self.client = Client()
        self.secret = ""
        self.codes: list[str] = []
        self._used = 0

    def log_in(self, password: str = PASSWORD, to: str = "/") -> str:
        answer = self.client.post("/login/", {"username": "olive", "password": password, "next": to})
        return answer.headers.get("Location", str(answer.status_code))

    def code(self) -> str:
        """One that the app shows now, or at the next or last step, as clocks differ: each counts once."""
        counter = sorted(totp.yield_hotp_counters_from_time())[self._used]
        self._used += 1
        return totp.format_hotp_value(totp.hotp_value(self.secret, counter))

    def set_up(self) -> None:
        self.client.post("/account/confirm/", {"password": PASSWORD})
        page = self.client.get("/account/two-factor/totp/activate/").text
        assert 'src="data:image/svg+xml;base64,' in page
        (self.secret,) = re.findall(r'id="authenticator_secret" value="(\w+)"', page)
        answer = self.client.post("/account/two-factor/totp/activate/", {"code": self.code()})
        assert answer.headers["Location"] == "/account/two-factor/recovery-codes/"
        self.codes = re.findall(r"\b\d{8}\b", self.client.get("/account/two-factor/recovery-codes/").text)

    def second(self, code: str) -> str:
        answer = self.client.post("/account/two-factor/authenticate/", {"code": code})
        return answer.headers.get("Location", str(answer.status_code))


@pytest.fixture
def protected(olive: User) -> Steps:
    """Olive with a second factor, logged out."""
    steps = Steps()
    steps.log_in()
    steps.set_up()
    steps.client.post("/logout/")
    return steps


def test_a_password_alone_opens_nothing_once_there_is_a_second_factor(protected: Steps) -> None:
    assert protected.log_in(to="/settings/") == "/account/two-factor/authenticate/"
    for path in ("/", "/settings/", "/admin/", "/account/two-factor/"):
        assert protected.client.get(path).headers["Location"].startswith(("/login/", "/admin/login/")), path
    assert protected.client.get("/api/alerts/").status_code == 403
    assert protected.second("000000") == "200", "a wrong code shows the form again"
    assert protected.client.get("/").status_code == 302
    assert protected.second(protected.code()) == "/settings/"
    assert protected.client.get("/").status_code == 200


def test_a_code_counts_once(protected: Steps) -> None:
    protected.log_in()
    code = protected.code()
    assert protected.second(code) == "/"
    protected.client.post("/logout/")
    protected.log_in()
    assert protected.second(code) == "200"


def test_a_recovery_code_stands_for_the_app_and_counts_once(protected: Steps) -> None:
    assert len(set(protected.codes)) == 10
    protected.log_in()
    assert protected.second(protected.codes[0]) == "/"
    protected.client.post("/logout/")
    protected.log_in()
    assert protected.second(protected.codes[0]) == "200"
    assert protected.second(protected.codes[1]) == "/"


def test_codes_cannot_be_guessed_without_end(protected: Steps) -> None:
    protected.log_in()
    for _ in range(10):
        protected.second("000000")
    assert protected.second(protected.code()) == "200", "even the right one has to wait"


def test_the_admins_own_form_is_no_way_around(protected: Steps) -> None:
    answer = protected.client.post("/admin/login/?next=/admin/", {"username": "olive", "password": PASSWORD})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/login/?next=/admin/")
    assert protected.client.get("/").status_code == 302


def test_secrets_of_second_factors_are_encrypted(protected: Steps) -> None:
    rows = {row.type: row.data for row in Authenticator.objects.all()}
    assert rows["totp"]["secret"].startswith("f1:")
    assert rows["recovery_codes"]["seed"].startswith("f1:")
    assert protected.secret not in str(rows)


# Staff


def test_in_the_demo_the_admin_opens_with_a_password(olive: User) -> None:
    steps = Steps()
    steps.log_in()
    assert steps.client.get(CHANGELIST).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_staff_are_led_to_set_one_up_before_the_admin_opens(olive: User, settings: Any) -> None:
    settings.STAFF_SECOND_FACTOR = True
    steps = Steps()
    steps.log_in()
    for path in ("/admin/", CHANGELIST, "/admin/auth/user/", "/admin/password_change/"):
        assert steps.client.get(path).headers["Location"] == "/account/two-factor/", path
    assert "The admin opens once you have a second factor" in steps.client.get("/account/two-factor/").text
    assert steps.client.get("/").status_code == 200, "all else is open"
    steps.set_up()
    assert steps.client.get(CHANGELIST).status_code == 200, "at once: it has just been proved"


def test_a_session_without_the_second_factor_is_asked_for_it(protected: Steps, olive: User, settings: Any) -> None:
    """One from before it was set up, or of another door."""
    settings.STAFF_SECOND_FACTOR = True
    protected.client.force_login(olive)
    asked = protected.client.get(f"{CHANGELIST}?q=x").headers["Location"]
    assert asked == "/account/two-factor/reauthenticate/?next=%2Fadmin%2Fexchanges%2Fexchange%2F%3Fq%3Dx"
    answer = protected.client.post(asked, {"code": protected.code(), "next": CHANGELIST})
    assert answer.headers["Location"] == CHANGELIST
    assert protected.client.get(CHANGELIST).status_code == 200


def test_a_post_to_the_admin_is_held_back_too(olive: User, settings: Any) -> None:
    settings.STAFF_SECOND_FACTOR = True
    steps = Steps()
    steps.log_in()
    steps.client.post(CHANGELIST, {"action": "stop_selected", "_selected_action": ["coinbase"]})
    assert steps.client.post("/admin/logout/").status_code == 302, "but one may leave"


def test_a_lost_second_factor_is_removed_by_hand(protected: Steps, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="There is no user 'nobody'"):
        call_command("resetsecondfactor", "nobody")
    call_command("resetsecondfactor", "olive")
    assert capsys.readouterr().out == "olive: 2 removed.\n"
    assert protected.log_in() == "/"


# Guessing passwords


def guess(client: Client, name: str, password: str, address: str = "203.0.113.7") -> int:
    return client.post("/login/", {"username": name, "password": password}, REMOTE_ADDR=address).status_code


def test_eight_wrong_passwords_lock_a_name_out_from_that_address(olive: User) -> None:
    answers = [guess(Client(), "olive", "wrong") for _ in range(12)]
    assert answers == [200] * 7 + [429] * 5
    assert guess(Client(), "olive", PASSWORD) == 429, "also the right one, until the time is over"
    page = Client().post("/login/", {"username": "olive", "password": PASSWORD}, REMOTE_ADDR="203.0.113.7").text
    assert "Wait 15 minutes" in page
    assert PASSWORD not in page


def test_the_owner_elsewhere_is_not_locked_out(olive: User) -> None:
    for _ in range(12):
        guess(Client(), "olive", "wrong")
    assert guess(Client(), "olive", PASSWORD, "198.51.100.9") == 302


def test_the_right_password_forgets_the_wrong_ones(olive: User) -> None:
    for _ in range(3):
        for _ in range(7):
            guess(Client(), "olive", "wrong")
        assert guess(Client(), "olive", PASSWORD) == 302


def test_the_operator_lets_somebody_in_again(olive: User) -> None:
    for _ in range(12):
        guess(Client(), "olive", "wrong")
    call_command("axes_reset_username", "olive")
    assert guess(Client(), "olive", PASSWORD) == 302


def test_no_door_is_left_out(olive: User) -> None:
    """The page that confirms a password counts as well."""
    client = Client()
    client.force_login(olive)
    for _ in range(12):
        client.post("/account/confirm/", {"password": "wrong"})
    assert client.post("/account/confirm/", {"password": PASSWORD}).status_code != 302
