"""What deploy/ gives to a service manager, a proxy and a container engine: checked by those that are here, and against our own code."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from socket import create_server
from typing import Any

import pytest
import redis
import uvicorn
import yaml
from cryptography import x509
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from daphne.cli import CommandLineInterface
from django.core.management import get_commands, load_command_class

from exchanges import seeds
from livermore import valkey
from livermore.configuration import unsafe_settings

PROJECT = Path(__file__).resolve().parents[1]
DEPLOY = PROJECT / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
SITE = DEPLOY / "nginx" / "livermore.conf"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
EXAMPLE = DEPLOY / "compose.env.example"
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if service["image"] == "livermore")
HOSTED = sorted(set(OURS) - {"web", "migrate", "delivery"})
TOP_LEVEL = {"name", "services", "networks", "volumes", "configs", "secrets", "include"}
OF_OTHERS = {
    "POSTGRES_USER",
    "POSTGRES_DB",
    "POSTGRES_PASSWORD",
    "VALKEY_PASSWORD",
    "REDISCLI_AUTH",
    "PYTHONUNBUFFERED",
    "PYTHONDONTWRITEBYTECODE",
}
"""Variables of the programs around Livermore; every other one has to be a setting."""
SECRET = {"SECRET_KEY", "FIELD_KEYS", "POSTGRES_PASSWORD", "VALKEY_PASSWORD", "REDISCLI_AUTH", "DATABASE_URL", "REDIS_URL"}
INSTALLED = "/opt/livermore/.venv/bin/python"
PATIENCE = 60.0


def files() -> list[Path]:
    return [path for path in sorted(DEPLOY.rglob("*")) if path.is_file()]


def started_by_systemd() -> Iterator[list[str]]:
    """Each ExecStart, as for coinbase and a user of that name."""
    for unit in UNITS:
        for line in re.findall(r"^ExecStart=(.+)$", unit.read_text(), re.MULTILINE):
            yield shlex.split(line.replace("%i", "coinbase").replace("${LIVERMORE_SYSTEM_USER}", "operator"))


def parsed(command: list[str]) -> dict[str, Any]:
    """What a command of this project makes of its arguments. Fails for one that it does not understand."""
    match [word for word in command if word not in {INSTALLED, "python", "-m"}]:
        case ["manage.py", name, *arguments]:
            parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
            return vars(parser.parse_args(arguments))
        case ["daphne", *arguments]:
            found = vars(CommandLineInterface().parser.parse_args(arguments))
            return {"app": found["application"], "host": found["host"], "port": found["port"]}
        case ["uvicorn", *arguments]:
            return uvicorn.main.make_context("uvicorn", arguments).params
    raise AssertionError(f"not a command of this project: {command}")


# Commands


@pytest.mark.parametrize("command", [*started_by_systemd(), *(SERVICES[name]["command"] for name in OURS)], ids=shlex.join)
def test_every_command_is_one_of_ours_and_its_arguments_are_understood(command: list[str]) -> None:
    given = parsed(command)
    if "app" in given:
        module, _, name = given["app"].partition(":")
        assert callable(getattr(import_module(module), name))
        assert given["port"] == 8000


def test_a_process_of_an_exchange_hosts_that_one_and_starts_it() -> None:
    """One that named none would take the leases of all exchanges, and start its own only."""
    (unit,) = [command for command in started_by_systemd() if "runexchange" in command]
    given = parsed(unit)
    assert (given["exchanges"], given["autostart"], given["user"]) == (["coinbase"], ["coinbase"], "operator")
    assert HOSTED == ["binance", "coinbase", "kraken"]
    for name in HOSTED:
        given = parsed(SERVICES[name]["command"])
        assert (given["exchanges"], given["autostart"]) == ([name], [name])
        assert name in seeds.ROWS
        assert SERVICES[name]["environment"]["LIVERMORE_SYSTEM_USER"].startswith("${LIVERMORE_SYSTEM_USER:?")


# Settings and secrets


def named() -> set[str]:
    """Every environment variable that a file of deploy/ sets, reads or speaks of."""
    found = set()
    for path in files():
        text = path.read_text()
        found |= set(re.findall(r"\$\{([A-Z_]+)", text)) | set(re.findall(r"^(?: *| *- |#)([A-Z][A-Z_]+)(?:=|: )", text, re.MULTILINE))
        found |= set(re.findall(r"`([A-Z]+_[A-Z_]+)`", text))
        for line in re.findall(r"^(?:Environment=|ENV )(.+)$", text, re.MULTILINE):
            found |= {word.partition("=")[0] for word in line.split()}
    return found


def test_every_variable_is_a_setting() -> None:
    read = set(re.findall(r'(?:env\.\w+|_words)\("([A-Z_]+)"', (PROJECT / "livermore" / "settings.py").read_text()))
    assert named() - OF_OTHERS - read == set()
    assert named() >= {"SECRET_KEY", "FIELD_KEYS", "ALLOWED_HOSTS", "DATABASE_URL", "REDIS_URL", "LIVERMORE_SYSTEM_USER", "MARKET_CAP_URL"}


def test_no_secret_is_written_down() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if name in SECRET:
                assert re.search(r"\$\{\w+:\?", value), f"{name} is not asked for"
                assert ":-" not in value, f"{name} has a default"
    for path in files():
        text = path.read_text()
        assert re.findall(r"^#?(?:SECRET_KEY|FIELD_KEYS|\w+_PASSWORD)=\S", text, re.MULTILINE) == []
        assert re.findall(r"://\w*:(?!\$\{)[^/@\s]+@", text) == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make the secrets with")
def test_the_secrets_of_the_template_are_made_as_it_says() -> None:
    lines = EXAMPLE.read_text().splitlines()
    made = {}
    for said, line in pairwise(lines):
        if said.startswith("#") and (command := re.search(r": (openssl .+)$", said)):
            made[line.removesuffix("=")] = subprocess.check_output(["sh", "-c", command[1]], text=True).strip()
    assert re.fullmatch(r"[0-9a-f]{48}", made.pop("POSTGRES_PASSWORD"))
    problems = unsafe_settings(
        demo=False,
        debug=False,
        secret_key=made["SECRET_KEY"],
        field_keys=[made["FIELD_KEYS"]],
        allowed_hosts=["livermore.example.org"],
        redis_url="redis://:password@cache:6379/0",
    )
    assert problems == []


def test_what_compose_asks_for_is_in_its_template() -> None:
    asked = set(re.findall(r"\$\{([A-Z_]+)", (DEPLOY / "compose.yaml").read_text()))
    assert set(re.findall(r"^#?([A-Z_]+)=", EXAMPLE.read_text(), re.MULTILINE)) == asked


# Compose


def test_compose_has_known_keys_only() -> None:
    assert {key for key in COMPOSE if not key.startswith("x-")} - TOP_LEVEL == set()
    for name, service in SERVICES.items():
        assert set(service["networks"]) <= set(COMPOSE["networks"]), name
        assert set(service.get("depends_on", {})) <= set(SERVICES), name
        for volume in service.get("volumes", []):
            assert volume.partition(":")[0] in COMPOSE["volumes"]


def test_nothing_is_published_but_the_pages_on_this_machine() -> None:
    assert {name: service["ports"] for name, service in SERVICES.items() if "ports" in service} == {"web": ["127.0.0.1:8000:8000"]}


def test_whoever_needs_the_database_waits_until_it_answers_and_is_migrated() -> None:
    waits = {name: {other: how["condition"] for other, how in SERVICES[name]["depends_on"].items()} for name in OURS}
    ready = {"database": "service_healthy", "cache": "service_healthy", "migrate": "service_completed_successfully"}
    assert waits == dict.fromkeys(OURS, ready) | {"migrate": {"database": "service_healthy"}}
    assert SERVICES["migrate"]["restart"] == "no"
    assert [name for name in ("database", "cache", "web") if "healthcheck" not in SERVICES[name]] == []


def test_our_containers_may_do_nothing_that_they_need_not() -> None:
    for name in OURS:
        service = SERVICES[name]
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_cache_of_compose_asks_for_its_password(tmp_path: Path) -> None:
    secret = "of this test only"
    arguments = [re.sub(r"^\$\{VALKEY_PASSWORD.*", secret, word) for word in SERVICES["cache"]["command"][1:]]
    path = tmp_path / "s"
    process = subprocess.Popen(
        [valkey.program(), *arguments, "--port", "0", "--unixsocket", str(path)], stdout=subprocess.DEVNULL, cwd=tmp_path
    )
    try:
        until(path.exists)
        with redis.Redis(unix_socket_path=str(path), password=secret) as client:
            assert client.ping()
            assert client.config_get("save") == {"save": ""}
        with redis.Redis(unix_socket_path=str(path)) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
    finally:
        process.terminate()
        process.wait()


# The web service, run as it is written


@contextmanager
def running(command: list[str], environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(command, cwd=PROJECT, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def until(happens: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_web_service_serves_production_and_its_health_check_agrees(redis_url: str, tmp_path: Path) -> None:
    with create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    environment = {
        "PATH": os.environ["PATH"],
        "LIVERMORE_DEMO": SERVICES["web"]["environment"]["LIVERMORE_DEMO"],
        "SECRET_KEY": "q7Rk2WvZ9x" * 5,
        "FIELD_KEYS": Fernet.generate_key().decode(),
        "ALLOWED_HOSTS": "livermore.example.org",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'test.sqlite3'}",
        "REDIS_URL": redis_url,
        "LIVERMORE_DATA_DIR": str(tmp_path),
    }
    command = [word.replace("8000", port).replace("0.0.0.0", "127.0.0.1") for word in SERVICES["web"]["command"]]
    kind, _, *check = [word.replace("8000", port) for word in SERVICES["web"]["healthcheck"]["test"]]
    assert kind == "CMD"
    with running([sys.executable, "-m", *command], environment):

        def healthy() -> bool:
            return subprocess.run([sys.executable, *check], env=environment, stderr=subprocess.DEVNULL, check=False).returncode == 0

        until(healthy)
        # What nginx sends: with it a page is served, without it the browser is sent to HTTPS.
        headers = {"Host": "livermore.example.org", "X-Forwarded-Proto": "https"}
        with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/login/", headers=headers)) as page:
            assert page.status == 200
            assert "Strict-Transport-Security" in page.headers
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/login/")


# Service manager and proxy


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """The units as they would be on a machine where this environment is the installed one, with one exchange."""
    for unit in UNITS:
        name = unit.name.replace("@.", "@coinbase.")
        (tmp_path / name).write_text(unit.read_text().replace(INSTALLED, sys.executable))
    return sorted(tmp_path.iterdir())


needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this machine")


@needs_systemd
def test_systemd_takes_the_units_without_a_word(units: list[Path]) -> None:
    services = [f"livermore-{name}.service" for name in ("delivery", "exchange@coinbase", "web")]
    assert [unit.name for unit in units] == [*services, "livermore.target"]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_systemd_finds_little_that_a_service_could_harm(units: list[Path]) -> None:
    """An exposure of 2.0 at most, of 10; a service without any of the options has 9.6."""
    for unit in units:
        if unit.suffix == ".service":
            done = subprocess.run(
                ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", unit],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout


def test_the_services_restart_write_in_one_place_and_read_the_settings() -> None:
    for unit in UNITS:
        if unit.suffix == ".service":
            lines = unit.read_text().splitlines()
            for wanted in (
                "EnvironmentFile=/opt/livermore/.env",
                "NoNewPrivileges=yes",
                "ProtectSystem=strict",
                "ReadWritePaths=/var/lib/livermore",
                "Restart=on-failure",
                "TimeoutStopSec=20",
                "PartOf=livermore.target",
                "WantedBy=livermore.target",
            ):
                assert wanted in lines, f"{unit.name}: {wanted}"


NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")


@pytest.mark.skipif(NGINX is None, reason="no nginx on this machine")
def test_nginx_takes_the_site(tmp_path: Path) -> None:
    site = SITE.read_text()
    for kind, path in zip(("", "_key"), certificate(tmp_path), strict=True):
        site = re.sub(rf"(ssl_certificate{kind} +)[^;]+;", rf"\g<1>{path};", site)
    site = re.sub(r"listen (.*?)(80|443)", r"listen \g<1>18\2", site)  # the ports below 1024 are root's
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {tmp_path / kind};" for kind in kinds)
    whole = f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ access_log off; {temporary}\n{site} }}"
    (tmp_path / "nginx.conf").write_text(whole)
    done = subprocess.run([str(NGINX), "-t", "-p", tmp_path, "-c", tmp_path / "nginx.conf"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


def certificate(directory: Path) -> tuple[Path, Path]:
    """Files of a certificate that signs itself, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "livermore.example.org")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    paths = directory / "certificate.pem", directory / "key.pem"
    paths[0].write_bytes(made.public_bytes(pem))
    paths[1].write_bytes(private)
    return paths


