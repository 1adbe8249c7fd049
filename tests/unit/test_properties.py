"""Properties of every handle, member name, record and set of archive members, for which hypothesis seeks counterexamples."""

from __future__ import annotations

import io
import json
import ntpath
import posixpath
import string
import tarfile
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as some

from tests.fakes.archives import member, tar_of
from tfimm_resolver.archives import tar_reader
from tfimm_resolver.archives.member_policy import MemberNamePolicy, find_unportable, safe_parts
from tfimm_resolver.cache.record import Record
from tfimm_resolver.errors import ArchiveError, HandleError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.manifest import FileEntry, Origin

settings.register_profile(
    "deterministic",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
PROFILE = settings.get_profile("deterministic")

SECRET = "s3cr3t"
WORDS = some.text("abcXYZ019-_.~ é模%", min_size=1, max_size=8)
HOSTS = some.from_regex(r"[A-Za-z0-9][A-Za-z0-9.-]{0,12}(:[0-9]{1,5})?", fullmatch=True)
PATHS = some.lists(some.text("abcXYZ019-_.~é", min_size=1, max_size=8), max_size=4).map("/".join)
SCHEMES = some.sampled_from(["http", "https", "gs", "hf", "HTTP", "HttpS", "zoo"])
FRAGMENTS = some.sampled_from(
    [*"/\\:@?#&=[]%. ", "://", "..", "#sha256=", "file://", "https://", "\0", "\n", "\udcff", "\ud800", "::", "[::1]"]
)
HANDLES = some.one_of(
    some.text(max_size=40),
    some.lists(some.one_of(FRAGMENTS, WORDS, SCHEMES, HOSTS), max_size=10).map("".join),
    some.builds("{}://{}/{}?{}#{}".format, SCHEMES, HOSTS, PATHS, WORDS, WORDS),
)


@PROFILE
@given(HANDLES, some.one_of(some.none(), some.text("0123456789abcdefABCDEFg", min_size=62, max_size=66)))
@example("http://[", None)
@example("http://h:99999999/", None)
@example("http://[::1", None)
@example("http://h/\u2100", None)
@example("http://\u2100/", None)
@example("https://h/m#sha256=" + "٣" * 64, None)
def test_any_text_is_a_handle_or_a_handle_error(text: str, pin: str | None) -> None:
    try:
        handle = Handle.parse(text, sha256=pin)
    except HandleError as error:
        assert str(error)
        return
    assert handle.key and isinstance(handle.is_archive, bool) and isinstance(handle.is_name, bool)
    assert str(handle) == handle.redacted
    assert not any(character < " " or character == "\x7f" for character in handle.text)
    handle.url(tf_hub_format="compressed")


@PROFILE
@given(HANDLES)
def test_the_display_form_of_a_handle_is_a_handle_with_the_same_display_form(text: str) -> None:
    try:
        displayed = Handle.parse(text).redacted
    except HandleError:
        return
    try:
        displayed_again = Handle.parse(displayed).redacted
    except HandleError:
        assume("%" in text and unquote(text) != text)  # file:///a%00
        return
    assert displayed_again == displayed


@PROFILE
@given(SCHEMES, HOSTS, PATHS, some.text("abc=&", max_size=8))
def test_spellings_of_one_url_share_its_key(scheme: str, host: str, path: str, query: str) -> None:
    path = f"/{path.strip('/')}" if path.strip("/") else ""
    rest = f"?{query}" if query.strip("&") else ""
    keys = {Handle.parse(f"{way}://{host}{path}{end}{rest}").key for way in (scheme, scheme.upper()) for end in ("", "/")}
    if scheme.lower() in ("http", "https"):
        query_end = f"{rest}&tf-hub-format=compressed" if rest else "?tf-hub-format=compressed"
        keys |= {Handle.parse(f"{scheme}://{host.upper()}{path}{end}").key for end in (rest, query_end, f"/{rest}")}
    assert len(keys) == 1
    assert {Handle.parse(keys.copy().pop()).key} == keys


@PROFILE
@given(SCHEMES, WORDS, HOSTS, PATHS, WORDS, some.sampled_from(["", "#sha256=" + "ab" * 32, "#x", "\n", "\0", "#sha256=zz"]))
@example("hf", " ", "h", "", "n", "")
def test_no_secret_of_a_query_or_of_userinfo_is_displayed(
    scheme: str, user: str, host: str, path: str, name: str, end: str
) -> None:
    text = f"{scheme}://{user}:{SECRET}@{host}/{path}?{name}={SECRET}&b={SECRET}{end}"
    try:
        handle = Handle.parse(text)
    except HandleError as error:
        displayed = str(error)
    else:
        displayed = handle.redacted + str(handle)
    assert SECRET not in displayed


PARTS = some.one_of(
    some.sampled_from(
        ["", ".", "..", "C:", "con", "a", "A", "é", "e\u0301", "\u202e", "a.", "b ", "nul.x", "\\", "~", "$HOME"]
    ),
    some.text(max_size=6),
    some.text("ab./\\:~ \0", max_size=6),
)
NAMES = some.lists(PARTS, min_size=1, max_size=6).map("/".join)


@PROFILE
@given(NAMES)
def test_an_accepted_name_stays_below_by_the_rules_of_every_platform(name: str) -> None:
    try:
        parts = MemberNamePolicy(is_windows=True).validate(name, is_directory=True)
    except ArchiveError:
        return
    assert parts == safe_parts(name, is_directory=True, is_windows=True)
    for rules, top in ((posixpath, "/top/into"), (ntpath, "C:\\top\\into"), (ntpath, "\\\\host\\share\\into")):
        joined = rules.normpath(rules.join(top, *parts))
        assert joined == top if not parts else joined.startswith(top + rules.sep)
        assert tuple(joined[len(top) + 1 :].split(rules.sep)) == (parts or ("",)), "no part is lost or split"
        assert rules.normpath(rules.join(top, name)).startswith(top)
    for part in parts:
        assert not ntpath.splitdrive(part)[0] and part.isprintable() | (" " in part) | (not part.isascii())
        assert not getattr(ntpath, "isreserved", lambda _: False)(part)


@PROFILE
@given(NAMES)
def test_a_name_that_safe_parts_accepts_stays_below(name: str) -> None:
    for rules, top in ((posixpath, "/top/into"), (ntpath, "C:\\top\\into")):
        try:
            parts = safe_parts(name, is_directory=True, is_windows=rules is ntpath)
        except ArchiveError:
            continue
        assert rules.normpath(rules.join(top, *parts)).startswith(top)


@PROFILE
@given(some.lists(some.text("aAbBéÉ", min_size=1, max_size=2), max_size=12))
def test_names_without_those_that_are_not_portable_differ_not_only_in_case(names: list[str]) -> None:
    portable = set(names) - set(find_unportable(names))
    assert len({name.lower() for name in portable}) == len(portable)
    assert {name.lower() for name in portable} == {name.lower() for name in names}


def is_safe(path: str) -> bool:
    """Return whether a file of that path may be in a record."""
    try:
        return "/".join(safe_parts(path, is_canonical=True)) == path
    except ArchiveError:
        return False


TEXTS = some.text(max_size=20)
SIZES = some.integers(0, 1 << 62)
INSIDE = TEXTS.map(lambda text: f"variables/a{text.replace('/', '_')}").filter(is_safe)
FILES = some.builds(FileEntry, INSIDE, SIZES, some.text(string.hexdigits, max_size=64))
ORIGINS = some.builds(Origin, TEXTS, TEXTS, some.none() | SIZES, some.text(string.hexdigits, max_size=64))
LINES = some.text(some.characters(exclude_categories=["Cc", "Zl", "Zp", "Cs"]), max_size=20).map(str.strip)
RECORDS = some.builds(Record, LINES, TEXTS, LINES, ORIGINS, some.lists(FILES, min_size=1, max_size=4).map(tuple))


@PROFILE
@given(RECORDS)
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    text = record.to_text()
    assert Record.parse(text, "other") == record
    assert Record.parse(text.encode("utf-8", "backslashreplace").decode(), "other") == record


@PROFILE
@given(RECORDS)
def test_tensorflow_hubs_lines_can_be_read_without_ours(record: Record) -> None:
    lines = record.to_text().splitlines()
    assert lines[0] == f"Module: {record.handle}" and lines[1] == f"Download Time: {record.fetched_at}"
    assert lines[2].startswith("Downloader Hostname: ") and lines[3] == ""
    read = Record.parse("\n".join(lines[:3]), "tree")
    assert (read.handle, read.tree, read.fetched_at, read.files) == (record.handle, "tree", record.fetched_at, None)


JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=5),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS: tuple[tuple[str | int, ...], ...] = (
    *((name,) for name in ("version", "handle", "tree", "fetched_at", "origin", "files")),
    *(("origin", name) for name in ("url", "etag", "size_bytes", "sha256", "other")),
    *(("files", 0, name) for name in ("path", "size_bytes", "sha256", "other")),
)


