"""Builds and starts the native loop. Nothing in, a running process out."""

import subprocess
from pathlib import Path

import confluent_kafka

FOLDER = Path(__file__).resolve().parent
BINARY = FOLDER / "native_loop"


def build(source: Path = FOLDER / "native_loop.c", binary: Path = BINARY, extra: tuple[str, ...] = ()) -> Path:
    """Compile against the librdkafka of the confluent-kafka wheel."""
    package = Path(confluent_kafka.__file__).parent
    library = next((package.parent / "confluent_kafka.libs").glob("librdkafka-*.so.1"))
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        subprocess.run(
            ["gcc", "-O2", "-o", str(binary), str(source), str(library), *extra, f"-Wl,-rpath,{library.parent}"],
            check=True,
            timeout=120,
        )
    return binary


def start(topic: str, output: str, consumer: dict[str, str], producer: dict[str, str]) -> subprocess.Popen[bytes]:
    words = [f"c:{key}={value}" for key, value in consumer.items()]
    words += [f"p:{key}={value}" for key, value in producer.items()]
    return subprocess.Popen([str(build()), topic, output, *words], stdin=subprocess.DEVNULL)
