"""The limit of open files of a daemon: as high as it may be, and enough to begin with."""

import resource
from typing import Final

from ...errors import IngestdError

# With one broker a daemon has 33: three clients with a connection and two pipes a broker each, Redis, HTTP, the loop.
DESCRIPTORS_MIN: Final = 64
# As the unit asks for; a cluster of 100 brokers needs about 1,200.
DESCRIPTORS_WANTED: Final = 65_536


def ensure() -> None:
    """Raise the soft limit as far as is wanted and the hard one allows. Raises IngestdError where that is too few.

    Without it a daemon would begin, and then fail to reach Kafka or Redis for as long as it runs.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= DESCRIPTORS_WANTED:
        return
    limit = DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_WANTED)
    if limit < DESCRIPTORS_MIN:
        raise IngestdError(
            f"{limit} open files are allowed, and at least {DESCRIPTORS_MIN} are needed: raise the limit (ulimit -n, "
            "LimitNOFILE=)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
