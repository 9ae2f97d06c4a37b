"""From a TLS socket to events, against other programs' own connections; the exchange is a process of its own (benchmarks.blast).

What is timed is the processor's time of the reading process, from the first frame to the last: TLS, websocket, decoding and events.
"""

import asyncio
import os
import ssl
import tempfile
import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import connect

from benchmarks.peer import Peers
from benchmarks.rivals import Rival, gather
from benchmarks.rows import Row, compared, times_better
from benchmarks.surroundings import child, free_port, listening
from benchmarks.timing import Effort, Slice, compare
from exchanges.adapters import binance
from exchanges.events import Candle

TITLE = "A TLS socket to events"
_WHAT = "kline on a TLS socket → event"
_RIVALS = (
    Rival("cryptofeed", "cryptofeed_binance", "cryptofeed", "socket", times_better(1.6)),
    Rival("ccxt.pro", "ccxt_binance", "ccxt", "socket", times_better(2.3)),
)
_PATIENCE = 120.0


async def measure(effort: Effort, peers: Peers) -> list[Row]:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="livermore-bench-tls-") as name:
        directory = Path(name)
        _certify(directory)
        os.environ["SSL_CERT_FILE"] = str(directory / "certificate.pem")  # the peers trust what OpenSSL trusts
        os.environ["BENCHMARK_URL"] = url = f"wss://127.0.0.1:{port}"
        try:
            async with child("-m", "benchmarks.blast", name, "-p", str(port)):
                await listening(port)
                field = await gather(_RIVALS, peers)
                slices = {"ours": _ours(url, parsed=True), "bare": _ours(url, parsed=False), **field.slices}
                found = await compare(slices, effort._replace(seconds=effort.seconds * 4))
        finally:
            del os.environ["SSL_CERT_FILE"], os.environ["BENCHMARK_URL"]
    return [
        compared(_WHAT, "µs", found["ours"], "websockets alone", found["bare"]),
        *field.rows(_WHAT, "µs", found),
    ]


def _ours(url: str, *, parsed: bool) -> Slice:
    """The socket as ``exchanges.link`` opens and reads it."""

    async def run(times: int) -> float:
        async with (
            asyncio.timeout(_PATIENCE),
            connect(f"{url}/{times + 1}", ssl=ssl.create_default_context(), compression=None, proxy=None) as socket,
        ):
            await socket.recv(decode=False)
            began = time.thread_time()
            for _ in range(times):
                frame = await socket.recv(decode=False)
                if parsed:
                    for event in binance.parse(frame):
                        assert type(event) is Candle
            return time.thread_time() - began

    return run


def _certify(directory: Path) -> None:
    """A key and a certificate of its own for this machine's loopback, good for this run."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now, day = datetime.now(UTC), timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / "certificate.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (directory / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
