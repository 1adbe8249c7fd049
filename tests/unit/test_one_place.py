"""Each rule has one place: looks in the syntax trees of the package for code that goes around it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Union

import pytest

import tfimm_resolver
from tfimm_resolver._util.retry import _FAILURES, RETRYABLE_STATUSES

pytestmark = pytest.mark.xdist_group("one place")  # so that the package is parsed once
PACKAGE = Path(tfimm_resolver.__file__).parent

OPEN_FILES = ("_util.fs", "cache.", "locking.", "archives.extractor", "transfer.partial_store")
"""Modules, and packages that end in a dot, which may open files of a cache root themselves."""

ONLY_IN: dict[str, set[str]] = {
    "queue": set(),
    "os.fsync": {"_util.fs"},
    "shutil.disk_usage": {"_util.fs"},
    "threading.Thread": {"_util.threads", "cli.demo"},
    "time.monotonic": {"_util.clock"},
    "time.monotonic_ns": {"_util.clock"},
    "time.time": {"_util.clock"},
    "time.time_ns": {"_util.clock"},
}
"""Functions with one module, which knows who replaces them (freezegun, gevent) or where they are missing (mounts)."""

JSON_PARSERS = {"load", "loads", "JSONDecoder", "raw_decode", "from_json"}
"""Functions of json, and of libraries like it, that parse a text of any size."""

JSON_MODULES = {"json", "orjson", "simplejson", "ujson"}

OWN_JSON = {
    "_util.json_text.parse_json": "the one place",
    "cli.commands.hub._parse_argument": "an argument of the command line",
}
"""Functions that parse JSON themselves, and why."""

SAFE_OPENERS = {"open_regular", "open_regular_target"}

OTHER_FILES = {
    "bundles.reader._open_bundle": "the bundle is a file that the user names, and may be a pipe",
    "bundles.writer.export": "the user names the pipe or the device that the bundle is written to",
    "_util.replacing.replace_file": "the file is written where the user says, under a new name first",
    "cli.app._discard_stdout": "the null device",
    "cli.app._replace_closed_streams": "the null device",
    "cli.demo._build_archive": "an archive in a temporary directory of this process",
    "cli.demo.__init__": "that archive, to serve it",
    "hub.h5_weights._is_bfloat16": "an attribute of an open HDF5 file",
    "hub.keras_files._check_hdf5": "a member of an open zip",
    "hub.npz_weights._read_members": "a member of an open zip",
    "locking.lock.try_take_over": "LockFile.open, in the package of locks",
    "object_store.google_credentials.load_credentials": "the credentials are a file that the user names, and may be a pipe",
}
"""Functions that open a file which is not in a cache root, and why."""

OPEN_ROOTS = {"cache.roots", "cache.tier", "cache.tiers", "cache.__init__"}
"""Modules that may open a cache root; all others ask ``cache.tiers``."""

JOIN_NAMES = {"archives.member_policy", "archives.extractor"}
"""Modules that turn foreign names into paths: the policy, and the extractor, which joins the components that it returns."""

FOREIGN_OBJECTS = {"entry", "file", "info", "item", "member", "meta", "object", "obj", "tarinfo", "zipinfo"}
FOREIGN_ATTRIBUTES = {"filename", "key", "name", "orig_filename", "path", "rfilename"}
FOREIGN_LISTS = {"getnames", "namelist"}
TEXT_METHODS = {"lstrip", "partition", "removeprefix", "removesuffix", "replace", "rstrip", "split", "str", "strip"}
"""Functions that return another spelling, or a part, of a foreign name."""

SAFE_NAMES = {"join_safely", "safe_parts", "validate", "validate_listed_file", "find_status"}

UNTRUSTED_NAMES = {
    *("body", "comment", "entry", "error", "exc", "exception", "message", "reason"),
    *("folder", "key", "name", "path", "tree"),
}
UNTRUSTED_ATTRIBUTES = {
    "_name",
    "_path",
    "body",
    "comment",
    "defect",
    "digest",
    "filename",
    "message",
    "orig_filename",
    "reason",
    "strerror",
}
RECORDED_OBJECTS = {*FOREIGN_OBJECTS, "found", "known", "model", "record"}
RECORDED_ATTRIBUTES = {"file", "handle", "location", "name", "other_root", "path"}
ERROR_MAKERS = ("Error", "with_message", "map_os_errors", "_error", "kind", "raised")
LOG_METHODS = {"critical", "debug", "error", "exception", "info", "log", "warning"}

Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]
Check = Callable[[str, ast.Module], Iterator[str]]


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    """Parse every module once, and return the syntax trees by their names below the package."""
    paths = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in sorted(PACKAGE.rglob("*.py"))}
    return {module: ast.parse(path.read_text()) for module, path in paths.items()}


def is_in(module: str, allowed: tuple[str, ...] | set[str]) -> bool:
    """Whether a module is in a list of modules, and of packages that end in a dot."""
    return any(module == one or (one.endswith(".") and module.startswith(one)) for one in allowed)


def get_name(node: ast.AST) -> str:
    """Return the last part of the name of a function, variable or attribute; empty for any other expression."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def walk_functions(tree: ast.AST, name: str = "<module>") -> Iterator[tuple[str, ast.AST]]:
    """Yield every node with the name of the innermost function around it."""
    for child in ast.iter_child_nodes(tree):
        inner = child.name if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) else name
        yield inner, child
        yield from walk_functions(child, inner)


