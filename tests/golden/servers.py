"""The only module here that imports helpers of other tests: loopback servers and archives."""

from tests.fakes.archives import MODEL, REAL, gzip_tar, member, tar_gz, tar_of
from tests.fakes.faults.origin import (
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
from tests.fakes.git_host import GitHost
from tests.fakes.hugging_face import HuggingFace
from tests.fakes.kaggle import Kaggle
from tests.fakes.origin import Origin
from tests.fakes.stores.gcs import Gcs

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
