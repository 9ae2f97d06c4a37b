"""Prints what the named channels say. Usage: python feed_client.py http://127.0.0.1:8000 USER CHANNEL… (the password is asked for)

Needs `websockets`, e.g. for: python feed_client.py http://127.0.0.1:8000 kaia channel:exchange:coinbase:alerts:BTC-USD
"""

import json
import os
import sys
from getpass import getpass
from http.cookiejar import CookieJar
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

from websockets.sync.client import connect


def log_in(base: str, user: str, password: str) -> str:
    jar = CookieJar()
    browser = build_opener(HTTPCookieProcessor(jar))
    browser.open(f"{base}/login/").close()
    token = next(cookie.value for cookie in jar if cookie.name == "csrftoken")
    form = urlencode({"username": user, "password": password, "csrfmiddlewaretoken": token}).encode()
    browser.open(Request(f"{base}/login/", form, {"Referer": f"{base}/login/"})).close()
    return next((cookie.value for cookie in jar if cookie.name == "sessionid"), "") or sys.exit("wrong user name or password")


def main(base: str, user: str, *channels: str) -> None:
    session = log_in(base, user, os.environ.get("LIVERMORE_PASSWORD") or getpass())
    url = base.replace("http", "ws", 1) + "/ws/feed/"
    with connect(url, origin=base, additional_headers={"Cookie": f"sessionid={session}"}, max_size=None) as socket:
        socket.send(json.dumps({"type": "subscribe", "channels": channels}))
        for text in socket:  # it ends, or raises, where the server closes: a program that is to stay connects again
            frame = json.loads(text)
            for message in frame["m"]:
                print(json.dumps(message), flush=True)
            socket.send(json.dumps({"type": "ack", "n": frame["n"]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
