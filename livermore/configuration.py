"""What a configuration must hold before it is safe to start. Pure: a mapping in, sentences out."""

import ipaddress
import re
import secrets
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from urllib.parse import urlsplit

from cryptography.fernet import Fernet

from livermore import redisurl

MINIMUM_SECRET_LENGTH = 40
MINIMUM_SECRET_LETTERS = 10
MINIMUM_TOKEN_LENGTH = 32
_HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z][a-z0-9-]+")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LOG_FORMATS = ("line", "json")


def unsafe_settings(
    *,
    demo: bool,
    debug: bool,
    secret_key: str,
    field_keys: Sequence[str],
    allowed_hosts: Sequence[str],
    redis_url: str,
    secret_key_fallbacks: Sequence[str] = (),
    log_level: str = "INFO",
    log_format: str = "line",
    market_cap_url: str = "",
    metrics_token: str = "",
    exchange_hosts: Mapping[str, Sequence[str]] = MappingProxyType({}),
    outbound_networks: Sequence[str] = (),
) -> list[str]:
    """The reasons not to start, each with what to do; empty when there is none."""
    problems = _secret_key_problems(secret_key, secret_key_fallbacks)
    problems += _field_key_problems(field_keys)
    if log_level not in LOG_LEVELS:
        problems.append(f"LOG_LEVEL is {log_level!r}: use one of {', '.join(LOG_LEVELS)}")
    if log_format not in LOG_FORMATS:
        problems.append(f"LOG_FORMAT is {log_format!r}: use one of {', '.join(LOG_FORMATS)}")
    parts = urlsplit(market_cap_url)
    if market_cap_url and not (parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname)))):
        problems.append("MARKET_CAP_URL must be https://, e.g. https://api.coingecko.com/api/v3, or be left out")
    if metrics_token and len(metrics_token) < MINIMUM_TOKEN_LENGTH:
        problems.append(f"METRICS_TOKEN can be guessed: use at least {MINIMUM_TOKEN_LENGTH} random characters, or leave it out")
    problems += _outbound_problems(exchange_hosts, outbound_networks)
    if "*" in allowed_hosts:
        problems.append("ALLOWED_HOSTS may not hold '*': any site could then open our sockets; name the hosts")
    if demo:
        problems += _demo_problems(allowed_hosts)
        return problems
    if debug:
        problems.append("DEBUG is on outside the demo: set DEBUG=false")
    if not allowed_hosts:
        problems.append("ALLOWED_HOSTS is empty: name the hosts the pages are served from, e.g. ALLOWED_HOSTS=livermore.example.org")
    problems += _redis_problems(redis_url)
    return problems


def _secret_key_problems(secret_key: str, fallbacks: Sequence[str]) -> list[str]:
    problems = []
    if not secret_key:
        problems.append("SECRET_KEY is not set: run `python -m livermore.configure`, or put a random one into .env")
    elif _is_weak(secret_key):
        problems.append(f"SECRET_KEY is weak: use at least {MINIMUM_SECRET_LENGTH} random characters")
    if any(_is_weak(key) for key in fallbacks):
        problems.append("SECRET_KEY_FALLBACKS holds a weak key, which still opens sessions: take it out")
    return problems


def _is_weak(key: str) -> bool:
    return len(key) < MINIMUM_SECRET_LENGTH or len(set(key)) < MINIMUM_SECRET_LETTERS or "insecure" in key


def _outbound_problems(exchange_hosts: Mapping[str, Sequence[str]], outbound_networks: Sequence[str]) -> list[str]:
    problems = []
    hosts = [host for names in exchange_hosts.values() for host in names]
    if not all(_HOST.fullmatch(host) and not is_loopback(host) for host in hosts):
        problems.append("EXCHANGE_HOSTS is a list of adapter=host.name, e.g. binance=stream.example.org")
    for text in outbound_networks:
        try:
            ipaddress.ip_network(text)
        except ValueError:
            problems.append(f"OUTBOUND_NETWORKS holds {text!r}, which is no network: write e.g. 10.1.2.0/24")
    return problems


def _field_key_problems(field_keys: Sequence[str]) -> list[str]:
    if not field_keys:
        return ["FIELD_KEYS is not set: exchange credentials could not be encrypted; run `python -m livermore.configure`"]
    for key in field_keys:
        try:
            Fernet(key)
        except ValueError:
            return ["FIELD_KEYS holds a key that is not 32 url-safe base64 bytes; `python -m livermore.configure` makes a proper one"]
    return []


def _demo_problems(allowed_hosts: Sequence[str]) -> list[str]:
    outside = [host for host in allowed_hosts if not is_loopback(host)]
    if outside:
        return [f"LIVERMORE_DEMO serves this machine only, but ALLOWED_HOSTS names {', '.join(outside)}: set LIVERMORE_DEMO=false"]
    return []


def _redis_problems(redis_url: str) -> list[str]:
    if not redis_url:
        return []
    if redisurl.is_cluster(redis_url):
        return _cluster_problems(redis_url)
    parts = urlsplit(redis_url)
    if parts.scheme not in {"redis", "rediss", "unix"}:
        return [f"REDIS_URL must start with redis://, rediss://, unix://, redis+cluster:// or rediss+cluster://, not {parts.scheme!r}"]
    if parts.scheme != "unix" and not is_loopback(parts.hostname or "") and not parts.password:
        return ["REDIS_URL names another machine without a password: anyone there could publish alerts; add one"]
    return []


def _cluster_problems(redis_url: str) -> list[str]:
    try:
        where = redisurl.address(redis_url)
    except ValueError as error:
        return [f"REDIS_URL does not name a cluster ({error}): write redis+cluster://:password@node1:6379,node2:6379"]
    if not where.password and not all(is_loopback(host) for host, _ in where.nodes):
        return ["REDIS_URL names another machine without a password: anyone there could publish alerts; add one"]
    return []


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    host = host.strip("[]").lower()
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def fresh_configuration() -> str:
    """The text of a first .env: the demo, with secrets of this installation's own."""
    return (
        "# Written by `python -m livermore.configure`. Keep it private; docs/operations.md explains each line.\n"
        "LIVERMORE_DEMO=true\n"
        f"SECRET_KEY={secrets.token_urlsafe(50)}\n"
        f"FIELD_KEYS={Fernet.generate_key().decode()}\n"
    )
