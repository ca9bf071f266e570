#!/usr/bin/env python3
"""reward.py ADDRESS NAME [TOKEN] - a reward in another language, from docs/protocol.md alone.

Scores an answer by the share of TOKEN in it, or, without one, by its length: -tokens / 100.
HANG=S in the environment: it sits still for S seconds over its first unit.
"""
import hashlib, os, struct, sys, time
import msgpack, zmq

address, name, token = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else None
digest = hashlib.sha256((name if token is None else f"{name} {token}").encode()).digest()
socket = zmq.Context().socket(zmq.DEALER)
socket.setsockopt(zmq.LINGER, 2000)
socket.connect(address)
hang = float(os.environ.get("HANG", 0))
born, said, heard = time.time_ns(), 0.0, time.monotonic()


def say(word, content=None, arrays=(), **body):
    message = {"v": 1, "say": word, "body": body}
    if content:
        message["content"] = content
    socket.send_multipart([msgpack.packb(message), *arrays])


def hello():
    say("hello", role="reward", instance=f"{name}-{os.getpid()}", incarnation=born, holds=[digest], credits=4)


def score(answer):
    return -len(answer) / 100 if token is None else answer.count(token) / len(answer)


def answer(unit, content, frames):
    array = {a["name"]: struct.unpack(f"<{a['shape'][0]}{'i' if a['dtype'] == 'i32' else 'q'}", frame)
             for a, frame in zip(content["arrays"], frames)}
    number = [score(array["token"][start + begin:end])
              for start, end, begin in zip(array["start"], array["start"][1:], array["from"])]
    described = {"name": "number", "dtype": "f32", "shape": [len(number)]}
    say("done", {"kind": "score", "digests": content["digests"], "payload": {}, "arrays": [described]},
        [struct.pack(f"<{len(number)}f", *number)], id=unit)


joined = False
while time.monotonic() < heard + 60:
    if time.monotonic() > said + 1:  # a sign of life, every second
        said = time.monotonic()
        say("progress", in_hand=[]) if joined else hello()
    if not socket.poll(200):
        continue
    head, *frames = socket.recv_multipart()
    heard, message = time.monotonic(), msgpack.unpackb(head)
    body = message["body"]
    if message["say"] == "welcome":
        joined = body["admitted"]
        if not joined:
            sys.exit(body["reason"])
    elif message["say"] == "who":
        joined = False
    elif message["say"] == "unit" and message["content"]["kind"] == "score":
        time.sleep(hang)
        hang = 0
        answer(body["id"], message["content"], frames)
    elif message["say"] == "unit":
        say("fail", id=body["id"], code=5, text="not a score", retryable=False)
    elif message["say"] == "load":
        say("loaded", digest=body["digest"], ok=body["digest"] == digest, text="there are no weights here")
    elif message["say"] == "bye":
        sys.exit(0)
sys.exit("the coordinator has been silent for 60 s")
