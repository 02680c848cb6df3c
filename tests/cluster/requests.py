"""HTTP requests for measurements: answers them, or sends them and says how that went.

serve PORT                              answers `/` with VERSION and a name of its own, `/slow` with the same
                                        after 20 s; ends at once, whatever it has begun, on SIGTERM
load RATE SECONDS SLOW ADDRESS:PORT…    sends RATE requests a second to the addresses in turn, each over a
                                        connection of its own, whatever becomes of the ones before; every
                                        SLOW seconds one for `/slow` (0: none). Prints one line of JSON
first SECONDS OTHER ADDRESS:PORT…       asks all addresses until one is answered by another than OTHER;
                                        prints by whom, and when, in milliseconds since 1970
"""

import errno
import json
import os
import resource
import selectors
import signal
import socket
import struct
import sys
import time
from collections import Counter

SLOW_S = 20
# Whoever asks has given up by then.
PATIENCE_S = {"/": 10, "/slow": SLOW_S + 10}
# How often those are looked for.
LOOK_S = 0.5
# Closed with a reset, so that no port and no entry of connection tracking waits for stragglers.
RESET = struct.pack("ii", 1, 0)
ASK = "GET {} HTTP/1.1\r\nHost: page\r\nConnection: close\r\n\r\n"
# Between two tries of `first`, and how long one is waited for.
PAUSE_S, TRY_S = 0.02, 0.5


def reply():
    # A replacement may have the name of the one before.
    body = f"{os.environ.get('VERSION', '-')} {socket.gethostname()}-{os.urandom(4).hex()}\n"
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


class Server:
    def __init__(self, port):
        self.ready, self.slow, self.reply = selectors.DefaultSelector(), {}, reply()
        listener = socket.create_server(("", port), backlog=4096)
        listener.setblocking(False)
        self.ready.register(listener, selectors.EVENT_READ)
        self.listener = listener

    def run(self):
        while True:
            for key, _ in self.ready.select(0.1 if self.slow else None):
                if key.fileobj is self.listener:
                    self.take()
                else:
                    self.answer(key.fileobj)
            now = time.monotonic()
            for connection in [one for one, due in self.slow.items() if due <= now]:
                del self.slow[connection]
                self.send(connection)

    def take(self):
        for _ in range(64):
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            connection.setblocking(False)
            self.ready.register(connection, selectors.EVENT_READ)

    def answer(self, connection):
        try:
            asked = connection.recv(4096)
        except OSError:
            asked = b""
        if asked.startswith(b"GET /slow"):
            self.slow[connection] = time.monotonic() + SLOW_S
        elif asked:
            self.send(connection)
        else:
            # Whoever asked closes.
            self.slow.pop(connection, None)
            self.ready.unregister(connection)
            connection.close()

    def send(self, connection):
        try:
            connection.sendall(self.reply)
        except OSError:
            pass  # It did not wait for that; its end is read.


def serve(port):
    # Process 1 of a container would not notice the signal otherwise.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    Server(port).run()