def test_the_proxy_sets_what_the_application_believes_and_passes_the_socket_on() -> None:
    site = SITE.read_text()
    headers = dict(re.findall(r"proxy_set_header (\S+) +(\S+);", site))
    assert headers["Host"] == "$host"
    assert headers["X-Forwarded-Proto"] == "$scheme"
    assert headers["Upgrade"] == "$http_upgrade"
    assert "location /ws/ {" in site
    (port,) = {parsed(command)["port"] for command in started_by_systemd() if "uvicorn" in command}
    assert f"server 127.0.0.1:{port};" in site


# The image


def test_the_image_holds_what_runs_installs_it_by_hash_and_is_not_roots() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    copied = [source for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE) for source in line.split()[:-1]]
    assert [source for source in copied if not (PROJECT / source).exists()] == []
    needed = {"requirements.txt", "manage.py", "templates", *(path.parent.name for path in PROJECT.glob("*/apps.py")), "livermore"}
    assert needed - set(copied) == set()
    assert "--require-hashes -r requirements.txt" in text
    (user,) = re.findall(r"^USER (\w+)$", text, re.MULTILINE)
    assert user not in {"root", "0"}
    allowed = re.findall(r"^!(.+)$", (DEPLOY / "Containerfile.dockerignore").read_text(), re.MULTILINE)
    assert sorted(allowed) == sorted(copied)


def test_requirements_are_all_hashed() -> None:
    text = (PROJECT / "requirements.txt").read_text().replace("\\\n", " ")
    assert [line for line in text.splitlines() if re.match(r"\w", line) and "--hash=" not in line] == []
