"""TCP connections for measurements: takes them, or opens them and says how that went.

serve PORT                          takes connections and closes them
rate ADDRESS PORT SECONDS           opens one after the other, at least one; prints how many a second
steady ADDRESS PORT RATE SECONDS    opens RATE a second, whatever becomes of the ones before; prints how
                                    many were opened, how many failed, and the longest and the middle
                                    time one took, in milliseconds
"""

import selectors
import socket
import struct
import sys
import time

# One that takes longer has failed: three repetitions of its first packet were of no use.
PATIENCE_S = 10
# Closed with a reset, so that no port waits for stragglers.
RESET = struct.pack("ii", 1, 0)


def serve(port):
    listener = socket.create_server(("", port), backlog=1024)
    while True:
        listener.accept()[0].close()


def close(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    connection.close()


def rate(address, port, seconds):
    count, began = 0, time.monotonic()
    while not count or time.monotonic() < began + seconds:
        close(socket.create_connection((address, port), timeout=PATIENCE_S))
        count += 1
    print(int(count / (time.monotonic() - began)))


def begin(address, port):
    connection = socket.socket()
    connection.setblocking(False)
    connection.connect_ex((address, port))
    return connection


def steady(address, port, per_second, seconds):
    waiting, took, failed, opened = selectors.DefaultSelector(), [], 0, 0
    began = time.monotonic()
    while opened < per_second * seconds or waiting.get_map():
        now = time.monotonic()
        while opened < min(per_second * seconds, (now - began) * per_second):
            waiting.register(begin(address, port), selectors.EVENT_WRITE, now)
            opened += 1
        ready = [key for key, _ in waiting.select(1 / per_second)]
        late = [key for key in waiting.get_map().values() if now - key.data > PATIENCE_S]
        for key in {key.fd: key for key in ready + late}.values():
            waiting.unregister(key.fileobj)
            error = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error or key not in ready:
                failed += 1
            else:
                took.append(time.monotonic() - key.data)
            close(key.fileobj)
    took = sorted(took) or [float("nan")]
    print(opened, failed, int(took[-1] * 1000), round(took[len(took) // 2] * 1000, 3))


if __name__ == "__main__":
    verb, *words = sys.argv[1:]
    numbers = [int(word) if word.isdigit() else word for word in words]
    {"serve": serve, "rate": rate, "steady": steady}[verb](*numbers)
