"""Requests to begin with, and what is done to them. Everything comes from one random.Random, so a case can be made again."""

import copy
import gzip
import json
import struct
import zlib

MODEL = "demo"

TEXTS = ["", "hi", "my name is Ada. my cat is Tom. ", "what is (1+2)*3? ", "/json", "/tool", "/count 300", "/lorem 200", "/echo a", "/think of it",
         "when did I say my k1 is v? ", "\u0000\u001b[2J\u202e", "\U0001f469\u200d\U0001f469", "data:image/png;base64,QUJD"]
NAMES = ["model", "input", "messages", "stream", "store", "background", "type", "role", "content", "tools", "tool_choice", "text", "metadata", "include",
         "previous_response_id", "instructions", "max_output_tokens", "stream_id", "response_id", "starting_after", "id", "call_id", "name", "x", "",
         "n", "stop", "seed", "user", "logprobs", "reasoning", "msg", "for", "cookie", "truncation", "conversation", "prompt", "stream_options"]
ODD = [None, True, False, 0, -1, 1, 2, 0.1, 1e308, 2**53, 2**64, -(2**63), "", "a", "resp_0", "../..", "\u0000", "é" * 70, [], {}, [[]], [None], {"": {}}, "x" * 5000]

TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string", "minLength": 3}}}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "array", "minItems": 3, "items": {"$ref": "#"}}, "b": {"enum": [1, "two"]}}, "required": ["a"]}


def responses(random):
    body = {"model": MODEL, "input": random.choice(TEXTS) * random.choice([1, 1, 1, 30])}
    if random.random() < 0.4:
        call = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"}
        output = {"type": "function_call_output", "call_id": "c1", "output": "rain"}
        parts = [{"type": "input_text", "text": "hi"}, {"type": "input_image", "image_url": "data:image/png;base64,QUJD"}]
        said = {"role": "assistant", "content": [{"type": "output_text", "text": "yes", "annotations": []}]}
        items = [{"role": "user", "content": random.choice(TEXTS)}, {"role": "user", "content": parts}, said, call, output,
                 {"type": "item_reference", "id": "msg_0"}, {"type": "reasoning", "summary": [], "encrypted_content": "x"}]
        body["input"] = [random.choice(items) for _ in range(random.randrange(6))] + [call, output][: random.choice([0, 2])]
    for name, value in {
        "tools": [TOOL, {"type": "custom", "name": "c"}], "text": {"format": {"type": "json_schema", "name": "s", "schema": SCHEMA}}, "metadata": {"a": "b"},
        "tool_choice": random.choice(["required", "none", {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "weather"}]}]),
        "max_output_tokens": 20, "background": True, "previous_response_id": "resp_0", "include": ["reasoning.encrypted_content"], "instructions": "be brief",
    }.items():
        if random.random() < 0.15:
            body[name] = value
    body["stream"], body["store"] = random.random() < 0.5, random.random() < 0.5
    return body


