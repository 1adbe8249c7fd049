"""The page of environment variables: a table by topic, with defaults that the code states."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import tfimm_resolver
from tfimm_resolver.settings import environment
from tools.reference.markdown import GENERATED, make_table

PACKAGE = Path(tfimm_resolver.__file__).parent
_HEAD = """# Environment variables

They are read at each call. Empty means unset; `~` and `$VAR` in paths are expanded. A switch is on unless it
is empty, `0`, `false`, `no` or `off`. There is no other configuration, except for the [models
file](../explanation/file-formats.md#the-models-file), [hosts.toml](../explanation/file-formats.md#hoststoml) and
[config.toml](../explanation/file-formats.md#configtoml).
"""
# Text that looks like a variable, or is one that only tells where the process runs.
_OTHERS = {"SUDO_UID", "PYTHONPATH", "HOME", "TBE_RUNTIME_ADDR", "FLAGS", "O_NONBLOCK"}
_NAME = re.compile(
    r"(?:TFIMM|TFHUB|XDG|KAGGLE|KAGGLEHUB|HF|HUGGINGFACE|HUGGING_FACE|DISABLE|COLAB|TRANSFORMERS|GITHUB|GOOGLE|CLOUDSDK|GCE|AWS|SSL_CERT|"
    r"NO_GCE|REQUESTS_CA|CURL_CA|STORAGE)_[A-Z0-9_]*[A-Z0-9]|NETRC|NO_COLOR|TERM"
)


def read_defaults() -> dict[str, str]:
    """Return the default of each numeric setting; the environment must not set one."""
    connect_s, read_s = environment.timeouts_s()
    members, size_bytes, ratio = environment.unpack_limits()
    return {
        "TFHUB_MODEL_LOAD_FORMAT": f"`{environment.load_format()}`",
        "TFIMM_RESOLVER_CONNECTIONS": str(environment.connections()),
        "TFIMM_RESOLVER_CONNECT_TIMEOUT_S": f"{connect_s:g}",
        "TFIMM_RESOLVER_LOCK_TIMEOUT_S": f"{environment.lock_timeout_s():g}",
        "TFIMM_RESOLVER_MAX_BYTES": f"{size_bytes} (1 TiB)",
        "TFIMM_RESOLVER_MAX_MEMBERS": str(members),
        "TFIMM_RESOLVER_MAX_RATIO": f"{ratio:g}",
        "TFIMM_RESOLVER_READ_TIMEOUT_S": f"{read_s:g}",
        "TFIMM_RESOLVER_RETRIES": str(environment.retries()),
    }


def find_variables() -> set[str]:
    """Return the variables that the package names in its code."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _NAME.fullmatch(node.value):
                found.add(node.value)
    return found - _OTHERS


def make_page() -> str:
    """Return the page."""
    defaults = read_defaults()
    parts = [_HEAD]
    for topic, rows in TOPICS.items():
        parts += [f"## {topic}\n", make_table(["variable", "default", "meaning"], _make_rows(rows, defaults))]
    return GENERATED + "\n" + "\n".join(parts)


def _make_rows(rows: tuple[tuple[str, str, str], ...], defaults: dict[str, str]) -> Iterator[list[str]]:
    for names, default, meaning in rows:
        each = names.split()
        known = [defaults[name] for name in each if name in defaults]
        yield [", ".join(f"`{name}`" for name in each), ", ".join(known) or default, meaning]


TOPICS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "Where models are stored": (
        (
            "TFHUB_CACHE_DIR",
            "",
            "the root of URL handles; see [which directory is used](../guides/share-a-cache.md#which-directory-is-used)",
        ),
        ("TFIMM_HOME", "", "the root of names, and of URL handles unless `TFHUB_CACHE_DIR` is set"),
        (
            "XDG_CACHE_HOME",
            "",
            "`$XDG_CACHE_HOME/tfimm` is the root if neither of the above is set; `$XDG_CACHE_HOME/tfimm_resolver` holds the "
            "results of searches for operations",
        ),
        ("TFIMM_RESOLVER_EXTRA_ROOTS", "", "directories, separated as in `PATH`, that are searched first for URL handles"),
        ("TFIMM_RESOLVER_LOCAL_COPY", "off", "`1`: a `gs://` root is only a second cache level, from which models are copied"),
        ("TFIMM_HUB_DIR", "`<get_dir()>/.hub`", "repositories, weights, and the list of trusted repositories"),
        (
            "TFIMM_MODELS_FILE",
            "the nearest `tfimm-models.toml`, here or above",
            "models files, separated as in `PATH`, in order of precedence",
        ),
    ),
    "The size of the cache": (
        (
            "TFIMM_RESOLVER_MAX_SIZE",
            "",
            "evict the least recently used models above this size: `50GB`, or `20%` of the disk; see "
            "[keep the cache small](../guides/keep-the-cache-small.md)",
        ),
        ("TFIMM_RESOLVER_MIN_FREE", "", "evict models until that much of the disk is free: `10GB`, `5%`"),
        ("TFIMM_RESOLVER_MAX_AGE", "", "evict models that were not used for so long: `90d`"),
        ("TFIMM_RESOLVER_GRACE", "`1h`", "never evict a model that was used within this time"),
        (
            "TFIMM_RESOLVER_GRACE_WITHOUT_LOCKS",
            "`24h`",
            "the same where no locks tell what is in use: on a disk without file locks, where `rm` respects it too, "
            "and for files in a bucket that were replaced or removed",
        ),
    ),
    "Signatures": (("TFIMM_RESOLVER_KEY_PASSWORD", "", "password of the private key of `sign`, if it is encrypted"),),
    "Downloads": (
        ("TFIMM_RESOLVER_OFFLINE", "off", "`1`: open no sockets"),
        ("TFIMM_RESOLVER_QUIET", "off", "`1`: no progress"),
        ("TFIMM_RESOLVER_PROGRESS", "`auto`", "`json`: [events](events.md) on stderr, one JSON object a line"),
        (
            "XDG_STATE_HOME",
            "`~/.local/state`",
            "where the [counts](events.md#counts-of-a-cache) of roots are",
        ),
        (
            "TFHUB_DOWNLOAD_PROGRESS",
            "",
            "any value: print lines of progress on stderr from Python without a terminal; the command line always does",
        ),
        ("TFIMM_RESOLVER_CONNECT_TIMEOUT_S", "", "seconds to wait for a connection"),
        ("TFIMM_RESOLVER_READ_TIMEOUT_S", "", "seconds to wait for the next bytes"),
        ("TFIMM_RESOLVER_CONNECTIONS", "", "maximum number of connections for one archive, up to 64"),
        ("TFIMM_RESOLVER_RETRIES", "", "maximum number of retries in a row, up to 1000; 0 for none"),
        (
            "TFIMM_RESOLVER_LOCK_TIMEOUT_S",
            "",
            "how many seconds a lock is respected while the process that holds it makes no progress",
        ),
        (
            "TFHUB_MODEL_LOAD_FORMAT",
            "",
            "`COMPRESSED` and `AUTO` download; `UNCOMPRESSED` asks for a `gs://` path and downloads if there is none. "
            "Also the absl flag `--tfhub_model_load_format`",
        ),
        ("TFIMM_RESOLVER_MAX_MEMBERS", "", "how many members an archive may have; see [limits](../limits.md)"),
        ("TFIMM_RESOLVER_MAX_BYTES", "", "to how many bytes an archive may unpack"),
        ("TFIMM_RESOLVER_MAX_RATIO", "", "unpacked bytes for each packed byte, checked above 64 MiB"),
    ),
    "Hosts, mirrors and proxies": (
        (
            "TFIMM_RESOLVER_MIRRORS",
            "`direct`",
            "servers to ask instead of a URL's own host; see [mirrors](../guides/mirrors-and-proxies.md)",
        ),
        (
            "TFIMM_RESOLVER_HOSTS_FILE",
            "`$XDG_CONFIG_HOME/tfimm_resolver/hosts.toml`",
            "tokens and headers for individual hosts; without `XDG_CONFIG_HOME` it is in `~/.config`",
        ),
        (
            "XDG_CONFIG_HOME",
            "`~/.config`",
            "the directory of `tfimm_resolver/hosts.toml` and `tfimm_resolver/config.toml`",
        ),
        ("http_proxy https_proxy all_proxy no_proxy", "", "with their usual meaning, also in upper case"),
        ("NETRC", "`~/.netrc`", "the file of logins; a login in it is never sent over http"),
        (
            "REQUESTS_CA_BUNDLE CURL_CA_BUNDLE SSL_CERT_FILE SSL_CERT_DIR AWS_CA_BUNDLE",
            "the system's certificates and certifi's",
            "files or directories of trusted certificates, used instead; the last one only for `s3://`",
        ),
        ("TFHUB_DISABLE_CERT_VALIDATION", "", "`true`: do not check certificates; a warning is logged"),
    ),
    "What models may do": (
        (
            "TFIMM_RESOLVER_OPS",
            "`report`",
            "`refuse`: models that write files on load, use the network, call Python or hide a graph are not loaded; see "
            "[Inspect a model](../guides/inspect-a-model.md#refuse-models)",
        ),
    ),
    "Sources": (
        ("TFIMM_GITHUB_URL", "`https://github.com`", "the host of `owner/repo`; its REST API is below `/api/v3`"),
        ("GITHUB_TOKEN", "", "sent to that host only"),
        ("TFIMM_KAGGLE_URL", "`https://www.kaggle.com`", "the URL of Kaggle"),
        (
            "KAGGLE_API_TOKEN KAGGLE_API_V1_TOKEN KAGGLE_USERNAME KAGGLE_KEY KAGGLE_CONFIG_DIR KAGGLEHUB_CACHE "
            "KAGGLE_CACHE_MOUNT_FOLDER KAGGLE_KERNEL_RUN_TYPE DISABLE_KAGGLE_CACHE COLAB_CACHE_MOUNT_FOLDER "
            "DISABLE_COLAB_CACHE",
            "",
            "as in kagglehub",
        ),
        (
            "HF_TOKEN HUGGING_FACE_HUB_TOKEN HF_ENDPOINT HF_HUB_OFFLINE TRANSFORMERS_OFFLINE HF_HOME HF_HUB_CACHE "
            "HUGGINGFACE_HUB_CACHE",
            "",
            "as in huggingface_hub, which reads more variables of its own",
        ),
    ),
    "Buckets": (
        ("STORAGE_EMULATOR_HOST", "", "the server to use for `gs://` instead, without credentials"),
        ("AWS_ENDPOINT_URL", "", "the server to use for `s3://` instead"),
        (
            "GOOGLE_APPLICATION_CREDENTIALS CLOUDSDK_CONFIG NO_GCE_CHECK GCE_METADATA_HOST",
            "",
            "credentials for `gs://`, as in Google's own client",
        ),
        (
            "GOOGLE_CLOUD_QUOTA_PROJECT GOOGLE_CLOUD_PROJECT",
            "",
            "the project that pays for requests to a `gs://` bucket whose reader pays; the first one that is set",
        ),
        ("AWS_REQUEST_PAYER", "", "`requester`: this account pays for requests to an `s3://` bucket whose reader pays"),
        ("AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_PROFILE AWS_REGION", "", "and the other `AWS_*`, as in botocore"),
    ),
    "Command line": (("NO_COLOR", "", "any value: no colour"), ("TERM", "", "`dumb`: no colour")),
}
"""Topic -> rows of names, default and meaning; a default that is empty here is read from the code, if it has one."""
