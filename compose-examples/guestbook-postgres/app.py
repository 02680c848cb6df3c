"""A guestbook kept in PostgreSQL: read it, sign it. Needs nothing but the standard library."""

import os
import signal
import socket
import threading
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import postgres

PORT = 8090
FORM_BYTES_MAX = 10_000
# PostgreSQL takes 100 by default, from all replicas together.
CONNECTIONS_MAX = 10
PAGE = """<!doctype html><meta charset="utf-8"><title>Guestbook</title>
<h1>Guestbook</h1>
<form method="post"><input name="name" placeholder="name" required maxlength="100">
<input name="message" placeholder="message" required maxlength="1000"> <button>Sign</button></form>
<ul>
{entries}
</ul>
<p>{total} entries, served by {host}</p>
"""


def connect():
    return postgres.connect(
        os.environ.get("DB_HOST", "db"),
        os.environ.get("DB_USER", "guestbook"),
        os.environ["DB_PASSWORD"],
        os.environ.get("DB_NAME", "guestbook"),
    )


DATABASE = postgres.Pool(CONNECTIONS_MAX, connect)


def make_table():
    with DATABASE.connection() as connection:
        # Two replicas may start at once, and CREATE TABLE IF NOT EXISTS is no lock.
        connection.execute("BEGIN")
        connection.execute("SELECT pg_advisory_xact_lock(1)")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS entries (id serial PRIMARY KEY, name text, message text,"
            " at timestamptz DEFAULT now())"
        )
        connection.execute("COMMIT")


class Guestbook(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/healthz":
            self.answer(200, "ok\n", "text/plain")
        elif self.path == "/":
            self.guarded(self.show)
        else:
            self.answer(404, "there is one page: /\n", "text/plain")

    def do_POST(self):
        self.guarded(self.sign)

    def guarded(self, action):
        try:
            action()
        except (OSError, postgres.PostgresError) as error:
            self.answer(503, f"the database does not answer: {error}\n", "text/plain")

    def show(self):
        with DATABASE.connection() as connection:
            entries = connection.execute("SELECT name, message FROM entries ORDER BY id DESC LIMIT 50")
            total = connection.execute("SELECT count(*) FROM entries")[0][0]
        items = "\n".join(f"<li><b>{escape(name)}</b>: {escape(text)}" for name, text in entries)
        page = PAGE.format(entries=items, total=total, host=escape(socket.gethostname()))
        self.answer(200, page, "text/html; charset=utf-8")

    def sign(self):
        length = int(self.headers.get("Content-Length") or 0)
        if length > FORM_BYTES_MAX:
            self.answer(413, "too long\n", "text/plain")
            return
        form = parse_qs(self.rfile.read(length).decode(errors="replace"))
        name, message = (form.get(key, [""])[0].strip() for key in ("name", "message"))
        if not name or not message:
            self.answer(400, "a name and a message, please\n", "text/plain")
            return
        with DATABASE.connection() as connection:
            connection.execute("INSERT INTO entries (name, message) VALUES ($1, $2)", name, message)
        self.send_response(303)
        self.send_header("Location", "/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer(self, status, text, content_type):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code="-", size="-"):
        if self.path != "/healthz":
            super().log_request(code, size)


def main():
    make_table()
    server = ThreadingHTTPServer(("", PORT), Guestbook)
    server.daemon_threads = False  # A request that has begun is answered before the end.
    # `shutdown` waits for the loop below, so it cannot run in the signal handler itself.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"listening on port {PORT}", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()


main()
