#!/usr/bin/env python3
"""hostile.py ADDRESS ROLE VICE [DIGEST [SLOT]] - a worker that answers badly, from docs/protocol.md alone.

ROLE is rollout, reference or reward; DIGEST is what it holds. VICE is `none`; `once`: from the eleventh on each unit is
answered with too many numbers first, and well a second after it is asked again; or a number that all answers hold.
"""
import struct, sys, time
import msgpack, zmq

address, role, vice = sys.argv[1:4]
holds = [bytes.fromhex(d) for d in sys.argv[4:5]]
slot = sys.argv[5] if len(sys.argv) > 5 else ""
socket = zmq.Context().socket(zmq.DEALER)
socket.setsockopt(zmq.LINGER, 500)
socket.connect(address)
born, said, heard = time.time_ns(), 0.0, time.monotonic()
letter = {"i32": "i", "i64": "q", "f32": "f"}
units, spoilt, later, joined = 0, set(), [], False


def say(word, content=None, frames=(), **body):
    message = {"v": 1, "say": word, "body": body}
    if content:
        message["content"] = content
    socket.send_multipart([msgpack.packb(message), *frames])


def hello():
    say("hello", role=role, slot=slot, instance="hostile", incarnation=born, holds=holds, credits=64)


def done(unit, content, **arrays):
    described = [{"name": name, "dtype": dtype, "shape": [len(x)]} for name, (dtype, x) in arrays.items()]
    frames = [struct.pack(f"<{len(x)}{letter[dtype]}", *x) for dtype, x in arrays.values()]
    say("done", {"kind": content["kind"], "digests": content["digests"], "payload": {}, "arrays": described}, frames, id=unit)


def answer(unit, content, frames, wrong=0):
    array = {a["name"]: struct.unpack(f"<{a['shape'][0]}{letter[a['dtype']]}", frame)
             for a, frame in zip(content["arrays"], frames)}
    if content["kind"] == "generate":
        done(unit, content, token=("i32", [65, 66]), start=("i64", [0, 2]), logprob=("f32", [float(vice)] * 2), stopped=("i32", [0]))
    elif content["kind"] == "score":
        done(unit, content, number=("f32", [float(vice)] * len(array["from"])))
    else:
        number = [-1 - token % 7 / 8 for start, end, begin in zip(array["start"], array["start"][1:], array["from"])
                  for token in array["token"][start + begin:end]]
        done(unit, content, number=("f32", number + [-1.0] * wrong))


while time.monotonic() < heard + 60:
    now = time.monotonic()
    for waiting in [w for w in later if w[0] < now]:
        later.remove(waiting)
        answer(*waiting[1:])
    if now > said + 1:
        said = now
        say("progress", in_hand=[w[1] for w in later]) if joined else hello()
    if not socket.poll(50):
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
    elif message["say"] == "load":
        say("loaded", digest=body["digest"], ok=True)
    elif message["say"] == "unit":
        units += 1
        if body["id"] in spoilt:
            later.append((now + 1, body["id"], message["content"], frames))
        elif vice == "once" and units > 10:
            spoilt.add(body["id"])
            answer(body["id"], message["content"], frames, 1000)
        else:
            answer(body["id"], message["content"], frames)
    elif message["say"] == "bye":
        sys.exit(0)
sys.exit("the coordinator has been silent for 60 s")
