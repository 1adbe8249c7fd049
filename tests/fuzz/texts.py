"""Targets: texts of users and of other users: handles, records, models files, hosts.toml, netrc, lock owners, repositories."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tests.fuzz.target import Target, ViolationError
from tfimm_resolver.cache.record import Record, find_tree_defect
from tfimm_resolver.errors import HandleError, ResolverError
from tfimm_resolver.handles import pages, slips
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.handles.hugging_face import HuggingFaceModel
from tfimm_resolver.handles.kaggle import KaggleModel
from tfimm_resolver.http import hosts, netrc
from tfimm_resolver.hub import hubconf
from tfimm_resolver.hub.isolation import Checkout, make_name
from tfimm_resolver.locking.lock_file import LockFile
from tfimm_resolver.locking.owner import LockOwner, get_host_hash, get_hostname, is_token_alive, new_token
from tfimm_resolver.manifest import FileEntry, Origin
from tfimm_resolver.models_file import edit, schema
from tfimm_resolver.resolution.cached_names import derive_entry_name
from tfimm_resolver.sources.github import Repository

_TREE = "0" * 40
_PIN = "ab" * 32


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _parse_handle(data: bytes, _: Path) -> None:
    """Parse a handle, and compare what every spelling of it must share."""
    text = _decode(data)
    slips.suggest_handles(text)
    pages.find_page(text)
    pages.find_download_url(text)
    for parse in (Repository.parse, lambda value: HuggingFaceModel.parse("hf", value.partition("/")[0], value)):
        with contextlib.suppress(HandleError):
            parse(text)
    handle = Handle.parse(text)
    if handle.scheme in ("kaggle", "https"):
        with contextlib.suppress(HandleError):
            KaggleModel.parse(handle.scheme, handle.host, handle.path)
    if handle.scheme and "@" in str(handle).partition("://")[2].partition("/")[0]:
        raise ViolationError(f"{handle!r} shows credentials")
    if not repr(handle).isprintable():
        raise ViolationError("repr() is not printable")


_HANDLES = [
    b"https://user:password@models.example:8443/half/1.tar.gz?token=secret#sha256=" + _PIN.encode(),
    b"gs://bucket/path/model/1",
    b"s3://bucket/a b/m.tar.zst#subdirectory=a%20b/c",
    b"hf://owner/model@main/folder",
    b"kaggle://google/mobilenet-v2/tensorFlow2/035-128-classification/1",
    b"https://www.kaggle.com/models/google/mobilenet-v2/frameworks/tensorFlow2/variations/a/versions/1",
    b"https://tfhub.dev/google/imagenet/mobilenet_v2/4?tf-hub-format=compressed",
    b"github://git.example/a/b/c:refs/heads/x",
    b"ada/models:main",
    b"git+ssh://git@host.example/ada/models.git@v1",
    b"https://github.com/ada/models/tree/main/export",
    b"https://huggingface.co/ada/models/blob/main/saved_model.pb",
    b"https://host/m?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=aa&Expires=3",
    b"https://[::1]:80/m",
    b"~/models/$X/./../m.zip",
    b"C:\\models\\m",
    b"lion",
    b" \xe2\x80\x8b'timm:resnet18'\xc2\xa0",
]
_HANDLE_TOKENS = (
    *(
        b"://",
        b"#sha256=",
        b"#subdirectory=",
        b"&",
        b"@",
        b":",
        b"/",
        b"..",
        b"%2e%2e",
        b"%00",
        b"\\",
        b"[",
        b"]",
        b"\xe2\x80\xae",
    ),
    *(
        b"hf",
        b"kaggle",
        b"github",
        b"https",
        b"file",
        b"www.kaggle.com",
        b"tfhub.dev",
        b"huggingface.co",
        b"refs/heads/",
        b"resolve",
    ),
)


def _parse_record(data: bytes, into: Path) -> None:
    """Parse a record; one that has files is written as it was read, and compared with a directory."""
    record = Record.parse(data.decode("utf-8", "replace"), _TREE)
    find_tree_defect(str(into), record)
    for file in record.files or ():
        if file.path.startswith("/") or ".." in file.path.split("/"):
            raise ViolationError(f"a record leads out of its directory: {file.path!a}")
    repr(record)
    with contextlib.suppress(ResolverError):
        derive_entry_name(record)
    if record.files is None:
        raise HandleError("it has no files")
    if Record.parse(record.to_text("host"), _TREE) != record:
        raise ViolationError("a record is not read as it was written")


def _make_records() -> list[bytes]:
    files = (FileEntry("saved_model.pb", 7, _PIN), FileEntry("variables/variables.index", 9, "cd" * 32))
    origin = Origin("https://h/m.tar.gz", '"tag"', 7, _PIN)
    handles = ("https://h/m?x=1", "hf://ada/models@" + "1" * 40, "kaggle://a/b/tensorFlow2/c/1", "gs://b/m")
    records = [Record(handle, _TREE, "2026-01-01T00:00:00Z", origin, files) for handle in handles]
    foreign = b"Module: https://h/m\nDownload Time: 2020-01-01 00:00:00.0\nDownloader Hostname: box (PID:7)"
    return [*(record.to_text("host (PID:7)").encode() for record in records), foreign]


_RECORD_TOKENS = (
    *(
        b'"version": 1',
        b'"files": [',
        b'"path": ',
        b'"size_bytes": ',
        b'"sha256": ',
        b'"origin": ',
        b'"tree": ',
        b'"handle": ',
    ),
    *(
        b"null",
        b"true",
        b"{}",
        b"[]",
        b'"../x"',
        b'"/x"',
        b'"a//b"',
        b"\\u0000",
        b"\\ud800",
        b"NaN",
        b",",
        b"\n\n",
        b"Module: ",
    ),
)


def _parse_models_file(data: bytes, into: Path) -> None:
    """Parse a models file; change one that is valid, which must keep every other entry."""
    path = into / "tfimm-models.toml"
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise HandleError("it is not UTF-8") from None
    path.write_bytes(data)
    entries = schema.parse(text, str(path))
    for entry in [*entries.values()][:3]:
        repr(entry)
        with contextlib.suppress(HandleError):
            entry.parse_handle()
        if not entry.location.startswith(str(path)):
            raise ViolationError(entry.location)
    edit.edit_models_file(str(path), lambda known: {"n.x": {"handle": "https://h/n", "sha256": _PIN, "size_bytes": 7}})
    after = schema.parse(path.read_text(), str(path))
    expected = {name: entry for name, entry in entries.items() if entry.name != "n.x"}
    if {name: after.get(name) for name in expected} != expected or after["n.x"].sha256 != _PIN:
        raise ViolationError("a change lost another entry")


_MODELS_FILES = [
    f"""# Our models.