def find_opens(module: str, tree: ast.Module) -> Iterator[str]:
    """Yield calls that open a file by another way than ``_util.fs``."""
    for function, call in list_opens(tree) if not is_in(module, OPEN_FILES) else ():
        if f"{module}.{function}" not in OTHER_FILES:
            yield f"{module}:{call.lineno} {function} opens a file with {ast.unparse(call.func)}"


def list_opens(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Yield every call that opens a file without an opener of ``_util.fs``, and the function that makes it."""
    texts = {"read_bytes", "read_text", "write_bytes", "write_text"}
    for function, call in walk_functions(tree):
        if isinstance(call, ast.Call):
            openers = [part for keyword in call.keywords if keyword.arg == "opener" for part in ast.walk(keyword.value)]
            is_tier = isinstance(call.func, ast.Attribute) and get_name(call.func.value) == "tier"  # opens a cache, not a file
            is_open = (get_name(call.func) == "open" and not is_tier) or (
                isinstance(call.func, ast.Attribute) and call.func.attr in texts
            )
            is_archive = get_name(call.func) in {"ZipFile", "TarFile"} and [get_name(node) for node in call.args[:1]] != [
                "file"
            ]
            if (is_open or is_archive) and SAFE_OPENERS.isdisjoint(map(get_name, openers)):
                yield function, call


def find_root_openings(module: str, tree: ast.Module) -> Iterator[str]:
    """Yield uses of ``open_root`` outside the module of the tiers."""
    for node in ast.walk(tree):
        is_import = isinstance(node, ast.ImportFrom) and any(alias.name == "open_root" for alias in node.names)
        if (is_import or get_name(node) == "open_root") and module not in OPEN_ROOTS:
            yield f"{module}:{node.lineno} uses open_root"  # type: ignore[attr-defined]


def find_foreign_joins(module: str, tree: ast.Module) -> Iterator[str]:
    """Yield paths that are joined from a name of an archive or a listing which did not pass through ``safe_parts``."""
    if module in JOIN_NAMES:
        return
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    for scope in functions or [tree]:
        tainted = _find_tainted(scope)
        for node in ast.walk(scope):
            if any(_is_foreign(value, tainted) for value in _list_joined(node)):
                yield f"{module}:{node.lineno} joins a foreign name: {ast.unparse(node)}"  # type: ignore[attr-defined]


def _find_tainted(scope: ast.AST) -> set[str]:
    """Return the variables of a function that hold foreign names."""
    tainted: set[str] = set()
    for _ in range(3):  # through assignments of assignments
        for node in ast.walk(scope):
            targets, value = [], None
            if isinstance(node, ast.Assign):
                targets, value = node.targets, node.value
            elif isinstance(node, ast.NamedExpr):
                targets, value = [node.target], node.value
            elif isinstance(node, (ast.For, ast.comprehension)):
                targets, value = [node.target], node.iter
            if value is not None and _is_foreign(value, tainted):
                tainted |= {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}
    return tainted


def _is_foreign(node: ast.AST, tainted: set[str]) -> bool:
    """Whether the value of an expression is a foreign name, or contains one, unchecked."""
    if isinstance(node, ast.Call):
        if get_name(node.func) in SAFE_NAMES:
            return False
        if get_name(node.func) in FOREIGN_LISTS:
            return True
        receiver = [node.func.value] if isinstance(node.func, ast.Attribute) else []
        is_text = get_name(node.func) in {
            "removeprefix",
            "removesuffix",
            "strip",
            "lstrip",
            "rstrip",
            "replace",
            "str",
            "split",
        }
        return is_text and any(_is_foreign(part, tainted) for part in [*receiver, *node.args])
    if isinstance(node, ast.Attribute):
        return node.attr in FOREIGN_ATTRIBUTES and get_name(node.value) in FOREIGN_OBJECTS
    if isinstance(node, ast.Name):
        return node.id in tainted
    if isinstance(node, (ast.BinOp, ast.JoinedStr, ast.FormattedValue, ast.Starred, ast.IfExp, ast.Subscript)):
        return any(_is_foreign(part, tainted) for part in ast.iter_child_nodes(node))
    return False


def _list_joined(node: ast.AST) -> list[ast.expr]:
    """Return the operands that become part of a path; empty for an expression that does not join a path."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return [node.right]
    if isinstance(node, ast.Call) and get_name(node.func) in {"Path", "PurePath", "joinpath", "open", "rename", "mkdir"}:
        return node.args
    if isinstance(node, ast.Call) and ast.unparse(node.func) in {"os.path.join", "posixpath.join", "'/'.join"}:
        return [part for value in node.args for part in (value.elts if isinstance(value, (ast.Tuple, ast.List)) else [value])]
    if isinstance(node, ast.JoinedStr):
        text = "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
        pairs = zip(node.values[:-1], node.values[1:], strict=True)
        after = [value for before, value in pairs if isinstance(before, ast.Constant) and str(before.value).endswith("/")]
        return [] if " " in text else after  # with spaces, it is a message
    return []


def find_status_lists(module: str, tree: ast.Module) -> Iterator[str]:
    """Yield collections of HTTP statuses or of exceptions, one of them worth a retry, outside ``_util.retry``."""
    for node in ast.walk(tree) if module != "_util.retry" else ():
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            numbers = {item.value for item in node.elts if isinstance(item, ast.Constant) and type(item.value) is int}
            statuses = {number for number in numbers if number in range(400, 600)}
            if len(statuses) > 1 and statuses & RETRYABLE_STATUSES:
                yield f"{module}:{node.lineno} lists {sorted(statuses)}"
            kinds = {get_name(item) or getattr(item, "value", "") for item in node.elts}
            if len(kinds & {*_FAILURES}) > 1:
                yield f"{module}:{node.lineno} lists {sorted(map(str, kinds))}"
        elif isinstance(node, ast.Compare):  # 500 <= status: a list without an end
            values = [item.value for item in (node.left, *node.comparators) if isinstance(item, ast.Constant)]
            is_order = any(isinstance(operator, (ast.Lt, ast.LtE, ast.Gt, ast.GtE)) for operator in node.ops)
            if is_order and {499, 500, 599, 600} & {value for value in values if type(value) is int}:
                yield f"{module}:{node.lineno} compares a status with {values}"


def find_formatted_logs(module: str, tree: ast.Module) -> Iterator[str]:
    """Yield calls of a logger whose first argument is not a constant template: the filter cleans each value by itself."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        is_log = isinstance(call.func, ast.Attribute) and get_name(call.func.value) in {"log", "logger", "_log", "_logger"}
        if is_log and get_name(call.func) in LOG_METHODS:
            template = call.args[get_name(call.func) == "log" :][:1]
            if not all(isinstance(value, ast.Constant) and isinstance(value.value, str) for value in template):
                yield f"{module}:{call.lineno} logs {ast.unparse(template[0])} instead of a template and values"


def find_error_values(module: str, tree: ast.Module) -> Iterator[str]:
    """Yield values from outside in the text of an error that were not cleaned by themselves, with ``show``."""
    for scope in ast.walk(tree):
        if isinstance(scope, (ast.FunctionDef, ast.AsyncFunctionDef)):
            calls = [node for node in ast.walk(scope) if isinstance(node, ast.Call) and _makes_error(node)]
            texts = [value for call in calls for value in (*call.args, *(keyword.value for keyword in call.keywords))]
            names = {text.id for text in texts if isinstance(text, ast.Name)}
            for node in ast.walk(scope):
                if isinstance(node, ast.Assign) and names & {get_name(target) for target in node.targets}:
                    texts.append(node.value)
            for value in {value for text in texts for value in find_untrusted(text)}:
                yield f"{module}:{value.lineno} shows {ast.unparse(value)} without cleaning it"


def _makes_error(call: ast.Call) -> bool:
    is_same_kind = isinstance(call.func, ast.Call) and get_name(call.func.func) == "type"
    return is_same_kind or get_name(call.func).endswith(ERROR_MAKERS)


def find_untrusted(text: ast.AST) -> Iterator[ast.expr]:
    """Yield values from outside that a text contains: by f-string, by ``%``, by ``format`` or by ``+``."""
    for node in ast.walk(text):
        parts: list[ast.expr] = []
        if isinstance(node, ast.FormattedValue) and node.conversion == -1:
            parts = [node.value]
        elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mod, ast.Add)):
            operands = [node.right] if isinstance(node.op, ast.Mod) else [node.left, node.right]
            parts = [part for value in operands for part in (value.elts if isinstance(value, ast.Tuple) else [value])]
        elif isinstance(node, ast.Call) and get_name(node.func) == "format":
            parts = [*node.args, *(keyword.value for keyword in node.keywords)]
        for part in parts:
            inner = part.values[0] if isinstance(part, ast.BoolOp) else part
            inner = inner.args[0] if isinstance(inner, ast.Call) and get_name(inner.func) == "str" and inner.args else inner
            is_foreign = isinstance(inner, ast.Attribute) and (
                inner.attr in UNTRUSTED_ATTRIBUTES
                or (inner.attr in RECORDED_ATTRIBUTES and get_name(inner.value) in RECORDED_OBJECTS)
            )
            if is_foreign or (isinstance(inner, ast.Name) and inner.id in UNTRUSTED_NAMES):
                yield part


def is_clean(module: str, code: str, check: Check) -> bool:
    """Whether a check finds nothing in a source text that stands for a module."""
    return not [*check(module, ast.parse(code))]


def find_replaceable_calls(module: str, tree: ast.Module) -> Iterator[str]:
    """Yield uses of functions that other packages replace, or that some file systems lack, outside their one module."""
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
            if names == ["threading.Thread"] and id(node) not in called:  # as a type
                continue
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (f"{module}:{node.lineno} uses {name}" for name in names if module not in ONLY_IN.get(name, {module}))


def find_json_parsers(module: str, tree: ast.Module) -> Iterator[str]:
    """Yield uses of a JSON parser that does not limit how much it reads."""
    for function, node in walk_functions(tree):
        if f"{module}.{function}" in OWN_JSON:
            continue
        names = [ast.unparse(node)] if isinstance(node, ast.Attribute) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "json":
            names = ["json.loads"]  # response.json()
        for name in names:
            if name.partition(".")[0] in JSON_MODULES and name.rpartition(".")[2] in JSON_PARSERS:
                yield f"{module}:{node.lineno} parses JSON without a limit: {name}"  # type: ignore[attr-defined]


def find_finder_changes(module: str, tree: ast.Module) -> Iterator[str]:
    """Yield changes of the import system's list of finders, over which other threads iterate; only its one module sets it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "sys.meta_path":
            yield f"{module}:{node.lineno} calls {ast.unparse(node)}"
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "sys.meta_path" and _is_changed(node):
            yield f"{module}:{node.lineno} changes {ast.unparse(node)}"
        elif ast.unparse(node) == "sys.meta_path" and _is_changed(node) and module != "_util.import_hooks":
            yield f"{module}:{node.lineno} sets sys.meta_path"


def _is_changed(node: ast.AST) -> bool:
    return not isinstance(getattr(node, "ctx", None), ast.Load)


CHECKS: dict[str, Check] = {
    "JSON is parsed by _util.json_text": find_json_parsers,
    "files are opened by _util.fs": find_opens,
    "roots are opened by the tiers": find_root_openings,
    "foreign names pass through safe_parts": find_foreign_joins,
    "one table says what is worth a retry": find_status_lists,
    "logs take a template and values": find_formatted_logs,
    "errors clean each value": find_error_values,
    "clocks, queues, threads and fsync come from _util": find_replaceable_calls,
    "finders are set by _util.import_hooks": find_finder_changes,
}

VIOLATIONS = {
    "JSON is parsed by _util.json_text": [
        "def f(text):\n    return json.loads(text)",
        "def f(file):\n    return json.load(file)",
        "def f(text):\n    return json.JSONDecoder().raw_decode(text)",
        "parse = json.loads",
        "from json import loads",
        "def f(text):\n    from json import loads as parse\n    return parse(text)",
        "def f(response):\n    return response.json()",
        "def f(text):\n    return orjson.loads(text)",
    ],
    "files are opened by _util.fs": [
        "def f(path):\n    with open(path) as file:\n        return file.read()",
        "def f(path):\n    return os.open(path, os.O_RDONLY)",
        "def f(path):\n    return Path(path).open()",
        "def f(path):\n    return io.open(path, opener=os.open)",
        "def f(path):\n    return path.read_text()",
        "def f(path):\n    return (path / 'x').read_bytes()",
        "class C:\n    def f(self):\n        self.path.write_text('')",
        "def f(path):\n    path.write_bytes(b'')",
        "def f(path):\n    return zipfile.ZipFile(path)",
        "DATA = open('x').read()",
    ],
    "roots are opened by the tiers": [
        "from tfimm_resolver.cache.roots import open_root",
        "def f():\n    from tfimm_resolver.cache.roots import open_root as opened",
        "def f(root):\n    return Cache(roots.open_root(root))",
    ],
    "foreign names pass through safe_parts": [
        "def f(tree, file):\n    return f'{tree}/{file.path}'",
        "def f(into, member):\n    return into / member.name",
        "def f(into, member):\n    return os.path.join(into, member.name)",
        "def f(into, info):\n    return into.joinpath(info.filename)",
        "def f(into, info):\n    return into.joinpath(*info.filename.split('/'))",
        "def f(into, info):\n    return '/'.join((into, info.filename))",
        "def f(into, entry):\n    path = entry.path\n    return into / path",
        "def f(into, entry):\n    path = entry.path.removeprefix('x/')\n    name = path\n    return Path(into, name)",
        "def f(into, archive):\n    for name in archive.namelist():\n        print(into / name)",
        "def f(into, archive):\n    return [into / name for name in archive.getnames()]",
        "def f(into, file):\n    safe_parts(file.path)\n    return into / file.path",
        "def f(member):\n    return open(member.name)",
        "def f(parts, path, file):\n    path.rename(parts / (file.path or 'x'))\n    return parts / f'{file.path}.half'",
    ],
    "one table says what is worth a retry": [
        "STATUS = (429, 503)",
        "def f(status):\n    return status in {408, 404}",
        "retry(Retry(status_forcelist=[500, 502]))",
        "def f(status):\n    return status >= 500",
        "def f(status):\n    return 500 <= status < 600",
        "def f(error):\n    return isinstance(error, (ConnectionError, TimeoutError))",
        "KINDS = {'ReadTimeout', 'ConnectTimeout', 'ProxyError'}",
        "def f():\n    try:\n        g()\n    except (urllib3.ProtocolError, urllib3.NewConnectionError):\n        pass",
    ],
    "logs take a template and values": [
        "log.info(f'fetched {url}')",
        "log.warning('fetched %s' % url)",
        "log.error('fetched {}'.format(url))",
        "log.debug('fetched ' + url)",
        "log.log(level, f'fetched {url}')",
        "def f(line):\n    log.info(line)",
        "class C:\n    def f(self):\n        self.log.exception(self.text)",
    ],
    "errors clean each value": [
        "def f(error):\n    raise FetchError(f'it failed: {error}') from error",
        "def f(error):\n    raise FetchError(f'it failed: {str(error)}')",
        "def f(error):\n    raise FetchError('it failed: %s' % error)",
        "def f(error):\n    raise FetchError('it failed: %s of %s' % (1, error))",
        "def f(error):\n    raise FetchError('it failed: {}'.format(error))",
        "def f(reason):\n    raise FetchError('it failed: ' + reason)",
        "def f(response):\n    return errors.AccessError(f'answered {response.reason}')",
        "def f(info):\n    raise ArchiveError('no', fix=f'Remove {info.filename}.')",
        "def f(record):\n    text = f'{record.handle} is damaged'\n    raise CacheError(text)",
        "def f(member):\n    raise error.with_message(f'{member.name} is too large')",
        "def f(error):\n    with map_os_errors(CacheError, f'{error.filename or 1} cannot be read'):\n        pass",
    ],
}

VIOLATIONS["clocks, queues, threads and fsync come from _util"] = [
    "def f():\n    return time.monotonic() + 1",
    "x = field(default_factory=time.monotonic)",
    "from time import time_ns",
    "import queue",
    "from queue import SimpleQueue",
    "def f(file):\n    os.fsync(file.fileno())",
    "def f(path):\n    return shutil.disk_usage(path).free",
    "def f(target):\n    threading.Thread(target=target).start()",
]

VIOLATIONS["finders are set by _util.import_hooks"] = [
    "sys.meta_path[:] = [finder, *sys.meta_path]",
    "del sys.meta_path[0]",
    "sys.meta_path = []",
    "def f(finder):\n    sys.meta_path.remove(finder)",
    "def f(finder):\n    sys.meta_path.insert(0, finder)",
]

HARMLESS = {
    "finders are set by _util.import_hooks": [
        "def f(finder):\n    set_finders([finder, *sys.meta_path])",
        "def f(finder):\n    return finder in sys.meta_path and sys.meta_path[0]",
    ],
    "JSON is parsed by _util.json_text": [
        "def f(facts):\n    return json.dumps(facts)",
        "def f(text):\n    return parse_json(text)",
        "def f(error):\n    return isinstance(error, json.JSONDecodeError)",
        "def f(output, facts):\n    output.print_json(facts)",
    ],
    "files are opened by _util.fs": [
        "def f(path):\n    return open(path, opener=fs.open_regular)",
        "def f(path):\n    return open(path, opener=functools.partial(open_regular, max_bytes=9))",
        "def f(path):\n    return fs.open_regular(path)",
        "def f(file):\n    return zipfile.ZipFile(file)",
        "def f(write_bytes):\n    write_bytes(b'')",
    ],
    "roots are opened by the tiers": ["from tfimm_resolver.cache.tiers import open_tiers"],
    "clocks, queues, threads and fsync come from _util": [
        "def f():\n    return clock.get_monotonic_s()",
        "def f(seconds):\n    return time.strftime('%H', time.gmtime(seconds))",
        "def f(threads: list[threading.Thread]):\n    start_thread(print, 'name')",
    ],
    "foreign names pass through safe_parts": [
        "def f(tree, file):\n    return join_safely(tree, file.path)",
        "def f(into, member):\n    parts = safe_parts(member.name)\n    return into.joinpath(*parts)",
        "def f(into, names, entry):\n    return into.joinpath(*names.validate_listed_file(entry.path))",
        "def f(tree, file):\n    raise ArchiveError(f'in {tree}/{file.path} there is a fault')",
        "def f(a, b):\n    return a / b.size_bytes",
    ],
    "one table says what is worth a retry": [
        "GONE = (404, 410)",
        "def f(status):\n    return 200 <= status < 300",
        "def f(error):\n    return isinstance(error, (ValueError, TimeoutError))",
    ],
    "logs take a template and values": ["log.info('fetched %s', url)", "log.log(level, 'fetched %s', url)", "math.log(x)"],
    "errors clean each value": [
        "def f(error):\n    raise FetchError(f'it failed: {show(error)}') from error",
        "def f(error):\n    raise FetchError(f'it failed: {error.text}')",
        "def f(name):\n    raise FetchError(f'{name!r} is not a name')",
        "def f(record):\n    raise FetchError(f'{record.size_bytes} bytes are too many')",
    ],
}


@pytest.mark.parametrize("rule", CHECKS)
def test_nothing_goes_around_the_one_place(rule: str, trees: dict[str, ast.Module]) -> None:
    assert [found for module, tree in trees.items() for found in CHECKS[rule](module, tree)] == []


@pytest.mark.parametrize(("rule", "code"), [(rule, code) for rule, codes in VIOLATIONS.items() for code in codes])
def test_a_violation_is_found(rule: str, code: str) -> None:
    assert not is_clean("resolution.resolver", code, CHECKS[rule])


@pytest.mark.parametrize(("rule", "code"), [(rule, code) for rule, codes in HARMLESS.items() for code in codes])
def test_harmless_code_is_not_found(rule: str, code: str) -> None:
    assert is_clean("resolution.resolver", code, CHECKS[rule])


def test_each_exception_of_the_list_is_a_function_that_opens_a_file(trees: dict[str, ast.Module]) -> None:
    found = {f"{module}.{function}" for module, tree in trees.items() for function, _ in list_opens(tree)}
    assert OTHER_FILES.keys() <= found