KNOWN = Record("https://h/m", "tree", files=(FileEntry("a", 1, "ab" * 32),))


@PROFILE
@given(RECORDS, some.sampled_from(FIELDS), JSON)
@example(KNOWN, ("files", 0, "size_bytes"), float("inf"))
@example(KNOWN, ("files", 0, "size_bytes"), float("nan"))
@example(KNOWN, ("files", 0, "size_bytes"), "9" * 5000)
@example(KNOWN, ("origin", "url"), [])
@example(KNOWN, ("origin", "sha256"), {})
@example(KNOWN, ("origin", "size_bytes"), "many")
def test_a_record_of_any_json_can_be_read(record: Record, field: tuple[str | int, ...], value: object) -> None:
    head, _, body = record.to_text().partition("\n\n")
    inner = facts = json.loads(body)
    for step in field[:-1]:
        if step == 0 and not inner:
            inner.append({"path": "a", "size_bytes": 1, "sha256": ""})
        inner = inner[step]
    inner[field[-1]] = value
    read = Record.parse(f"{head}\n\n{json.dumps(facts)}", "tree")
    assert read.files is None or all(type(file.size_bytes) is int and type(file.path) is str for file in read.files)
    assert {type(read.origin.url), type(read.origin.etag), type(read.origin.sha256)} == {str}
    assert type(read.origin.size_bytes) in (int, type(None))
    hash(read)


