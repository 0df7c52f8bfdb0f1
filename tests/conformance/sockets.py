"""WebSocket as the Python library `websockets` understands it: its frames, its close codes, its compression.

The cases follow the chapters of Autobahn's suite, which itself runs on Python 2 only and wants a server that echoes.
Weir does not echo; `response.cancel` with nothing to cancel is answered at once, and takes its place.
"""

import json
import os
import ssl
import sys

from websockets.exceptions import ConnectionClosed
from websockets.frames import Close, Opcode
from websockets.sync.client import connect

ASK = json.dumps({"type": "response.cancel"})
TEXT, CONT, BINARY, PING, PONG, CLOSE = (
    Opcode.TEXT,
    Opcode.CONT,
    Opcode.BINARY,
    Opcode.PING,
    Opcode.PONG,
    Opcode.CLOSE,
)


def open_socket(base, compression=None):
    context = None
    if base.startswith("wss"):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return connect(
        base + "/v1/responses", compression=compression, ssl=context, max_size=None, proxy=None, open_timeout=5, close_timeout=5
    )


def frame(opcode, data=b"", fin=True, rsv1=False, rsv2=False, rsv3=False):
    """A frame, right or wrong: the library's own would refuse to be wrong."""
    first = fin << 7 | rsv1 << 6 | rsv2 << 5 | rsv3 << 4 | opcode
    length = len(data)
    if length < 126:
        head = bytes([first, 0x80 | length])
    elif length < 1 << 16:
        head = bytes([first, 0x80 | 126]) + length.to_bytes(2, "big")
    else:
        head = bytes([first, 0x80 | 127]) + length.to_bytes(8, "big")
    mask = os.urandom(4)
    key = int.from_bytes((mask * (length // 4 + 1))[:length], "big")
    return head + mask + (int.from_bytes(data, "big") ^ key).to_bytes(length, "big")


def is_answered(socket):
    """The socket is sound: what is asked next is answered."""
    socket.send(ASK)
    assert json.loads(socket.recv(timeout=5))["status"] == 404


def raw(base, *frames, code):
    """Says frames that the library would not send. `code` is the close code to hear; None: an answer, and a sound socket."""
    with open_socket(base) as socket:
        for each in frames:
            socket.socket.sendall(each)
        if code is None:
            assert json.loads(socket.recv(timeout=5))["status"] == 404
            is_answered(socket)
            return
        try:
            said = socket.recv(timeout=5)
        except ConnectionClosed as closed:
            assert closed.rcvd is not None and closed.rcvd.code == code, f"{closed.rcvd} instead of {code}"
        else:
            raise AssertionError(f"{said!r} instead of {code}")


def fragments(data, size):
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    opcodes = [TEXT] + [CONT] * (len(pieces) - 1)
    return [frame(opcode, piece, at + 1 == len(pieces)) for at, (opcode, piece) in enumerate(zip(opcodes, pieces))]


def pings(base):
    with open_socket(base) as socket:
        for payload in (b"", b"hello", b"\x00\xff\xfe", b"x" * 125):
            assert socket.ping(payload).wait(timeout=5)
        waiters = [socket.ping(f"ping {number}") for number in range(10)]
        assert all(waiter.wait(timeout=5) for waiter in waiters)
        is_answered(socket)


def closes(base, code, reason):
    with open_socket(base) as socket:
        socket.close(code, reason)
        assert (socket.protocol.close_rcvd.code, socket.protocol.close_sent.code) == (code, code)


def turn(socket, text, **more):
    socket.send(json.dumps({"type": "response.create", "model": "demo", "input": text, **more}))
    events = []
    while not events or events[-1]["type"] not in ("response.completed", "response.failed", "response.incomplete"):
        events.append(json.loads(socket.recv(timeout=20)))
        assert events[-1]["type"] != "error", events[-1]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def turns(base, compression):
    with open_socket(base, compression) as socket:
        names = [extension.name for extension in socket.protocol.extensions]
        assert names == (["permessage-deflate"] if compression else []), names
        for text in ("echo Grüße, 世界 👋", "echo " + "many words " * 300):
            events = turn(socket, text)
            said = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
            assert text[5:].strip() in said, said
            for after in (0, len(events) // 2):
                socket.send(json.dumps({"type": "response.resume", "response_id": events[0]["response"]["id"], "starting_after": after}))
                assert [json.loads(socket.recv(timeout=5)) for _ in events[after + 1 :]] == events[after + 1 :]


def compressed_pieces(base):
    with open_socket(base, "deflate") as socket:
        padded = json.dumps({"type": "response.cancel", "padding": "x" * 100_000})
        for _ in range(3):
            socket.send(padded[at : at + 997] for at in range(0, len(padded), 997))
            assert json.loads(socket.recv(timeout=5))["status"] == 404


def cases(base):
    ask = ASK.encode()
    wide = json.dumps({"type": "response.cancel", "padding": "κόσμε 你好 👋"}, ensure_ascii=False).encode()
    yield "1.1 text of every kind of length", lambda: [
        raw(base, frame(TEXT, ask[:-1] + b" " * more + b"}"), code=None) for more in (0, 90, 98, 99, 65000, 65536, 1 << 20)
    ]
    yield "1.2 binary is no event", lambda: raw(base, frame(BINARY, ask), code=1003)
    yield "2 pings and pongs", lambda: pings(base)
    yield "2.5 a ping of 126 bytes", lambda: raw(base, frame(PING, b"x" * 126), code=1002)
    yield "2.7 an unasked pong", lambda: raw(base, frame(PONG, b"x"), frame(TEXT, ask), code=None)
    for bits in ({"rsv1": True}, {"rsv2": True}, {"rsv3": True}, {"rsv1": True, "rsv2": True, "rsv3": True}):
        for opcode in (TEXT, BINARY, PING, CLOSE):
            yield f"3 {'+'.join(bits)} on {opcode.name}", lambda o=opcode, b=bits: raw(base, frame(o, b"", **b), code=1002)
    for number in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield f"4 the reserved opcode {number}", lambda n=number: raw(base, bytes([0x80 | n, 0x80, 0, 0, 0, 0]), code=1002)
    for opcode in (PING, PONG, CLOSE):
        yield f"5.1 {opcode.name} in fragments", lambda o=opcode: raw(base, frame(o, b"", fin=False), code=1002)
    for size in (1, 2, 7, 64):
        yield f"5.3 text in pieces of {size}", lambda s=size: raw(base, *fragments(wide, s), code=None)
    first, *others = fragments(ask, 5)
    yield "5.6 a ping between pieces", lambda: raw(base, first, frame(PING, b"x"), *others, code=None)
    yield "5.7 an empty first piece", lambda: raw(base, frame(TEXT, b"", False), frame(CONT, b"", False), frame(CONT, ask), code=None)
    yield "5.9 a continuation of nothing", lambda: raw(base, frame(CONT, ask), code=1002)
    yield "5.11 and again, unfinished", lambda: raw(base, frame(CONT, ask, False), code=1002)
    yield "5.18 text in text", lambda: raw(base, frame(TEXT, ask, False), frame(TEXT, ask), code=1002)
    for wrong in (b"\xce\xba\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\x80", b"\xff", b"\xe4\xbd"):
        yield f"6 no UTF-8: {wrong.hex()}", lambda w=wrong: raw(base, frame(TEXT, w), code=1007)
    yield "6.4 no UTF-8, told before the end", lambda: raw(base, frame(TEXT, b"ok\xf4\x90", False), code=1007)
    yield "6.2 a character in two pieces", lambda: raw(base, *fragments(wide, 50), code=None)
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 3000, 3999, 4000, 4999):
        yield f"7.7 close {code}", lambda c=code: closes(base, c, "κόσμε")
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
        yield f"7.9 close {code}", lambda c=code: raw(base, frame(CLOSE, c.to_bytes(2, "big")), code=1002)
    yield "7.3 an empty close", lambda: raw(base, frame(CLOSE), code=1000)
    yield "7.3 half a code", lambda: raw(base, frame(CLOSE, b"\x03"), code=1002)
    yield "7.3 a reason of 123 bytes", lambda: raw(base, frame(CLOSE, Close(1000, "x" * 123).serialize()), code=1000)
    yield "7.3 a reason of 124 bytes", lambda: raw(base, frame(CLOSE, b"\x03\xe8" + b"x" * 124), code=1002)
    yield "7.5 a reason that is no UTF-8", lambda: raw(base, frame(CLOSE, b"\x03\xe8\xce\xba\xed\xa0\x80"), code=1007)
    yield "7.1 a close, then more", lambda: raw(base, frame(CLOSE, b"\x03\xe8"), frame(TEXT, ask), frame(PING), code=1000)
    yield "unmasked", lambda: raw(base, b"\x81\x02{}", code=1002)
    yield "a length in too many bytes", lambda: raw(base, b"\x81\xfe\x00\x02\0\0\0\0{}", code=1002)
    yield "more than is read", lambda: raw(base, b"\x81\xff\x00\x00\x00\x00\x7f\xff\xff\xff\0\0\0\0", code=1009)
    yield "turns, and their replay", lambda: turns(base, None)
    yield "12 turns, compressed", lambda: turns(base, "deflate")
    yield "13 compressed in pieces", lambda: compressed_pieces(base)


def main():
    passed, failures = 0, []
    for base in sys.argv[1:]:
        for name, case in cases(base):
            try:
                case()
                passed += 1
            except Exception as error:  # whatever it is, it is the case's result
                failures.append(f"{base} {name}: {type(error).__name__}: {error}")
    print("\n".join(failures), end="\n" if failures else "")
    print(f"websockets (Python): {passed + len(failures)} cases, {passed} passed, {len(failures)} failed")
    return bool(failures)


sys.exit(main())
