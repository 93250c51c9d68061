"""gunicorn's prefork pattern with `preload_app`, without gunicorn: a program for the fork tests.

    python -m tests.support.prefork BROKERS WORKERS EVENTS

The master loads the application, which makes a producer and publishes, then forks its workers. Each publishes with the
producer that it inherited and ends by sys.exit, as gunicorn's workers do; one event of each is left to the end of the
program. Prints one JSON line: what master and workers saw.
"""

import json
import os
import sys
import threading

from ingestd.client import DeliveryFailed, LogHandler, Producer
from ingestd.client.producing.producer import Producer as _Producer

TOPIC = "observability.events"


def application(brokers: str) -> _Producer:
    """What a module of an application does when it is imported."""
    producer = Producer(brokers, TOPIC, "web", linger_ms=200, librdkafka={"log_level": 0})
    producer.publish_log("info", "master", "loaded")
    return producer


def work(producer: _Producer, inherited: object, number: int, count: int) -> dict[str, object]:
    """A worker's life. `inherited`: a future of the master that was pending at the fork."""
    try:
        inherited.result(20)  # type: ignore[attr-defined]
        told = "delivered"
    except DeliveryFailed as error:
        told = str(error)
    logger = __import__("logging").getLogger("web")
    logger.addHandler(LogHandler(producer))
    logger.warning("worker %d", number)
    futures = [producer.publish_log("info", f"worker-{number}", f"event {index}") for index in range(count)]
    ids = [future.result(30).event_id for future in futures]
    producer.publish_log("info", f"worker-{number}", "last")  # nobody waits for it but the end of the program
    return {"told": told, "ids": ids, "waiting": producer.waiting_count}


def main() -> None:
    brokers, workers, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    producer = application(brokers)
    # A master that is busy publishing while it forks: locks are held, events are under way.
    stop = threading.Event()
    background: list[object] = []

    def publish_on() -> None:
        while not stop.is_set():
            background.append(producer.publish_log("info", "master", "busy"))
            stop.wait(0.0005)

    thread = threading.Thread(target=publish_on)
    thread.start()
    pipes = []
    for number in range(workers):
        pending = producer.publish_log("info", "master", f"before worker {number}")
        background.append(pending)
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            result = work(producer, pending, number, count)
            os.write(write_end, json.dumps(result).encode())
            os.close(write_end)
            sys.exit(0)
        os.close(write_end)
        pipes.append((pid, read_end))
    results = []
    for pid, read_end in pipes:
        with os.fdopen(read_end, "rb") as pipe:
            results.append(json.loads(pipe.read() or b"null"))
        results[-1]["status"] = os.waitpid(pid, 0)[1]
    stop.set()
    thread.join()
    delivered = [future.result(30).event_id for future in background]  # type: ignore[attr-defined]
    producer.close()
    print(json.dumps({"workers": results, "master": delivered}))


if __name__ == "__main__":
    main()