def chat(random):
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": random.choice(TEXTS)},
                {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}]},
                {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c1", "content": "rain"}]
    body = {"model": MODEL, "messages": random.sample(messages, random.randrange(1, 6)), "stream": random.random() < 0.5}
    for name, value in {"tools": [{"type": "function", "function": TOOL}], "tool_choice": "required", "stop": ["a"], "n": 2, "seed": 1,
                        "stream_options": {"include_usage": True}, "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}}.items():
        if random.random() < 0.15:
            body[name] = value
    return body


def event(random):
    """What a client sends on a Responses socket."""
    kind = random.choice(["response.create"] * 4 + ["response.cancel", "response.resume"])
    body = {"type": kind, **(responses(random) if kind == "response.create" else {"response_id": "resp_0", "starting_after": 0})}
    body.pop("background", None)
    if random.random() < 0.3:
        body["stream_id"] = f"lane{random.randrange(40)}"
    return body


# A path, what makes a body for it, and how often it comes.
POSTS = [
    ("/v1/responses", responses, 8),
    ("/v1/responses/input_tokens", responses, 2),
    ("/v1/responses/compact", responses, 2),
    ("/v1/chat/completions", chat, 6),
    ("/v1/embeddings", lambda random: {"model": MODEL, "input": random.choice(["a", ["a", "b"], [1, 2]]), "dimensions": 3, "encoding_format": "base64"}, 2),
    ("/v1/completions", lambda random: {"model": MODEL, "prompt": random.choice(TEXTS), "stream": random.random() < 0.5, "n": 1}, 2),
    ("/v1/moderations", lambda random: {"model": MODEL, "input": random.choice(TEXTS)}, 1),
    ("/v1/tickets", lambda random: {"cookie": random.random() < 0.5, "for": "/v1/responses/resp_0/events"}, 2),
    ("/chat?uid=u1", lambda random: {"msg": random.choice(TEXTS)}, 2),
]
GETS = ["/v1/models", "/v1/models/demo", "/v1/responses/{id}", "/v1/responses/{id}?stream=true&starting_after=3", "/v1/responses/{id}/events?wait=1ms&after=0",
        "/v1/responses/{id}/input_items?limit=2&order=asc", "/createSse?uid=u1", "/chat?uid=u1&message=hi", "/closeSse?uid=u1", "/", "/lab", "/assets/app.js", "/healthz", "/readyz",
        "/metrics", "/openapi.json", "/v1/upstreams", "/v1/lens/connections", "/v1", "/nothing"]
METHODS = ["GET", "POST", "DELETE", "PUT", "HEAD", "OPTIONS", "CONNECT", "TRACE", "get", "PRI"]
FIELDS = ["Content-Type: text/plain", "Content-Type: application/json; charset=utf-16", "Content-Encoding: gzip", "Content-Encoding: zstd", "Content-Encoding: gzip, deflate",
          "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Content-Length: 5", "Content-Length: -1", "Content-Length: 99999999999999999999", "Expect: 100-continue",
          "Accept: application/x-ndjson", "Accept: text/event-stream", "Prefer: wait=0", "Prefer: wait=99999999999", "Last-Event-ID: 3", "Last-Event-ID: resp_0:99999999999999999999",
          "Idempotency-Key: k1", "Idempotency-Key: " + "k" * 300, "traceparent: 00-00000000000000000000000000000001-0000000000000001-01", "traceparent: 00-x", "Origin: null",
          "Origin: http://evil", "Sec-Fetch-Site: cross-site", "Connection: close", "Connection: upgrade", "Upgrade: h2c", "Range: bytes=0-1", "If-None-Match: *", "Cookie: weir_session=x",
          "Host: a@b", "X-Forwarded-For: 1.2.3.4", "Accept-Encoding: gzip, br, zstd;q=0", "X-Long: " + "a" * 9000, "X: \x00", "X : y", " folded", ":", "x-stainless-retry-count: 1"]


def mutate(random, value):
    """Changes a JSON value in one to five places."""
    value = copy.deepcopy(value)
    for _ in range(random.randrange(1, 6)):
        value = _mutate_once(random, value)
    return value


def _mutate_once(random, value):
    if isinstance(value, dict) and value and random.random() < 0.8:
        name = random.choice(list(value))
        match random.randrange(6):
            case 0:
                del value[name]
            case 1:
                value[random.choice(NAMES)] = value[name]
            case 2:
                value[random.choice(NAMES)] = _odd(random)
            case _:
                value[name] = _mutate_once(random, value[name])
        return value
    if isinstance(value, list) and value and random.random() < 0.8:
        index = random.randrange(len(value))
        match random.randrange(5):
            case 0:
                del value[index]
            case 1:
                value.extend(copy.deepcopy(value[index : index + 1]) * random.choice([1, 10, 300, 3000 if len(repr(value[index])) < 300 else 3]))
            case 2:
                value.insert(index, _odd(random))
            case _:
                value[index] = _mutate_once(random, value[index])
        return value
    if isinstance(value, str) and random.random() < 0.4:
        return random.choice([value * 2, value[: len(value) // 2], value + "\ud7ff\u0000", value * 200, value.upper()])[:200_000]
    return _odd(random)


def _odd(random):
    match random.randrange(12):
        case 0:
            return [0] * random.choice([10, 1000, 30_000])
        case 1:
            deep = random.choice(ODD)
            for _ in range(random.choice([3, 70, 120])):
                deep = random.choice([[deep], {"a": deep}])
            return deep
        case 2:
            return {f"k{index}": index for index in range(random.choice([5, 20, 2000]))}
        case 3:
            return random.choice(TEXTS)
        case _:
            return copy.deepcopy(random.choice(ODD))


def text(random, value):
    """The JSON of a value, or what only begins like it."""
    written = json.dumps(value, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
    return damage(random, written) if random.random() < 0.15 else written


def damage(random, data):
    """Changes bytes in one to four places."""
    data = bytearray(data)
    for _ in range(random.randrange(1, 5)):
        at = random.randrange(len(data) + 1)
        match random.randrange(6):
            case 0:
                data[at : at + random.choice([1, 4, 100])] = b""
            case 1:
                data[at:at] = random.randbytes(random.choice([1, 2, 20]))
            case 2:
                data[at:at] = random.choice([b"\r\n", b"\n", b"\x00", b" ", b"\xff", b"\xed\xa0\x80", b"\"", b"{", b"[" * 200, b"\r\n\r\n", b"0\r\n\r\n", b"ffffffffffffffff"])
            case 3 if at < len(data):
                data[at] ^= 1 << random.randrange(8)
            case 4:
                other = random.randrange(len(data) + 1)
                data[at:at] = data[min(at, other) : max(at, other)][:2000]
            case _:
                del data[at:]
    return bytes(data)


def encode(random, body):
    """A body in some content coding, true or not, with its field."""
    match random.randrange(5):
        case 0:
            return gzip.compress(body, 1), "Content-Encoding: gzip"
        case 1:
            return zlib.compress(body, 1), "Content-Encoding: deflate"
        case 2:
            return damage(random, gzip.compress(body, 1)), "Content-Encoding: gzip"
        case 3:
            return gzip.compress(b"0" * random.choice([1 << 16, 1 << 22]), 9), "Content-Encoding: gzip"
        case _:
            return b"\x28\xb5\x2f\xfd" + random.randbytes(30), "Content-Encoding: zstd"


def chunked(random, body):
    """A body in chunks, not always of the right form."""
    parts, at = [], 0
    while at < len(body):
        size = random.choice([1, 7, 100, 5000])
        piece = body[at : at + size]
        at += size
        extension = random.choice([b""] * 9 + [b";a=b", b";" + b"x" * 300])
        parts.append(b"%x" % len(piece) + extension + b"\r\n" + piece + b"\r\n")
        if len(parts) > 200:
            piece = body[at:]
            parts.append(b"%x\r\n" % len(piece) + piece + b"\r\n" if piece else b"")
            break
    coded = b"".join(parts) + random.choice([b"0\r\n\r\n"] * 8 + [b"0\r\nX-Trailer: a\r\n\r\n", b""])
    return damage(random, coded) if random.random() < 0.3 else coded


def frame(random, opcode, payload, mask=True, fin=True, reserved=0):
    """A frame of a WebSocket (RFC 6455 §5.2), whose length is now and then not the shortest, or a lie."""
    length = len(payload)
    if random.random() < 0.03:
        length = random.choice([0, 1, 125, 126, 65535, 65536, 2**31, 2**63, 2**64 - 1])
    width = random.randrange(3) if random.random() < 0.03 else (0 if length < 126 else 1 if length < 65536 else 2)
    marked = 0x80 if mask else 0
    head = bytes([(0x80 if fin else 0) | (reserved << 4) | opcode])
    if width == 0:
        head += bytes([marked | min(length, 125)])
    else:
        head += bytes([marked | (125 + width)]) + (struct.pack("!H", length & 0xFFFF) if width == 1 else struct.pack("!Q", length))
    if not mask:
        return head + payload
    key = random.randbytes(4)
    repeated = (key * (len(payload) // 4 + 1))[: len(payload)]
    return head + key + (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(len(payload), "big")


def frames(random, messages, deflate):
    """Messages of a client with everything between, around and in them that a socket may carry or must refuse."""
    sent = []
    for message in messages:
        reserved = 0
        if deflate and random.random() < 0.5:
            packer = zlib.compressobj(6, zlib.DEFLATED, -15)
            message = packer.compress(message) + packer.flush(zlib.Z_SYNC_FLUSH)
            message, reserved = message.removesuffix(b"\x00\x00\xff\xff"), 4
            message = damage(random, message) if random.random() < 0.2 else message
        opcode = random.choice([1] * 12 + [2, 0, 3])
        pieces = [message]
        if random.random() < 0.4:
            cuts = sorted(random.randrange(len(message) + 1) for _ in range(random.choice([1, 2, 8, 300])))
            pieces = [message[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(message)])]
        for index, piece in enumerate(pieces):
            mask, is_last = random.random() > 0.005, index == len(pieces) - 1
            sent.append(frame(random, opcode if index == 0 else 0, piece, mask, is_last, reserved if index == 0 else 0))
            if random.random() < 0.1:
                control = random.choice([9, 9, 10, 10, 8, 11])
                body = random.randbytes(random.choice([0, 1, 2, 20, 125, 130])) if random.random() < 0.7 else struct.pack("!H", random.choice([1000, 1001, 1005, 999, 4999])) + b"bye"
                sent.append(frame(random, control, body[:125] if random.random() < 0.9 else body, fin=random.random() > 0.05))
    if random.random() < 0.3:
        sent.append(frame(random, 8, b"\x03\xe8"))
    data = b"".join(sent)
    return damage(random, data) if random.random() < 0.15 else data
