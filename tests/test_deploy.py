"""What deploy/ gives to a service manager, a proxy and a container engine: checked by those that are here, and against our own code."""

import contextlib
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
from ipaddress import ip_address, ip_network
from itertools import pairwise
from pathlib import Path
from socket import create_connection, create_server
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
from redis.backoff import NoBackoff
from redis.retry import Retry

from exchanges import seeds
from livermore import valkey
from livermore.configuration import unsafe_settings

PROJECT = Path(__file__).resolve().parents[1]
DEPLOY = PROJECT / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
SITES = sorted((DEPLOY / "nginx").iterdir())
SITE = DEPLOY / "nginx" / "livermore.conf"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
CLUSTER = yaml.safe_load((DEPLOY / "compose.cluster.yaml").read_text())
EXAMPLE = DEPLOY / "compose.env.example"
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OF_CLUSTER: dict[str, dict[str, Any]] = CLUSTER["services"]
OURS = sorted(name for name, service in SERVICES.items() if service["image"] == "livermore")
OURS_OF_CLUSTER = sorted(name for name, service in OF_CLUSTER.items() if service["image"] == "livermore")
NODES = sorted(name for name, service in OF_CLUSTER.items() if "--cluster-enabled" in service.get("command", []))
HOSTED = sorted(set(OURS) - {"web", "migrate", "delivery"})
TOP_LEVEL = {"name", "services", "networks", "volumes", "configs", "secrets", "include"}
SHARD_EXAMPLE = DEPLOY / "shard.env.example"
INSTANCES = {"livermore-exchange@": "coinbase", "livermore-exchange-shard@": "binance-1-of-2", "livermore-web@": "8001"}
"""Template of a unit -> the instance it is tried with."""
OF_OTHERS = {
    "EXCHANGE",
    "SHARD",
    "GRAFANA_PASSWORD",
    "GF_SECURITY_ADMIN_PASSWORD",
    "GF_ANALYTICS_REPORTING_ENABLED",
    "GF_ANALYTICS_CHECK_FOR_UPDATES",
    "GF_USERS_ALLOW_SIGN_UP",
    "TLS_CERTIFICATE",
    "TLS_KEY",
    "POSTGRES_USER",
    "POSTGRES_DB",
    "POSTGRES_PASSWORD",
    "VALKEY_PASSWORD",
    "REDISCLI_AUTH",
    "PYTHONUNBUFFERED",
    "PYTHONDONTWRITEBYTECODE",
}
"""Variables of the programs around Livermore; every other one has to be a setting."""
SECRET = {
    "GF_SECURITY_ADMIN_PASSWORD",
    "METRICS_TOKEN",
    "SECRET_KEY",
    "FIELD_KEYS",
    "POSTGRES_PASSWORD",
    "VALKEY_PASSWORD",
    "REDISCLI_AUTH",
    "DATABASE_URL",
    "REDIS_URL",
}
OF_A_SERVICE = {
    "image", "build", "command", "environment", "networks", "depends_on", "init", "read_only", "tmpfs", "cap_drop", "security_opt",
    "restart", "stop_grace_period", "ports", "healthcheck", "volumes", "deploy", "profiles", "secrets",
}  # fmt: skip
COMPOSES = next(
    (
        [program, "compose"]
        for program in ("docker", "podman")
        if shutil.which(program) and subprocess.run([program, "compose", "version"], capture_output=True, check=False).returncode == 0
    ),
    [],
)
INSTALLED = "/opt/livermore/.venv/bin/python"
PATIENCE = 60.0
AT_ONCE = Retry(NoBackoff(), 0)
"""A refused password counts as a lost connection, and is tried again for seconds otherwise."""


def files() -> list[Path]:
    return [path for path in sorted(DEPLOY.rglob("*")) if path.is_file()]


def started_by_systemd(template: str = "") -> Iterator[list[str]]:
    """Each ExecStart, or that of one template, as systemd spells it for the instance above and a user of that name."""
    values = {"LIVERMORE_SYSTEM_USER": "operator", **dict(re.findall(r"^([A-Z]+)=(.+)$", SHARD_EXAMPLE.read_text(), re.MULTILINE))}
    for unit in UNITS:
        for line in re.findall(r"^ExecStart=(.+)$", unit.read_text(), re.MULTILINE):
            if unit.name.startswith(template):
                line = line.replace("%i", INSTANCES.get(unit.stem, "%i"))
                yield shlex.split(re.sub(r"\$\{(\w+)\}", lambda name: values[name[1]], line))


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


