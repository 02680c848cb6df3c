"""A PostgreSQL client in one page: a pool, SCRAM-SHA-256, statements with parameters.

Follows "Frontend/Backend Protocol" of the PostgreSQL documentation and RFC 5802. No TLS: the
database is on a private network. For anything bigger than an example, use a real driver.
"""

import base64
import hashlib
import hmac
import os
import queue
import select
import socket
import struct
from contextlib import contextmanager


TIMEOUT_S = 5


class PostgresError(Exception):
    """The server refused; the text is its own."""


class Pool:
    """Up to `size` connections, each kept for whoever needs one next; the others wait for it."""

    def __init__(self, size, make):
        self.make, self.places = make, queue.LifoQueue()
        for _ in range(size):
            self.places.put(None)

    @contextmanager
    def connection(self):
        try:
            kept, connection = None, self.places.get(timeout=TIMEOUT_S)
        except queue.Empty:
            raise PostgresError(f"no connection was free for {TIMEOUT_S} s") from None
        try:
            if connection and connection.has_news():
                connection.close()
                connection = None
            connection = connection or self.make()
            yield connection
            kept = connection
        finally:
            if connection and not kept:
                connection.close()  # Nobody knows what is still on its way there.
            self.places.put(kept)


def connect(host, user, password, database, port=5432):
    return Connection(socket.create_connection((host, port), TIMEOUT_S), user, password, database)


class Connection:
    def __init__(self, link, user, password, database):
        self.link, self.stream = link, link.makefile("rb")
        settings = f"user\0{user}\0database\0{database}\0client_encoding\0UTF8\0\0".encode()
        # The first message has no type; 196608 is version 3.0 of the protocol.
        self.link.sendall(struct.pack("!ii", len(settings) + 8, 196608) + settings)
        self.authenticate(password)
        self.rows()

    def close(self):
        self.stream.close()
        self.link.close()

    def has_news(self):
        """Whether the server said something that nobody asked: most likely that it goes away."""
        poll = select.poll()
        poll.register(self.link, select.POLLIN)
        return bool(poll.poll(0))

    def execute(self, statement, *parameters):
        """Runs one statement with text parameters $1, $2, …; returns the rows, as text or None."""
        values = b""
        for value in parameters:
            data = str(value).encode()
            values += struct.pack("!i", len(data)) + data
        bind = b"\0\0\0\0" + struct.pack("!h", len(parameters)) + values + b"\0\0"
        # In one piece: after a first small one, TCP holds the next until it is confirmed, for 40 ms.
        self.send(
            (b"P", b"\0" + statement.encode() + b"\0\0\0"),
            (b"B", bind),
            (b"E", b"\0\0\0\0\0"),
            (b"S", b""),
        )
        return self.rows()

    def rows(self):
        """Reads until the server is ready for the next statement."""
        rows, refusal = [], None
        while True:
            try:
                kind, body = self.receive()
            except PostgresError as error:
                refusal = error  # The server still says that it is ready; read up to there.
                continue
            if kind == b"D":
                rows.append(columns(body))
            elif kind == b"Z":
                if refusal:
                    raise refusal
                return rows

    def authenticate(self, password):
        """Proves that it knows the password without sending it, and that the server does too."""
        if self.authentication(0, 10)[0] == 0:
            return  # The server trusts this address.
        nonce = base64.b64encode(os.urandom(18)).decode()
        first = f"n=,r={nonce}"
        begin = b"SCRAM-SHA-256\0" + struct.pack("!i", len(first) + 3) + f"n,,{first}".encode()
        self.send((b"p", begin))
        challenge = self.authentication(11)[1].decode()
        fields = dict(field.split("=", 1) for field in challenge.split(","))
        if not fields["r"].startswith(nonce):
            raise PostgresError("the server answered another client's challenge")
        salt, rounds = base64.b64decode(fields["s"]), int(fields["i"])
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
        final = f"c=biws,r={fields['r']}"
        signed = f"{first},{challenge},{final}".encode()
        key = sign(salted, b"Client Key")
        mask = sign(hashlib.sha256(key).digest(), signed)
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, mask))).decode()
        self.send((b"p", f"{final},p={proof}".encode()))
        expected = b"v=" + base64.b64encode(sign(sign(salted, b"Server Key"), signed))
        if not hmac.compare_digest(self.authentication(12)[1], expected):
            raise PostgresError("the server does not know the password either")
        self.authentication(0)

    def authentication(self, *expected):
        kind, body = self.receive()
        method = struct.unpack("!i", body[:4])[0] if kind == b"R" else -1
        if method not in expected:
            raise PostgresError(f"expected authentication step {expected}, got {kind!r} {method}")
        return method, body[4:]

    def send(self, *messages):
        pieces = (kind + struct.pack("!i", len(body) + 4) + body for kind, body in messages)
        self.link.sendall(b"".join(pieces))

    def receive(self):
        header = self.stream.read(5)
        if len(header) < 5:
            raise ConnectionError("the server closed the connection")
        kind, length = header[:1], struct.unpack("!i", header[1:])[0]
        body = self.stream.read(length - 4)
        if kind == b"E":
            fields = {field[:1]: field[1:].decode() for field in body.split(b"\0") if field}
            raise PostgresError(fields.get(b"M", "unknown"))
        return kind, body


def sign(key, message):
    return hmac.digest(key, message, "sha256")


def columns(body):
    """The values of a DataRow message; a length of -1 is NULL."""
    values, at = [], 2
    for _ in range(struct.unpack("!h", body[:2])[0]):
        length = struct.unpack("!i", body[at : at + 4])[0]
        at += 4
        values.append(None if length < 0 else body[at : at + length].decode())
        at += max(length, 0)
    return values
