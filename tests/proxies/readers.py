"""Readers that note when each event of an answer arrives: SSE and NDJSON over HTTP/1.1, and a WebSocket."""

import base64
import http.client
import json
import os
import socket
import struct
import time
import zlib
from contextlib import closing

TIMEOUT = 30


class Broken(Exception):
    """The proxy does not let this through; why, in a few words."""


def read(address, frame, response_id, key, prefix=""):
    """Reads an answer to its end. Gives [(sequence number, arrival)] the arrival of the head, and how it was compressed.
    `prefix` is the path below which the proxy serves Weir."""
    path = f"{prefix}/v1/responses"
    if frame == "WebSocket":
        return websocket(address, path, response_id, key)
    return stream(address, frame, f"{path}/{response_id}?stream=true", key)


def stream(address, frame, path, key):
    accept = "application/x-ndjson" if frame == "NDJSON" else "text/event-stream"
    headers = {"Host": "localhost", "Accept": accept, "Accept-Encoding": "gzip", "Authorization": f"Bearer {key}"}
    with closing(http.client.HTTPConnection(*address, timeout=TIMEOUT)) as connection:
        connection.request("GET", path, headers=headers)
        with connection.getresponse() as response:
            return lines(response, frame, accept)


def lines(response, frame, accept):
    head = time.monotonic()
    if response.status != 200:
        raise Broken(f"status {response.status}")
    assert response.headers["content-type"].startswith(accept), response.headers["content-type"]
    encoding = response.headers["content-encoding"]
    assert encoding in (None, "gzip"), encoding
    decode = zlib.decompressobj(wbits=31).decompress if encoding else bytes
    events, rest = [], b""
    # What has come, as soon as it has: a reader that waits for more would be taken for a proxy that does.
    for piece in iter(lambda: response.read1(65536), b""):
        now = time.monotonic()
        *complete, rest = (rest + decode(piece)).split(b"\n")
        for line in complete:
            text = line.removeprefix(b"data: ") if frame == "SSE" else line
            if text.startswith(b"{"):
                events.append((json.loads(text)["sequence_number"], now))
    return events, head, encoding


def websocket(address, path, response_id, key):
    with socket.create_connection(address, timeout=TIMEOUT) as connection, connection.makefile("rb") as file:
        nonce = base64.b64encode(os.urandom(16)).decode()
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {nonce}\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
        )
        status = int(file.readline().split()[1])
        while file.readline().strip():
            pass
        head = time.monotonic()
        if status != 101:
            raise Broken(f"status {status}")
        connection.sendall(text_frame({"type": "response.resume", "response_id": response_id}))
        events = []
        while True:
            event = json.loads(next_text(file))
            assert "sequence_number" in event, event
            events.append((event["sequence_number"], time.monotonic()))
            if event["type"] == "response.completed":
                return events, head, None


def text_frame(value):
    """A masked text frame (RFC 6455 §5.2); a mask of zeros leaves the text as it is."""
    text = json.dumps(value).encode()
    assert len(text) < 126
    return bytes([0x81, 0x80 | len(text)]) + bytes(4) + text


def next_text(file):
    while True:
        first, second = file.read(2)
        length = second & 127
        if length >= 126:
            length = struct.unpack("!H" if length == 126 else "!Q", file.read(2 if length == 126 else 8))[0]
        payload = file.read(length)
        if first == 0x81:
            return payload
        assert first == 0x89, f"an unexpected frame: {first:#x} {payload!r}"
