"""Prints what the named channels say. Usage: LIVERMORE_TOKEN=lvm_… python feed_client.py http://127.0.0.1:8000 CHANNEL…

The token is made on the settings page; it is asked for where the environment has none. Needs `websockets`. For example:
python feed_client.py http://127.0.0.1:8000 channel:exchange:coinbase:alerts:BTC-USD
"""

import json
import os
import sys
from getpass import getpass

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


def main(base: str, *channels: str) -> None:
    token = os.environ.get("LIVERMORE_TOKEN") or getpass("API token: ")
    headers = {"Authorization": f"Bearer {token}"}
    with connect(base.replace("http", "ws", 1) + "/ws/feed/", origin=base, additional_headers=headers, max_size=None) as socket:
        try:
            socket.send(json.dumps({"type": "subscribe", "channels": channels}))
            for text in socket:  # it ends, or raises, where the server closes: a program that is to stay connects again
                frame = json.loads(text)
                for message in frame["m"]:
                    print(json.dumps(message), flush=True)
                socket.send(json.dumps({"type": "ack", "n": frame["n"]}))
        except ConnectionClosed as end:
            code = end.rcvd.code if end.rcvd else None
            sys.exit("the token is wrong, or has ended" if code == 4401 else f"the server closed the socket: {end}")


if __name__ == "__main__":
    main(*sys.argv[1:])