@PROFILE
@given(RECORDS, some.integers(0, 1 << 16), some.integers(0, 40), some.text(max_size=10))
def test_a_record_of_any_text_can_be_read(record: Record, at: int, length: int, instead: str) -> None:
    text = record.to_text()
    at %= len(text)
    for damaged in (text[:at], text[at:], text[:at] + instead + text[at + length :], instead, f"\n\n{instead}"):
        assert isinstance(Record.parse(damaged, "tree"), Record)


MEMBERS = some.dictionaries(
    some.lists(some.text("abé模 -", min_size=1, max_size=60), min_size=1, max_size=4).map("/".join),
    some.none() | some.binary(max_size=1500),
    max_size=6,
)
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


@pytest.mark.parametrize("form", FORMATS, ids=["ustar", "gnu", "pax"])
@PROFILE
@given(members=MEMBERS, chunk_bytes=some.integers(1, 3000))
def test_members_that_tarfile_wrote_are_read_as_written(form: int, members: dict[str, bytes | None], chunk_bytes: int) -> None:
    infos = [
        member(name, data or b"", type=tarfile.DIRTYPE if data is None else tarfile.REGTYPE) for name, data in members.items()
    ]
    try:
        data = tar_of(*infos, format=form)
    except ValueError:  # ustar has no room for the name
        assume(False)
    chunks = [data[at : at + chunk_bytes] for at in range(0, len(data), chunk_bytes)]
    read = {
        one.name.rstrip("/"): None if one.is_directory else b"".join(map(bytes, one.chunks))
        for one in tar_reader.read_members(chunks)
    }
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert set(archive.getnames()) == set(read)
    assert read == members
