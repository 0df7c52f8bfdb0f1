"""A scripted upstream that speaks OpenAI chat completions: the model's name says what it does.

It stands in for a real model server, so it speaks plain HTTP/1.1 with chunks and depends on nothing but the standard library.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# No test waits longer than this for another thread.
PATIENCE = 30


class Upstream:
    """The server: `url`, what was asked of it (`requests`), and a `gate` that holds the model `gated` after its first word."""

    def __init__(self):
        self.gate = threading.Event()
        self.left = threading.Event()
        self._asked = []
        self._changed = threading.Condition()
        upstream = self

        class Handler(_Handler):
            owner = upstream

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def reset(self):
        with self._changed:
            self._asked.clear()
        self.gate.clear()
        self.left.clear()

    def note(self, request):
        with self._changed:
            self._asked.append(request)
            self._changed.notify_all()

    @property
    def requests(self):
        with self._changed:
            return list(self._asked)

    def wait_for(self, count):
        """Waits until `count` requests have come."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._asked) >= count, PATIENCE), f"{len(self._asked)} of {count} requests"

    def close(self):
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    owner: Upstream
    protocol_version = "HTTP/1.1"
    # Without this each chunk waits for the acknowledgement of the last.
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        models = [{"id": name, "object": "model", "created": 1, "owned_by": "lab"} for name in ("talk", "tool")]
        self._json(200, {"object": "list", "data": models})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.owner.note({"path": self.path, "headers": {name.lower(): value for name, value in self.headers.items()}, "body": body})
        name = body["model"]
        act = getattr(self, f"_do_{name.replace('-', '_')}", None)
        if act is None:
            return self._refuse(404, f"there is no model {name}", "model_not_found")
        try:
            return act(body)
        except (BrokenPipeError, ConnectionResetError):
            self.owner.left.set()
            self.close_connection = True

    # Models

    def _do_talk(self, body):
        self._begin()
        for word in ("Water", " flows", " downhill."):
            self._delta({"content": word})
        self._end("stop", usage={"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14})

    def _do_tool(self, body):
        self._begin()
        if any(message["role"] == "tool" for message in body["messages"]):
            outputs = [message["content"] for message in body["messages"] if message["role"] == "tool"]
            self._delta({"content": " and ".join(outputs)})
            return self._end("stop")
        choice = body["tool_choice"]
        name = (choice if isinstance(choice, dict) else body["tools"][0])["function"]["name"]
        for index, city in enumerate(("Oslo", "Rome")):
            function = {"name": name, "arguments": ""}
            self._delta({"tool_calls": [{"index": index, "id": f"call_{index}", "type": "function", "function": function}]})
            for piece in ('{"city":', f'"{city}"}}'):
                self._delta({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
        return self._end("tool_calls")

    def _do_gated(self, body):
        """Says a word, and the next when the gate opens. Notices a client that goes before."""
        self._begin()
        self._delta({"content": "one"})
        waited = 0
        while not self.owner.gate.wait(0.02):
            waited += 1
            assert waited * 0.02 < PATIENCE
            self._chunk(b": still here\n\n")
        self._delta({"content": " two"})
        self._end("stop")

    def _do_think(self, body):
        self._begin()
        self._delta({"reasoning_content": "Let me see."})
        self._delta({"content": "Seen."})
        self._end("stop")

    def _do_breaks(self, body):
        self._begin()
        self._delta({"content": "half"})
        self._event({"error": {"message": "the accelerator caught fire", "type": "server_error", "code": "on_fire"}})
        self._chunk(b"")

    def _do_cut(self, body):
        self._begin()
        self._delta({"content": "half"})
        self.close_connection = True

    def _do_busy(self, body):
        self._refuse(429, "slow down", "rate_limit_exceeded", {"retry-after": "7"})

    def _do_failing(self, body):
        self._refuse(500, "out of memory", "internal_error")

    def _do_locked(self, body):
        self._refuse(401, f"Incorrect API key provided: {self.headers['authorization']}", "invalid_api_key")

    def _do_picky(self, body):
        self._refuse(400, "temperature is too hot", "invalid_value", param="temperature")

    # What passes through

    def _do_vectors(self, body):
        """Knows no base64, as many servers."""
        data = [{"object": "embedding", "index": index, "embedding": [0.1, -0.25, 3.0]} for index in range(len(body["input"]))]
        self._json(200, {"object": "list", "data": data, "model": "lab", "usage": {"prompt_tokens": 4, "total_tokens": 4}})

    def _do_judge(self, body):
        result = {"flagged": True, "categories": {"violence": True}, "category_scores": {"violence": 0.75}}
        self._json(200, {"id": "modr-lab", "model": "lab", "results": [result]})

    def _do_continue(self, body):
        self._begin()
        for word in ("Water", " flows", " downhill."):
            self._text(word)
        self._text("", "stop")
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _do_half_way(self, body):
        self._begin()
        self._text("half")
        self.close_connection = True

    def _do_half_said(self, body):
        self._begin()
        self._text("half")
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    # Wire

    def _text(self, text, finish=None):
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
        self._event({"id": "cmpl-lab", "object": "text_completion", "created": 1, "model": "lab", "choices": [choice]})

    def _json(self, status, value, headers=None):
        data = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"content-type": "application/json", "content-length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    def _refuse(self, status, message, code, headers=None, param=None):
        self._json(status, {"error": {"message": message, "type": "some_error", "code": code, "param": param}}, headers)

    def _begin(self):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def _chunk(self, data):
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _event(self, value):
        self._chunk(f"data: {json.dumps(value)}\n\n".encode())

    def _delta(self, delta, finish=None):
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        self._event({"id": "chatcmpl-lab", "object": "chat.completion.chunk", "created": 1, "model": "lab", "choices": [choice]})

    def _end(self, finish, usage=None):
        self._delta({}, finish)
        if usage:
            self._event({"id": "chatcmpl-lab", "object": "chat.completion.chunk", "created": 1, "model": "lab", "choices": [], "usage": usage})
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")
