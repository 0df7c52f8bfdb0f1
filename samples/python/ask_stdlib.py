"""Asks Weir with the standard library only, and prints the answer as it comes.

A connection that breaks is no end: the same answer continues after the last event that came. Ctrl-C stops it at the server.

    WEIR_URL=http://127.0.0.1:8000 python3 ask_stdlib.py 'Say hello'
"""

import http.client
import json
import os
import sys
import time
import urllib.parse
import uuid

SERVER = urllib.parse.urlsplit(os.environ.get("WEIR_URL", "http://127.0.0.1:8000"))
KEY = os.environ.get("WEIR_API_KEY")
ENDS = ("response.completed", "response.incomplete", "response.failed")
TRIES = 5
# Weir sends a heartbeat every 15 s, so a minute of silence means that the connection is dead.
SILENCE_SECONDS = 60


class Refused(Exception):
    """The server said no, and would say so again."""


class Lost(Exception):
    """The connection ended before the answer did."""


def connect():
    kind = http.client.HTTPSConnection if SERVER.scheme == "https" else http.client.HTTPConnection
    return kind(SERVER.hostname, SERVER.port, timeout=SILENCE_SECONDS)


def headers(**more):
    return {"accept": "application/x-ndjson", **({"authorization": f"Bearer {KEY}"} if KEY else {}), **more}


def events(connection):
    """The events of one connection. Only whole lines are events: what a cut left of one comes again."""
    response = connection.getresponse()
    if 400 <= response.status < 500 and response.status != 429:
        raise Refused(response.read().decode())
    if response.status != 200:
        raise Lost(f"status {response.status}")
    while line := response.readline():
        if not line.endswith(b"\n"):
            break
        if line.strip():  # an empty line is a heartbeat
            yield json.loads(line)
    raise Lost("it was closed")


def ask(question, model="demo"):
    """The events of one answer, each once and in order, over as many connections as it takes."""
    body = json.dumps({"model": model, "input": question, "stream": True})
    # The same question with the same key is the same answer: the question may be sent again if its reply was lost.
    repeatable = {"content-type": "application/json", "idempotency-key": str(uuid.uuid4())}
    answer, position, failures = None, -1, 0
    while True:
        connection = connect()
        try:
            if answer is None:
                connection.request("POST", "/v1/responses", body, headers(**repeatable))
            else:
                after = f"&starting_after={position}" if position >= 0 else ""
                connection.request("GET", f"/v1/responses/{answer}?stream=true{after}", headers=headers())
            for event in events(connection):
                if "sequence_number" not in event:  # about this connection, and not a part of the answer
                    raise Lost(event.get("message") or event["type"])
                answer = answer or event.get("response", {}).get("id")
                position, failures = event["sequence_number"], 0
                yield event
                if event["type"] in ENDS:
                    return
        except (Lost, OSError, http.client.HTTPException) as error:
            failures += 1
            if failures == TRIES:
                raise
            print(f"lost the connection after event {position} ({error!r}); going on", file=sys.stderr)
            time.sleep(0.2 * 2**failures)
        finally:
            connection.close()


def cancel(answer):
    """Closing the connection would not stop a stored answer; this does, and the model is no longer paid."""
    connection = connect()
    connection.request("POST", f"/v1/responses/{answer}/cancel", headers=headers())
    connection.getresponse().read()
    connection.close()


def main():
    answer = None
    try:
        for event in ask(sys.argv[1] if len(sys.argv) > 1 else "/count 20"):
            answer = answer or event["response"]["id"]
            if event["type"] == "response.output_text.delta":
                print(event["delta"], end="", flush=True)
            if event["type"] in ENDS:
                print(f"\nstatus: {event['response']['status']}", file=sys.stderr)
    except KeyboardInterrupt:
        if answer:
            cancel(answer)
        sys.exit(130)


if __name__ == "__main__":
    main()
