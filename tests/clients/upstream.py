"""A model server for the clients' tests: it speaks OpenAI's chat completions, and the user's last message says what it does.

    /tool NAME ARGUMENTS   calls the tool of that name, or whose name ends so. Arguments that are no JSON are the value of its first parameter
    /status 429            refuses with that status, in words that a test can look for
    /endless               goes on until its caller leaves, which GET /left waits for
    anything else          is repeated

The last message being a tool's output, it quotes that. It depends on nothing but the standard library.
"""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# How long /endless goes on, and how long GET /left waits for its end.
PATIENCE = 10


class Upstream:
    """The server: `url` is its base URL, `requests` are the bodies it was sent."""

    def __init__(self):
        self.requests = []
        self.left = threading.Semaphore(0)
        upstream = self

        class Handler(_Handler):
            owner = upstream

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    owner: Upstream
    protocol_version = "HTTP/1.1"
    # Without this each chunk waits for the acknowledgement of the last.
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path.endswith("/left"):
            return self._json(200 if self.owner.left.acquire(timeout=PATIENCE) else 504, {})
        self._json(200, {"object": "list", "data": [{"id": "fake", "object": "model", "created": 1, "owned_by": "tests"}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.owner.requests.append(body)
        if self.path.endswith("/embeddings"):
            texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
            vectors = [{"object": "embedding", "index": index, "embedding": [0.5, -0.5]} for index, _ in enumerate(texts)]
            return self._json(200, {"object": "list", "data": vectors, "model": "fake", "usage": {"prompt_tokens": 1, "total_tokens": 1}})
        self._stream = body.get("stream", False)
        said = next((_text(message) for message in reversed(body["messages"]) if message["role"] == "user"), "")
        command, _, rest = said.partition(" ")
        if command == "/status":
            error = {"message": f"The fake model refuses with {rest}.", "type": "refusal", "code": "fake_refusal"}
            return self._json(int(rest), {"error": error})
        if command == "/endless":
            return self._endless()
        if body["messages"][-1]["role"] == "tool":
            return self._answer({"content": f"The tool said: {_text(body['messages'][-1])}"}, "stop")
        if command == "/tool":
            call = {"index": 0, "id": f"call_{len(body['messages'])}", "type": "function", "function": _call(body.get("tools", []), rest)}
            return self._answer({"tool_calls": [call]}, "tool_calls")
        return self._answer({"content": f"You said: {said}"}, "stop")

    def _answer(self, message, reason):
        if not self._stream:
            return self._json(200, self._chunk({"message": {"role": "assistant", "content": None, **message}, "finish_reason": reason}))
        self._begin()
        self._send({"delta": {"role": "assistant", **message}})
        self._send({"delta": {}, "finish_reason": reason})
        self.wfile.write(b"data: [DONE]\n\n")

    def _endless(self):
        self._begin()
        try:
            for _ in range(PATIENCE * 50):
                self._send({"delta": {"role": "assistant", "content": "more "}})
                time.sleep(0.02)
        except OSError:
            self.owner.left.release()

    def _begin(self):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()

    def _send(self, choice):
        self.wfile.write(b"data: " + json.dumps(self._chunk(choice)).encode() + b"\n\n")

    def _chunk(self, choice):
        usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        kind = "chat.completion.chunk" if self._stream else "chat.completion"
        choice = {"index": 0, "finish_reason": None, **choice}
        return {"id": "chatcmpl-fake", "object": kind, "created": 1, "model": "fake", "choices": [choice], "usage": usage}

    def _json(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _call(tools, rest):
    name, _, arguments = rest.partition(" ")
    offered = [tool["function"] for tool in tools]
    # A tool in a namespace has another name here.
    fitting = [tool for tool in offered if tool["name"] == name] or [tool for tool in offered if tool["name"].endswith(name)]
    tool = fitting[0] if fitting else {"name": name}
    if not arguments.startswith("{"):
        parameter = next(iter(tool.get("parameters", {}).get("properties", {})), "input")
        arguments = json.dumps({parameter: arguments})
    return {"name": tool["name"], "arguments": arguments}


def _text(message):
    """The text of a message; of several parts the last, since some agents put reminders of their own before it."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else content[-1].get("text", "")