[models.lion]  # the first
handle = "https://h/lion.tar.gz"
sha256 = "{_PIN}"
size_bytes = 7
aliases = ["leo", 'l']
mirrors = ["gs://b/lion.tar.gz"]
[models."a.b"]
handle = './x'
subdirectory = "a/b"
""".encode(),
    b'models = {a = {handle = "https://h/a", aliases = []}, b = {handle = "hf://o/m"}}\r\n',
    b'models.a.handle = "https://h/a"\nmodels.a.mirrors = [\n  "https://m/a",  # c\n]\n',
    b"[models]\na = {handle = \"\"\"https://h/a\"\"\"}\n[models.b]\nhandle = '''https://h/b'''",
    b'[models.a]\nhandle = "https://h/\\u00e9"\n[models.b]\nhandle = "https://h/b"\naliases = ["a"]\n',
]
_TOML_TOKENS = (
    *(
        b"[models.x]",
        b"[[models]]",
        b"[models]",
        b"models.",
        b"handle = ",
        b"aliases = ",
        b'"""',
        b"'''",
        b"{",
        b"}",
        b"[",
        b"]",
    ),
    *(b"1979-05-27T07:32:00Z", b"0x7f", b"1_000", b"inf", b"\\u0000", b"#", b"=", b".", b"\n", b'""', b"true", b"\r"),
)


def _parse_hosts(data: bytes, into: Path) -> None:
    path = into / "hosts.toml"
    path.write_bytes(data)
    path.chmod(0o600)
    os.environ["TFIMM_RESOLVER_HOSTS_FILE"] = str(path)
    for url in ("https://models.example/m", "http://models.example:80/m", "https://[::1]:8443/m"):
        for name, value in hosts.get_headers(url).items():
            if not (name + value).isprintable():
                raise ViolationError(f"a header that ends the line: {name!a}: {value!a}")


_HOSTS = [
    b'["models.example"]\ntoken = "t"\n',
    b'["models.example".headers]\nX-Api-Key = "k"\n["http://models.example:80"]\ntoken = "u"\n',
    b'["[::1]:8443"]\ntoken_variable = "HOME"\n',
]


def _parse_netrc(data: bytes, into: Path) -> None:
    path = into / ".netrc"
    path.write_bytes(data)
    os.environ["NETRC"] = str(path)
    for host in ("h", "127.0.0.1", "default"):
        netrc.find_login(f"https://{host}/m", is_own=True)