@pytest.mark.parametrize(
    "command",
    [
        *started_by_systemd(),
        *(SERVICES[name]["command"] for name in OURS),
        *(OF_CLUSTER[name]["command"] for name in OURS_OF_CLUSTER),
    ],
    ids=shlex.join,
)
def test_every_command_is_one_of_ours_and_its_arguments_are_understood(command: list[str]) -> None:
    given = parsed(command)
    if "app" in given:
        module, _, name = given["app"].partition(":")
        assert callable(getattr(import_module(module), name))
        assert given["port"] in {8000, 8001}


def test_a_process_of_an_exchange_hosts_that_one_and_starts_it() -> None:
    """One that named none would take the leases of all exchanges, and start its own only."""
    (unit,) = started_by_systemd("livermore-exchange@")
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
    for service in (*SERVICES.values(), *OF_CLUSTER.values()):
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
    asked = set(re.findall(r"\$\{([A-Z_]+)|environment: ([A-Z_]+)", "".join(path.read_text() for path in DEPLOY.glob("compose*.yaml"))))
    asked = {name for names in asked for name in names if name}
    assert set(re.findall(r"^#?([A-Z_]+)=", EXAMPLE.read_text(), re.MULTILINE)) == asked


# Compose


@pytest.mark.parametrize("compose", [COMPOSE, CLUSTER], ids=lambda compose: compose["name"])
def test_compose_has_known_keys_only(compose: dict[str, Any]) -> None:
    assert {key for key in compose if not key.startswith("x-")} - TOP_LEVEL == set()
    for name, service in compose["services"].items():
        assert set(service) <= OF_A_SERVICE, name
        assert set(service.get("networks", {"inside": {}})) <= set(compose["networks"]), name
        assert set(service.get("depends_on", {})) <= set(compose["services"]), name
        assert set(service.get("secrets", [])) <= set(compose.get("secrets", {})), name
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert (DEPLOY / source).exists() if source.startswith("./") else source in compose["volumes"], volume


