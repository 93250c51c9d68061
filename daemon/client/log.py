"""The logger of the client library: what it and librdkafka have to say goes there."""

import logging
from typing import Final

LOGGER_NAME: Final = "ingestd.client"
LOG: Final = logging.getLogger(LOGGER_NAME)