class Request:
    """One connection: connects, asks, reads the answer."""

    def __init__(self, to, path):
        self.path, self.began, self.read, self.asked = path, time.monotonic(), b"", False
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.connect_ex(to)

    def go_on(self):
        """Returns how it ended, once it has: nothing, or what went wrong."""
        try:
            if not self.asked:
                error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    return errno.errorcode.get(error, str(error))
                self.socket.sendall(ASK.format(self.path).encode())
                self.asked = True
                return None
            piece = self.socket.recv(65536)
        except OSError as error:
            return errno.errorcode.get(error.errno, str(error))
        self.read += piece
        head, end, body = self.read.partition(b"\r\n\r\n")
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        whole = len(body) >= int(length[0].split(b":")[1]) if end and length else end and not piece
        if whole:
            status = head.split(b" ", 2)[1].decode()
            why = body.decode(errors="replace").strip()[:80]
            return "" if status == "200" else f"HTTP {status}: {why}"
        return None if piece else "closed early"

    def close(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.socket.close()


class Load:
    """Sends at its pace, never waits for an answer before it sends the next request."""

    def __init__(self, rate, seconds, slow, targets):
        self.rate, self.slow, self.targets = rate, slow, targets
        self.wanted, self.slow_wanted = rate * seconds, int(seconds / slow) if slow else 0
        self.open, self.waiting = {}, selectors.DefaultSelector()
        self.sent, self.failed, self.reasons, self.versions = Counter(), Counter(), Counter(), Counter()
        self.took, self.late, self.began = [], 0.0, time.monotonic()

    def run(self):
        looked = self.began
        while self.open or not self.is_over():
            self.send_due()
            for key, _ in self.waiting.select(self.until_next()):
                self.go_on(key.data, key.events)
            if time.monotonic() - looked > LOOK_S:
                looked = time.monotonic()
                for request in [one for one in self.open.values() if self.is_too_old(one, looked)]:
                    self.end(request, "no answer in time")
        return self.report()

    def is_over(self):
        return self.sent["/"] >= self.wanted and self.sent["/slow"] >= self.slow_wanted

    def until_next(self):
        """Seconds to wait for answers: until the next request is due, or something else may be."""
        if self.sent["/"] >= self.wanted:
            return LOOK_S
        due_at = self.began + (self.sent["/"] + 1) / self.rate
        return min(LOOK_S, max(0, due_at - time.monotonic()))

    @staticmethod
    def is_too_old(request, now):
        return now - request.began > PATIENCE_S[request.path]

    def send_due(self):
        elapsed = time.monotonic() - self.began
        due = min(self.wanted, int(elapsed * self.rate))
        if due > self.sent["/"]:
            self.late = max(self.late, elapsed - self.sent["/"] / self.rate)
        # A few at a time, so that answers are read meanwhile.
        for _ in range(min(due - self.sent["/"], 64)):
            self.send("/")
        if self.slow and self.sent["/slow"] < min(self.slow_wanted, int(elapsed / self.slow)):
            self.send("/slow")

    def send(self, path):
        target = self.targets[(self.sent["/"] + self.sent["/slow"]) % len(self.targets)]
        self.sent[path] += 1
        try:
            request = Request(target, path)
        except OSError as error:
            self.failed[path] += 1
            self.reasons[f"here: {error.strerror}"] += 1
            return
        self.open[request.socket.fileno()] = request
        self.waiting.register(request.socket, selectors.EVENT_WRITE, request)

    def go_on(self, request, events):
        ended = request.go_on()
        if ended is None:
            if request.asked and events & selectors.EVENT_WRITE:
                self.waiting.modify(request.socket, selectors.EVENT_READ, request)
            return
        self.end(request, ended)

    def end(self, request, ended):
        self.waiting.unregister(request.socket)
        del self.open[request.socket.fileno()]
        request.close()
        if ended:
            self.failed[request.path] += 1
            self.reasons[ended] += 1
            at = time.monotonic() - self.began
            print(f"failed at {at:.2f} s: {request.path}: {ended}", file=sys.stderr, flush=True)
            return
        self.versions[request.read.partition(b"\r\n\r\n")[2].split(b" ")[0].decode()[:20]] += 1
        if request.path == "/":
            self.took.append(time.monotonic() - request.began)

    def report(self):
        took = sorted(self.took) or [float("nan")]
        part = lambda p: round(took[min(len(took) - 1, int(len(took) * p))] * 1000, 1)
        return {
            "sent": self.sent["/"],
            "failed": self.failed["/"],
            "slow_sent": self.sent["/slow"],
            "slow_failed": self.failed["/slow"],
            "reasons": dict(self.reasons),
            "versions": len(self.versions),
            "seconds": round(time.monotonic() - self.began, 1),
            "p50_ms": part(0.5),
            "p99_ms": part(0.99),
            "max_ms": part(1),
            # How far behind its pace it ever was: a second of that, and the load was not what was asked.
            "late_ms": round(self.late * 1000),
        }


def places(words):
    pairs = [word.rsplit(":", 1) for word in words]
    return [(address, int(port)) for address, port in pairs]


def load(rate, seconds, slow, *targets):
    # Each request that hangs has a file open.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(json.dumps(Load(int(rate), int(seconds), float(slow), places(targets)).run()))


def ask_once(to):
    """Who answered; nothing when nobody did, or badly."""
    try:
        with socket.create_connection(to, timeout=TRY_S) as connection:
            connection.sendall(ASK.format("/").encode())
            head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
    except OSError:
        return ""
    return body.decode().strip() if head.startswith(b"HTTP/1.1 200") else ""


def first(seconds, other, *targets):
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        for to in places(targets):
            answered = ask_once(to)
            if answered and answered != other:
                print(answered.replace(" ", "/"), int(time.time() * 1000))
                return
        time.sleep(PAUSE_S)
    sys.exit(f"nobody but {other!r} answered for {seconds} s")


if __name__ == "__main__":
    verb, *words = sys.argv[1:]
    {"serve": lambda port: serve(int(port)), "load": load, "first": first}[verb](*words)
