"""Whether librdkafka knows an option and takes its value. Option names and values in, problems out. Asks the library."""

import ctypes
import difflib
import os

import confluent_kafka.cimpl

from ingestd.errors import Problem

ERROR_BYTES = 512
OK, UNKNOWN_NAME = 0, -2


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(confluent_kafka.cimpl.__file__, mode=os.RTLD_NOW | os.RTLD_NOLOAD)
    library.rd_kafka_conf_new.restype = ctypes.c_void_p
    library.rd_kafka_conf_set.argtypes = [ctypes.c_void_p, *[ctypes.c_char_p] * 3, ctypes.c_size_t]
    library.rd_kafka_conf_destroy.argtypes = [ctypes.c_void_p]
    library.rd_kafka_conf_dump.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t)]
    library.rd_kafka_conf_dump.restype = ctypes.POINTER(ctypes.c_char_p)
    library.rd_kafka_conf_dump_free.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_size_t]
    return library


def _names(library: ctypes.CDLL, conf: int) -> list[str]:
    count = ctypes.c_size_t()
    rows = library.rd_kafka_conf_dump(conf, ctypes.byref(count))
    names = [rows[index].decode() for index in range(0, count.value, 2)]
    library.rd_kafka_conf_dump_free(rows, count)
    return names


def check(options: dict[str, str], path: str) -> list[Problem]:
    """What librdkafka does not take of `options`. `path` is where the user wrote them."""
    library = _library()
    conf = library.rd_kafka_conf_new()
    text = ctypes.create_string_buffer(ERROR_BYTES)
    found = []
    try:
        for key, value in options.items():
            code = library.rd_kafka_conf_set(conf, key.encode(), value.encode(), text, ERROR_BYTES)
            if code == UNKNOWN_NAME:
                near = difflib.get_close_matches(key, _names(library, conf), 1)
                mend = f"did you mean {near[0]}?" if near else "librdkafka's CONFIGURATION.md names them all"
                found.append(Problem(f"{path}.{key}", "librdkafka knows no such option", mend))
            elif code != OK:
                found.append(Problem(f"{path}.{key}", text.value.decode("utf-8", "replace")))
    finally:
        library.rd_kafka_conf_destroy(conf)
    return found