_NETRCS = [
    b"machine h login ada password hunter22\ndefault login x password y\n",
    b'machine 127.0.0.1\n  login "a b"\n  account c\n  password p\\"q # comment\nmacdef init\n cd /\n\nmachine h password z',
]


def _parse_owner(data: bytes, into: Path) -> None:
    """Read the owner of a lock file, and decide whether it is alive."""
    path = into / "m.lock"
    path.write_bytes(data)
    owner = LockOwner.read(str(path))
    for is_flocked in (True, False):
        owner.is_dead(is_flocked=is_flocked)
    for token in {owner.token, _decode(data)[:200].replace("\0", "")}:
        for assume in (True, False):
            is_token_alive(token, assume_own_alive=assume)
    if "/" in owner.token or ".." in owner.token or not str(owner).isprintable():
        raise ViolationError(f"a token that leads elsewhere: {owner.token!a}")
    if not owner.token:
        raise HandleError("an unknown owner")
    if LockOwner.parse(owner.to_text()) != owner or LockOwner.parse(owner.as_soft_lock().to_text()).pid != owner.pid:
        raise ViolationError("an owner is not read as it was written")
    file = LockFile.open(str(path))
    file.close()


def _make_owners() -> list[bytes]:
    here, hashed = get_hostname().encode(), get_host_hash().encode()
    return [
        b"%s.%d.%s" % (here, os.getpid(), new_token().encode()),
        b"%s.1.flock-1-%s-0123456789abcdef" % (here, hashed),
        b"%s.999999.soft-999999-%s-0123456789abcdef" % (here, hashed),
        b"elsewhere.7.0123456789abcdef",
        b"a.host.with.dots.7.flock-7-00000000-0123456789abcdef\n",
    ]


def _read_repository(data: bytes, into: Path) -> None:
    """Read what a hubconf.py declares, which must not run it, and name its package."""
    (into / "hubconf.py").write_bytes(data)
    make_name(Checkout(str(into), "ada_models_main", "github://h/ada/models:main\n" + "1" * 40))
    for name in hubconf._read_declared_dependencies(str(into / "hubconf.py")):
        if not isinstance(name, str):
            raise ViolationError(f"a dependency that is not a text: {name!r}")
    if sorted(os.listdir(into)) != ["hubconf.py"]:
        raise ViolationError("the code of a repository ran")


_HUBCONFS = [
    b"dependencies = ['numpy', 'PIL']\n\ndef model(pretrained=False, **kwargs):\n    return 1\n",
    b"import os\ndependencies: list = ['a' 'b', \"c\"]\nos.mkdir('x')\n",
    b"# -*- coding: latin-1 -*-\ndependencies = ['\xe9']\ndependencies = [f'{1}', *[2]]\n",
    b"\xef\xbb\xbffrom x import *\ndependencies = (lambda: ['a'])()\nif 1:\n  dependencies = ('b', 1, None)\n",
    b"dependencies = [" + b"'a', " * 99 + b"]\nclass A:\n  dependencies = []\n",
]
_PYTHON_TOKENS = (
    *(
        b"dependencies",
        b" = ",
        b"[",
        b"]",
        b"(",
        b")",
        b"lambda: ",
        b"'",
        b'"""',
        b"\\",
        b"#",
        b"\n",
        b"    ",
        b"\t",
        b"\0",
        b"-",
    ),
    *(b"coding: utf-7", b"coding: rot13", b"yield ", b"await ", b"f'{", b"1e999", b"not ", b"**", b"match x:", b"@", b"\x0c"),
)

TARGETS = (
    Target("handles", _parse_handle, lambda: _HANDLES, _HANDLE_TOKENS),
    Target("records", _parse_record, _make_records, _RECORD_TOKENS),
    Target("models_file", _parse_models_file, lambda: _MODELS_FILES, _TOML_TOKENS),
    Target("hosts_file", _parse_hosts, lambda: _HOSTS, (*_TOML_TOKENS, b"token", b"headers", b"http://", b"\\n", b"\\r\\n")),
    Target(
        "netrc", _parse_netrc, lambda: _NETRCS, (b"machine ", b"default ", b"login ", b"macdef x\n", b"\n", b'"', b"\\", b"#")
    ),
    Target("owners", _parse_owner, _make_owners, (b".", b"flock-", b"soft-", b"-", b"/", b"..", b"0", b"\xd9\xa1", b"\n")),
    Target("repositories", _read_repository, lambda: _HUBCONFS, _PYTHON_TOKENS),
)
