"""A page that counts its visits in Redis. Needs nothing but the standard library."""

import os
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 8080
REDIS = (os.environ.get("REDIS_HOST", "redis"), 6379)


def redis(*words):
    """Sends one command and returns its answer, a number or a line of text (the RESP protocol)."""
    request = b"*%d\r\n" % len(words)
    for word in words:
        request += b"$%d\r\n%s\r\n" % (len(word), word)
    with socket.create_connection(REDIS, timeout=2) as connection:
        connection.sendall(request)
        with connection.makefile("rb") as answer:
            line = answer.readline().rstrip(b"\r\n").decode()
    if line.startswith("-"):
        raise OSError(f"redis answered: {line[1:]}")
    if not line:
        raise OSError("redis closed the connection")
    return int(line[1:]) if line.startswith(":") else line[1:]


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/healthz":
            # Alive, whatever Redis does: replacing this container would not mend Redis.
            self.answer(200, "ok")
        elif self.path == "/":
            self.count()
        else:
            self.answer(404, "there is one page: /")

    def count(self):
        try:
            visits = redis(b"INCR", b"visits")
        except OSError as error:
            self.answer(503, f"redis does not answer: {error}")
            return
        self.answer(200, f"visit {visits}, answered by {socket.gethostname()}")

    def answer(self, status, text):
        body = f"{text}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code="-", size="-"):
        if self.path != "/healthz":
            super().log_request(code, size)


def main():
    server = ThreadingHTTPServer(("", PORT), Page)
    server.daemon_threads = False  # A request that has begun is answered before the end.
    # `shutdown` waits for the loop below, so it cannot run in the signal handler itself.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"listening on port {PORT}", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()


main()
