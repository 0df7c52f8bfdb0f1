"""Asks Weir with OpenAI's official SDK, and prints the answer as it comes. Only the base URL is changed.

The answer is stored, so one whose connection breaks is read on with `retrieve(…, stream=True, starting_after=N)`.

    pip install openai
    WEIR_URL=http://127.0.0.1:8000 python3 ask_openai.py 'Say hello'
"""

import os
import signal
import sys
import threading
import time
import uuid

import openai

ENDS = ("response.completed", "response.incomplete", "response.failed")
TRIES = 5

client = openai.OpenAI(
    base_url=os.environ.get("WEIR_URL", "http://127.0.0.1:8000") + "/v1",
    api_key=os.environ.get("WEIR_API_KEY", "none"),
)


def ask(question, model="demo"):
    """The events of one answer, each once and in order, over as many connections as it takes."""
    # The same question with the same key is the same answer: the question may be sent again if its reply was lost.
    repeatable = {"Idempotency-Key": str(uuid.uuid4())}
    answer, position, failures = None, None, 0
    while True:
        try:
            if answer is None:
                stream = client.responses.create(model=model, input=question, stream=True, extra_headers=repeatable)
            elif position is None:
                stream = client.responses.retrieve(answer, stream=True)
            else:
                stream = client.responses.retrieve(answer, stream=True, starting_after=position)
            with stream:
                for event in stream:
                    if event.type == "response.created":
                        answer = event.response.id
                    position, failures = event.sequence_number, 0
                    yield event
                    if event.type in ENDS:
                        return
            lost = "it was closed"
        except openai.APIStatusError:
            raise  # the SDK has tried again where that makes sense
        except Exception as error:  # the SDK hands on what its HTTP library raises in mid-stream, whichever that is
            lost = repr(error)
        failures += 1
        if failures == TRIES:
            raise ConnectionError(lost)
        print(f"lost the connection after event {position} ({lost}); going on", file=sys.stderr)
        time.sleep(0.2 * 2**failures)


interrupted = threading.Event()


def interrupt(*_):
    """Ctrl-C. The validation below the SDK sometimes ignores an exception raised by a signal, so there is a flag as well."""
    interrupted.set()
    raise KeyboardInterrupt


def main():
    signal.signal(signal.SIGINT, interrupt)
    answer = None
    try:
        for event in ask(sys.argv[1] if len(sys.argv) > 1 else "/count 20"):
            if interrupted.is_set():
                raise KeyboardInterrupt
            if event.type == "response.created":
                answer = event.response.id
            if event.type == "response.output_text.delta":
                print(event.delta, end="", flush=True)
            if event.type in ENDS:
                print(f"\nstatus: {event.response.status}", file=sys.stderr)
    except KeyboardInterrupt:
        # Closing the connection would not stop a stored answer; this does, and the model is no longer paid.
        if answer:
            client.responses.cancel(answer)
        sys.exit(130)


if __name__ == "__main__":
    main()
