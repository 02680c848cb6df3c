"""TCP connections for measurements: takes them, or opens them and says how that went.

serve PORT                          takes connections, says at which address, and closes them
rate ADDRESS PORT SECONDS           opens one after the other, at least one; prints how many a second
steady ADDRESS PORT RATE SECONDS    opens RATE a second, whatever becomes of the ones before; prints how
                                    many were opened, how many failed, and the longest and the middle
                                    time one took, in milliseconds
watch ADDRESS PORT SECONDS          opens one every few milliseconds and asks who took it; prints `seen` and
                                    who did at the first one, and in the end for each when the last one to
                                    it began, in milliseconds since 1970
"""

import selectors
import socket
import struct
import sys
import time

# One that takes longer has failed: three repetitions of its first packet were of no use.
PATIENCE_S = 10
# Between two connections of `watch`.
PAUSE_S = 0.002
# Closed with a reset, so that no port waits for stragglers.
RESET = struct.pack("ii", 1, 0)


def serve(port):
    listener = socket.create_server(("", port), backlog=1024)
    while True:
        connection = listener.accept()[0]
        try:
            # An endpoint's own, whatever address the other side has asked for.
            connection.sendall(connection.getsockname()[0].encode())
        except OSError:
            pass  # It did not wait for that.
        connection.close()


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


def watch(address, port, seconds):
    last, end = {}, time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.time()
        try:
            with socket.create_connection((address, port), timeout=1) as connection:
                taken_by = connection.recv(64).decode()
        except OSError:
            taken_by = "nobody"
        if taken_by not in last:
            print("seen", taken_by, flush=True)
        last[taken_by] = began
        time.sleep(PAUSE_S)
    for taken_by, began in last.items():
        print(taken_by, int(began * 1000))


if __name__ == "__main__":
    verb, *words = sys.argv[1:]
    numbers = [int(word) if word.isdigit() else word for word in words]
    {"serve": serve, "rate": rate, "steady": steady, "watch": watch}[verb](*numbers)
