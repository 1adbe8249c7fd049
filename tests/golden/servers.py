"""The only module here that imports helpers of other tests: loopback servers and archives."""

from tests.archives import MODEL, REAL, member, packed, tar_gz, tar_of
from tests.faults.origin import Host, cut, flipped, framed, gone, on, says, stalled, with_header
from tests.git_host import GitHost
from tests.hugging_face import HuggingFace
from tests.kaggle import Kaggle
from tests.origin import Origin
from tests.stores.gcs import Gcs

__all__ = [
    "MODEL",
    "REAL",
    "Gcs",
    "GitHost",
    "Host",
    "HuggingFace",
    "Kaggle",
    "Origin",
    "cut",
    "flipped",
    "framed",
    "gone",
    "member",
    "on",
    "packed",
    "says",
    "stalled",
    "tar_gz",
    "tar_of",
    "with_header",
]