@pytest.mark.skipif(not COMPOSES, reason="no docker or podman compose on this machine")
@pytest.mark.parametrize("name", ["compose.yaml", "compose.cluster.yaml"])
def test_compose_itself_takes_the_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("".join(f"{word}=x\n" for word in re.findall(r"^#?([A-Z_]+)=", EXAMPLE.read_text(), re.MULTILINE)))
    done = subprocess.run(
        [*COMPOSES, "--env-file", tmp_path / "env", "--file", DEPLOY / name, "--profile", "metrics", "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_of_the_cluster_only_the_proxy_is_published_and_grafana_on_this_machine() -> None:
    published = {name: service["ports"] for name, service in OF_CLUSTER.items() if "ports" in service}
    assert published == {"proxy": ["80:80", "443:443"], "grafana": ["127.0.0.1:3000:3000"]}
    assert {name for name, service in OF_CLUSTER.items() if "profiles" in service} == {"prometheus", "grafana"}


def test_prometheus_asks_every_process_of_the_cluster() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    asked: set[str] = set()
    for job in config["scrape_configs"]:
        asked |= {target.partition(":")[0] for one in job.get("static_configs", []) for target in one["targets"]}
        asked |= {name for one in job.get("dns_sd_configs", []) for name in one["names"]}
        assert job["authorization"]["credentials_file"] == "/run/secrets/metrics_token"
    assert asked == set(OURS_OF_CLUSTER) - {"migrate"}
    assert OF_CLUSTER["prometheus"]["secrets"] == ["metrics_token"]
    allowed = OF_CLUSTER["web-1"]["environment"]["ALLOWED_HOSTS"].split(",")
    assert {"web-1", "web-2"} <= set(allowed)


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
        with redis.Redis(unix_socket_path=str(path), retry=AT_ONCE) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
    finally:
        process.terminate()
        process.wait()


# Several of each


def test_the_cluster_has_two_of_everything_that_can_fail() -> None:
    webs = {name for name in OURS_OF_CLUSTER if name.startswith("web")}
    assert webs == {"web-1", "web-2"}
    connectors = set(OURS_OF_CLUSTER) - webs - {"migrate", "delivery"}
    assert connectors == {"coinbase", "kraken", "binance-1", "binance-2"}
    for name in (*connectors, "delivery"):
        assert OF_CLUSTER[name]["deploy"] == {"replicas": 2}, f"{name} has no standby"
        assert ":9100/readyz" in OF_CLUSTER[name]["healthcheck"]["test"][-1]
        assert OF_CLUSTER[name]["environment"]["METRICS_PORT"] == "9100"
    for name in OURS_OF_CLUSTER:
        service = OF_CLUSTER[name]
        assert (service["read_only"], service["cap_drop"], service["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
        waits = {other: how["condition"] for other, how in service["depends_on"].items()}
        done = "service_completed_successfully"
        everything = {"database": "service_healthy", "cluster": done, "migrate": done}
        assert waits == ({"database": "service_healthy"} if name == "migrate" else everything)


def test_the_shards_of_the_cluster_are_all_of_an_exchange_and_the_others_are_whole() -> None:
    shards: dict[str, list[str]] = {}
    for name in OURS_OF_CLUSTER:
        command = OF_CLUSTER[name]["command"]
        if "runexchange" in command:
            given = parsed(command)
            (exchange,) = given["exchanges"]
            assert given["autostart"] == [exchange]
            assert exchange in seeds.ROWS
            shards.setdefault(exchange, []).append(command[command.index("--shard") + 1] if "--shard" in command else "1/1")
    assert shards == {"coinbase": ["1/1"], "kraken": ["1/1"], "binance": ["1/2", "2/2"]}


def test_a_shard_of_systemd_is_what_its_file_says() -> None:
    (command,) = started_by_systemd("livermore-exchange-shard@")
    given = parsed(command)
    assert (given["exchanges"], given["autostart"], given["user"]) == (["binance"], ["binance"], "operator")
    assert command[command.index("--shard") + 1] == "1/2"
    assert "EnvironmentFile=/etc/livermore/%i.env" in (DEPLOY / "systemd" / "livermore-exchange-shard@.service").read_text()


def test_the_cluster_is_asked_for_at_each_of_its_nodes() -> None:
    assert len(NODES) == 3
    for name in OURS_OF_CLUSTER:
        url = OF_CLUSTER[name]["environment"]["REDIS_URL"]
        scheme, user, password, *hosts = re.fullmatch(r"(.+)://(\w+):(\$\{.+?\})@(.+):6379,(.+):6379,(.+):6379", url).groups()  # type: ignore[union-attr]
        assert (scheme, user, hosts) == ("redis+cluster", "default", NODES)
        assert password.startswith("${VALKEY_PASSWORD:?")


def test_settings_take_the_address_of_the_cluster() -> None:
    url = re.sub(r"\$\{.+?\}", "a-password", OF_CLUSTER["web-1"]["environment"]["REDIS_URL"])
    secret = {"secret_key": "q7Rk2WvZ9x" * 5, "field_keys": [Fernet.generate_key().decode()]}
    assert unsafe_settings(demo=False, debug=False, allowed_hosts=["livermore.example.org"], redis_url=url, **secret) == []


def test_the_nodes_keep_their_place_in_the_cluster() -> None:
    """Nodes know each other by address, and remember the cluster in a file."""
    addresses = {name: OF_CLUSTER[name]["networks"]["inside"]["ipv4_address"] for name in (*NODES, "web-1", "web-2")}
    assert len(set(addresses.values())) == 5
    (subnet,) = CLUSTER["networks"]["inside"]["ipam"]["config"]
    for name, address in addresses.items():
        assert ip_address(address) in ip_network(subnet["subnet"]), name
    assert {OF_CLUSTER[name]["volumes"][0] for name in NODES} == {f"{name}:/data" for name in NODES}
    script = OF_CLUSTER["cluster"]["command"][-1]
    assert " ".join(f"{addresses[name]}:6379" for name in NODES) in script
    assert set(OF_CLUSTER["cluster"]["depends_on"]) == set(NODES)


@contextmanager
def nodes(directory: Path, secret: str) -> Iterator[list[int]]:
    """Three nodes on this machine, started as compose starts them; gives their ports."""
    with contextlib.ExitStack() as stack:
        ports = []
        for number in range(3):
            (data := directory / str(number)).mkdir()
            while (port := free_port()) > 50_000:  # the nodes talk to one another 10,000 above
                pass
            given = [re.sub(r"^\$\{VALKEY_PASSWORD.*", secret, word) for word in OF_CLUSTER["valkey-1"]["command"][1:]]
            given = [word.replace("/data/", f"{data}/") for word in given]
            command = [valkey.program(), *given, "--port", str(port), "--bind", "127.0.0.1"]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=data)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            ports.append(port)
        yield ports


def free_port() -> int:
    with create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with contextlib.suppress(ConnectionRefusedError), create_connection(("127.0.0.1", port)):
        return True
    return False


def test_a_node_is_one_of_a_cluster_and_asks_for_its_password(tmp_path: Path) -> None:
    with nodes(tmp_path, "of-this-test-only") as ports:
        for port in ports:
            until(lambda: listens(port))  # noqa: B023  (called at once)
            with redis.Redis(port=port, password="of-this-test-only") as client:
                assert client.info("cluster")["cluster_enabled"] == 1
                assert client.config_get("masterauth") == {"masterauth": "of-this-test-only"}
                assert client.config_get("save") == {"save": ""}
            with redis.Redis(port=port, retry=AT_ONCE) as stranger, pytest.raises(redis.AuthenticationError):
                stranger.ping()
        assert (tmp_path / "0" / "nodes.conf").exists()


CLI = shutil.which("valkey-cli") or shutil.which("redis-cli")


@pytest.mark.skipif(CLI is None, reason="no valkey-cli on this machine")
def test_the_one_shot_service_makes_a_cluster_of_them_once(tmp_path: Path) -> None:
    secret = "of-this-test-only"
    with nodes(tmp_path, secret) as ports:
        for port in ports:
            until(lambda: listens(port))  # noqa: B023  (called at once)
        *shell, script = OF_CLUSTER["cluster"]["command"]
        for name, port in zip(NODES, ports, strict=True):
            script = script.replace(f"{OF_CLUSTER[name]['networks']['inside']['ipv4_address']}:6379", f"127.0.0.1:{port}")
        script = script.replace("-h 172.30.77.11 -p 6379", f"-p {ports[0]}").replace("valkey-cli", str(CLI)).replace("$$", "$")
        for _ in range(2):
            done = subprocess.run(
                [*shell, script], env={**os.environ, "REDISCLI_AUTH": secret}, capture_output=True, text=True, check=False, timeout=PATIENCE
            )
            assert done.returncode == 0, done.stdout + done.stderr
        with redis.RedisCluster(host="127.0.0.1", port=ports[0], password=secret) as client:
            assert client.set("a", 1)
            assert {client.get_node_from_key(key).port for key in ("a", "b", "c", "d", "e")} <= set(ports)


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
    # What is not migrated is not ready: as compose does it, first the one and then the other.
    subprocess.run([sys.executable, *SERVICES["migrate"]["command"][1:], "--verbosity", "0"], cwd=PROJECT, env=environment, check=True)
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
        name = unit.name.replace("@.", f"@{INSTANCES.get(unit.stem, '')}.")
        (tmp_path / name).write_text(unit.read_text().replace(INSTALLED, sys.executable))
    return sorted(tmp_path.iterdir())


needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this machine")


@needs_systemd
def test_systemd_takes_the_units_without_a_word(units: list[Path]) -> None:
    names = ("delivery", "exchange-shard@binance-1-of-2", "exchange@coinbase", "web", "web@8001")
    services = [f"livermore-{name}.service" for name in names]
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
@pytest.mark.parametrize("path", SITES, ids=lambda path: path.stem)
def test_nginx_takes_the_site(path: Path, tmp_path: Path) -> None:
    site = re.sub(r"server web-(\d):8000", r"server 127.0.0.1:810\1", path.read_text())  # names that only compose's network knows
    for kind, file in zip(("", "_key"), certificate(tmp_path), strict=True):
        site = re.sub(rf"(ssl_certificate{kind} +)[^;]+;", rf"\g<1>{file};", site)
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


@pytest.mark.parametrize("path", SITES, ids=lambda path: path.stem)
def test_the_proxy_sets_what_the_application_believes_and_passes_the_socket_on(path: Path) -> None:
    site = path.read_text()
    headers = dict(re.findall(r"proxy_set_header (\S+) +(\S+);", site))
    assert headers["Host"] == "$host"
    assert headers["X-Forwarded-Proto"] == "$scheme"
    assert headers["Upgrade"] == "$http_upgrade"
    assert "location /ws/ {" in site


def test_each_proxy_passes_on_to_the_processes_beside_it() -> None:
    passed = {path.stem: re.findall(r"^    server ([\w.:-]+)", path.read_text(), re.MULTILINE) for path in SITES}
    (alone,), (one,) = started_by_systemd("livermore-web."), started_by_systemd("livermore-web@")
    webs = [name for name in OURS_OF_CLUSTER if name.startswith("web")]
    assert passed == {
        "livermore": [f"127.0.0.1:{parsed(alone)['port']}"],
        "livermore-several": [f"127.0.0.1:{parsed(one)['port']}", "127.0.0.1:8002"],
        "livermore-cluster": [f"{name}:{parsed(OF_CLUSTER[name]['command'])['port']}" for name in webs],
    }


def test_the_proxies_differ_only_in_whom_they_ask() -> None:
    """What is not the upstream, the way on from one to the next, the certificate or the first line is the same in all."""

    def common(text: str) -> str:
        text = re.sub(r"(?s)(?:^#[^\n]+\n)?upstream livermore \{.*?\n\}\n", "", text, flags=re.MULTILINE)
        text = re.sub(r"\n    # What one process does not answer[^\n]+\n(?:    proxy_\w+ [^\n]+\n)+", "", text)
        return re.sub(r"ssl_certificate\S* +[^;]+;", "", text).partition("\n")[2]

    first, *others = [common(path.read_text()) for path in SITES]
    assert "proxy_set_header Upgrade" in first
    assert others == [first] * 2


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
