"""The only module here that imports helpers of other tests: loopback servers and archives."""

from tests.archives import MODEL, REAL, gzip_tar, member, tar_gz, tar_of
from tests.faults.origin import (
    Host,
    answer_with,
    cut,
    flip_bits,
    on_request,
    reset_connection,
    set_framing,
    set_header,
    stall_after,
)
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
    "answer_with",
    "cut",
    "flip_bits",
    "gzip_tar",
    "member",
    "on_request",
    "reset_connection",
    "set_framing",
    "set_header",
    "stall_after",
    "tar_gz",
    "tar_of",
]
