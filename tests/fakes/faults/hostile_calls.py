"""``python -m tests.fakes.faults.hostile_calls CIRCUMSTANCE FOLDER``: calls public functions while something is wrong.

It prints a line for each exception that is not a ResolverError. Each call starts from the same files.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import resource
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import tfimm_resolver
from tests.fakes.archives import tar_gz
from tests.fakes.processes import IMPORT_PACKAGE
from tfimm_resolver import bundles, hub, integrations, maintenance, project
from tfimm_resolver.errors import ResolverError
from tfimm_resolver.integrations import serving
from tfimm_resolver.sources import Handle

URL = "https://h/m.tar.gz"
WEIGHTS = "https://h/x.npz"
TIMEOUT_S = 20
NOBODY = 65534
Call = Callable[[], object]


def prepare(folder: Path) -> None:
    """Create the files of a server, a cache, a bundle, a repository and a named model, and the settings that name them."""
    os.chdir(folder)
    for name in ("TFHUB_CACHE_DIR", "TFIMM_HOME", "TFIMM_HUB_DIR"):
        os.environ[name] = str(folder / name)
    os.environ["TFIMM_RESOLVER_MIRRORS"] = f"file://{folder}/files"
    os.environ["TFIMM_RESOLVER_QUIET"] = "1"
    os.environ["TFIMM_RESOLVER_LOCK_TIMEOUT_S"] = "0.2"
    for name in ("files/h", "repo", "TFIMM_HOME/named"):
        Path(name).mkdir(parents=True)
    Path("m.tar.gz").write_bytes(tar_gz())
    Path("files/h/m.tar.gz").write_bytes(tar_gz())
    np.savez("files/h/x.npz", a=np.zeros(3))
    header = b"[" * 100_000
    Path("files/h/deep.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    Path("repo/hubconf.py").write_text("def net(): 'A net.'; return 1\n")
    Path("TFIMM_HOME/named/saved_model.pb").write_bytes(b"x")
    tfimm_resolver.resolve(URL)
    bundles.write([URL], "b.tar")
    hub.load_state_dict_from_url(WEIGHTS)


def list_calls(folder: Path) -> dict[str, Call]:
    """Return calls of the public functions that read or write files."""

    def resolve_new(handle: str, **options: object) -> str:
        with tfimm_resolver.using(dir=folder / "new"):
            return tfimm_resolver.resolve(handle, **options)  # type: ignore[arg-type]

    def import_new(bundle: str) -> object:
        with tfimm_resolver.using(dir=folder / "new"):
            return bundles.read(bundle)

    return {
        "a hit": lambda: tfimm_resolver.resolve(URL),
        "a miss": lambda: resolve_new(URL),
        "an archive": lambda: resolve_new(f"{folder}/m.tar.gz"),
        "a relative path": lambda: tfimm_resolver.resolve("m.tar.gz"),
        "a refresh": lambda: tfimm_resolver.resolve(URL, refresh=True),
        "a name": lambda: tfimm_resolver.resolve("named"),
        "an unknown name": lambda: tfimm_resolver.resolve("nothing"),
        "cached_model_path": lambda: tfimm_resolver.cached_model_path("named"),
        "get_dir": tfimm_resolver.get_dir,
        "hub.get_dir": hub.get_dir,
        "hub.download_url_to_file": lambda: hub.download_url_to_file(WEIGHTS, f"{folder}/x.npz"),
        "weights": lambda: hub.load_state_dict_from_url(WEIGHTS, f"{folder}/weights"),
        "cached weights": lambda: hub.load_state_dict_from_url(WEIGHTS),
        "weights with nested JSON": lambda: hub.load_state_dict_from_url("https://h/deep.safetensors"),
        "hub.load": lambda: hub.load(f"{folder}/repo", "net", source="local"),
        "hub.load, relative": lambda: hub.load("repo", "net", source="local"),
        "hub.list": lambda: hub.list("a/b", trust_repo=True),
        "hub.help": lambda: hub.help("a/b", "net", trust_repo=True),
        "bundles.write": lambda: bundles.write([URL], f"{folder}/o.tar"),
        "bundles.write, relative": lambda: bundles.write([URL], "o.tar"),
        "bundles.import_": lambda: import_new(f"{folder}/b.tar"),
        "bundles.read, relative": lambda: import_new("b.tar"),
        "bundles.read, the same": lambda: bundles.read(f"{folder}/b.tar"),
        "list_models": maintenance.list_models,
        "select": lambda: maintenance.select([URL]),
        "select, a path": lambda: maintenance.select(["./x"]),
        "maintenance.verify": maintenance.verify,
        "maintenance.verify, repair": lambda: maintenance.verify(repair=True),
        "project.add": lambda: project.add("new", URL),
        "project.lock": project.lock,
        "project.sync": project.sync,
        "remove": lambda: [maintenance.remove(model) for model in maintenance.select([URL])],
    }


def observe(name: str, call: Call) -> None:
    """Make a call, and print what leaves it unless it is a ResolverError."""
    signal.alarm(TIMEOUT_S)
    try:
        call()
    except ResolverError:
        pass
    except BaseException as error:
        frames = [one for one in traceback.extract_tb(error.__traceback__) if "/tfimm_resolver/" in one.filename]
        where = f"{frames[-1].filename.rpartition('/tfimm_resolver/')[2]}:{frames[-1].lineno}" if frames else "?"
        print(f"{name}: {type(error).__name__}: {str(error)[:100]!r} at {where}", file=sys.__stdout__)
    finally:
        signal.alarm(0)


class Circumstances:
    """Each method runs every call while something is wrong."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._pristine = folder, folder.with_name(f"{folder.name}.pristine")
        shutil.copytree(folder, self._pristine, symlinks=True)

    def restore(self) -> None:
        """Put the files back as they were before the first call."""
        os.chdir("/")
        shutil.rmtree(self._folder)
        shutil.copytree(self._pristine, self._folder, symlinks=True)
        os.chdir(self._folder)

    def run(self, name: str, before: Call, after: Call = lambda: None, *, skip: str = " nothing") -> None:
        """Make every call between ``before`` and ``after``, from the same files, except those whose name contains ``skip``."""
        for call_name, call in list_calls(self._folder).items():
            if skip in call_name:
                continue
            self.restore()
            before()
            try:
                observe(f"{call_name} [{name}]", call)
            finally:
                after()

    def nothing(self) -> None:
        """Nothing is wrong, so that only calls which cannot succeed raise an error."""
        self.run("nothing", lambda: None)

    def files(self) -> None:
        """No more files can be opened."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        for more in (0, 1, 2, 3, 5, 8):
            limit = max(map(int, os.listdir("/proc/self/fd"))) + 1 + more
            self.run(
                f"{more} more files",
                lambda limit=limit: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard)),  # type: ignore[misc]
                lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
            )

    def sizes(self) -> None:
        """Files cannot grow, as on a full disk."""
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        for size in (0, 10, 600):
            self.run(
                f"{size} bytes",
                lambda size=size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, -1)),  # type: ignore[misc]
                lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1)),
            )

    def threads(self) -> None:
        """No more threads can be started."""
        start = threading.Thread.start

        def refuse(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        self.run(
            "no threads",
            lambda: setattr(threading.Thread, "start", refuse),
            lambda: setattr(threading.Thread, "start", start),
        )

    def working_directory(self) -> None:
        """The working directory was removed, and settings are relative paths."""

        def leave() -> None:
            os.mkdir("gone")
            os.chdir("gone")
            os.rmdir(self._folder / "gone")

        self.run("no working directory", leave)
        for name in ("TFHUB_CACHE_DIR", "TFIMM_HOME", "TFIMM_HUB_DIR", "TFIMM_MODELS_FILE", "TFIMM_RESOLVER_HOSTS_FILE"):
            value = os.environ.get(name)
            os.environ[name] = "relative"
            self.run(f"no working directory, {name}", leave)
            del os.environ[name]
            if value is not None:
                os.environ[name] = value

    def list_targets(self) -> Iterator[Path]:
        """Yield the files and directories that calls use."""
        root, weights = self._folder / "TFHUB_CACHE_DIR", self._folder / "TFIMM_HUB_DIR/checkpoints"
        entry = Path(tfimm_resolver.resolve(URL))
        yield from (root, entry, root / f"{entry.name}.descriptor.txt", root / f"{entry.name}.lock", entry / "saved_model.pb")
        yield from (self._folder / "TFIMM_HOME", self._folder / "TFIMM_HOME/named", weights.parent, weights)
        for below in sorted(weights.iterdir()):
            yield below
            yield from sorted(below.iterdir()) if below.is_dir() else ()
        for name in (
            "repo",
            "repo/hubconf.py",
            "b.tar",
            "o.tar",
            "x.npz",
            "new",
            "tfimm-models.toml",
            "files",
            "files/h/m.tar.gz",
        ):
            yield self._folder / name

    def replaced(self) -> None:
        """A file or a directory is something else."""
        makers: dict[str, Callable[[Path], object]] = {
            "missing": lambda _: None,
            "file": lambda path: path.write_bytes(b"x"),
            "directory": lambda path: path.mkdir(),
            "pipe": os.mkfifo,
            "loop": lambda path: path.symlink_to(path.name),
        }

        def replace(path: Path, make: Callable[[Path], object]) -> None:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            make(path)

        for path in list(self.list_targets()):
            for kind, make in makers.items():
                if kind != "pipe" or path.suffix != ".tar":  # a bundle may be a pipe, which waits for its other end
                    change = functools.partial(replace, path, make)
                    self.run(f"{path.relative_to(self._folder)} is a {kind}", change, skip="relative")

    def permissions(self) -> None:
        """Another user may not read or write a file or a directory."""
        exec(IMPORT_PACKAGE, {})  # and what the calls import, which the other user may not be able to read
        for call in list_calls(self._folder).values():
            with contextlib.suppress(ResolverError):
                call()
        for path in list(self.list_targets()):
            if not path.exists():
                continue
            for mode in (0, 0o300, 0o500):

                def restrict(path: Path = path, mode: int = mode) -> None:
                    for parent, _, names in os.walk(self._folder):
                        for one in (parent, *(f"{parent}/{name}" for name in names)):
                            os.chown(one, NOBODY, NOBODY)
                    path.chmod(mode)
                    os.setegid(NOBODY)
                    os.seteuid(NOBODY)

                def regain() -> None:
                    os.seteuid(0)
                    os.setegid(0)

                self.run(f"{path.relative_to(self._folder)} has mode {mode:o}", restrict, regain, skip="relative")


VALUES = [
    *("", " ", "\0", "a\0b", "\udce4", "x\ud800", "a" * 300, "a/" * 3000, "a" * 70_000, "~nobody", "file", "file/below"),
    *("dir", "loop", "loop/x", "dangling", "/dev/null", "\n", "#sha256=", f"x#sha256={'0' * 64}", "file://", "file:///%00", "ftp://x"),
    *("https://", "https://h", "https://[", "hf://", "gs://", "s3://b", "kaggle://", "github://a", "https://h/\ud800"),
    *("https://h/\udce4.tar.gz", "http://h:99999999/x", "http://h:x/", "https://h/" + "a" * 10_000, "١", "https://h/x.npz"),
    *(None, 0, 1.5, b"bytes", b"\xff", [], {}, object(), Path("file"), True, io.StringIO("text"), io.BytesIO(b"bytes")),
]  # fmt: skip


def with_dir(set_dir: Callable[[object], object], call: Call) -> Callable[[object], object]:
    """Return a function that makes a call with a directory set."""

    def run(value: object) -> object:
        try:
            set_dir(value)
            return call()
        finally:
            set_dir(None)

    return run


def with_using(**names: str) -> Callable[[object], object]:
    """Return a function that resolves in ``using`` with one argument replaced by the value."""

    def run(value: object) -> object:
        options = {"dir": value} if "dir" in names else {"models": {"m": value}}
        with tfimm_resolver.using(**options):  # type: ignore[arg-type]
            return tfimm_resolver.resolve("m" if "models" in names else URL)

    return run


def subscribe(value: object) -> object:
    """Subscribe to events and end the subscription; a TypeError says that the value is not a function."""
    try:
        subscription = tfimm_resolver.on_event(value)  # type: ignore[arg-type]
    except TypeError as error:
        if "callback" in str(error):
            return None
        raise
    with subscription:
        return None


def list_functions() -> dict[str, Callable[[object], object]]:
    """Return the public functions, each as a function of one argument that may have any value.

    Keys begin with the name of the function as in ``tests/data/public_api.txt``.
    """
    r, h, m = tfimm_resolver, hub, maintenance
    functions: dict[str, Callable[..., object]] = {
        "resolve": r.resolve,
        "resolve sha256": lambda value: r.resolve(URL, sha256=value),
        "resolve refresh": lambda value: r.resolve(URL, refresh=value),
        "cached_model_path": r.cached_model_path,
        "clear_model_cache": r.clear_model_cache,
        "set_model_cache": lambda value: r.set_model_cache(value, "file"),
        "set_model_cache path": lambda value: (r.set_model_cache("m", value), r.cached_model_path("m"), r.resolve("m")),
        "cached": lambda _: r.cached(),
        "cached filters": lambda value: r.cached(filters=value),
        "get_dir": lambda _: r.get_dir(),
        "list_cached_models": lambda _: r.list_cached_models(),
        "set_dir": with_dir(r.set_dir, lambda: (r.resolve(URL), m.list_models(), r.resolve("name"))),
        "using": with_using(dir=""),
        "using models": with_using(models=""),
        "register": lambda _: r.register(),
        "unregister": lambda _: (r.unregister(), r.register()),
        "integrations.register": lambda _: integrations.register(),
        "integrations.unregister": lambda _: (integrations.unregister(), integrations.register()),
        "hub.download_url_to_file": lambda value: h.download_url_to_file(value, "x"),
        "hub.download_url_to_file dst": lambda value: h.download_url_to_file(WEIGHTS, value),
        "hub.download_url_to_file hash_prefix": lambda value: h.download_url_to_file(WEIGHTS, "x", hash_prefix=value),
        "hub.get_dir": lambda _: h.get_dir(),
        "hub.set_dir": with_dir(h.set_dir, lambda: (h.get_dir(), h.load_state_dict_from_url(WEIGHTS))),
        "hub.set_dir list": with_dir(h.set_dir, lambda: h.list("a/b")),
        "hub.help": lambda value: h.help(value, "net"),
        "hub.help model": lambda value: h.help("a/b", value),
        "hub.list": h.list,
        "hub.list trust_repo": lambda value: h.list("a/b", trust_repo=value),
        "hub.load": lambda value: h.load(value, "net"),
        "hub.load local": lambda value: h.load(value, "net", source="local"),
        "hub.load model": lambda value: h.load("repo", value, source="local"),
        "hub.load source": lambda value: h.load("a/b", "net", source=value),
        "hub.load_saved_model_from_url": h.load_saved_model_from_url,
        "hub.load_saved_model_from_url dir": lambda value: h.load_saved_model_from_url("https://h/x.keras", value),
        "hub.load_state_dict_from_url": h.load_state_dict_from_url,
        "hub.load_state_dict_from_url dir": lambda value: h.load_state_dict_from_url(WEIGHTS, value),
        "hub.load_state_dict_from_url name": lambda value: h.load_state_dict_from_url(WEIGHTS, file_name=value),
        "bundles.import_": bundles.import_,
        "bundles.read": bundles.read,
        "bundles.write": lambda value: bundles.write([value], "o.tar"),
        "bundles.import_ sha256": lambda value: bundles.read("b.tar", sha256=value),
        "bundles.export": lambda value: bundles.write([value], "o.tar"),
        "bundles.export into": lambda value: bundles.write([], value),
        "maintenance.list_models": lambda _: m.list_models(),
        "maintenance.list": lambda _: m.list(),
        "maintenance.select": lambda value: m.select([value]),
        "maintenance.verify": lambda value: m.verify([value]),
        "maintenance.remove list": lambda value: m.remove([value]),
        "project.add": lambda value: project.add(value, URL),
        "project.add handle": lambda value: project.add("m", value),
        "project.add mirror": lambda value: project.add("m", URL, mirrors=[value]),
        "project.lock": lambda value: project.lock([value]),
        "project.sync": lambda value: project.sync([value]),
        "maintenance.remove": m.remove,
        "inspect": r.inspect,
        "on_event": subscribe,
        "hub.list_trusted": lambda _: h.list_trusted(),
        "hub.revoke_trust": h.revoke_trust,
        "maintenance.adopt": m.adopt,
        "maintenance.make_sbom": m.make_sbom,
        "maintenance.measure": lambda _: m.measure(),
        "maintenance.sign": lambda value: m.sign(value, "key.pem"),
        "maintenance.sign key": lambda value: m.sign("model", value),
        "integrations.serving.publish": lambda value: serving.publish(value, "published"),
        "integrations.serving.publish directory": lambda value: serving.publish(URL, value),
        "integrations.serving.publish layout": lambda value: serving.publish(URL, "published", layout=value),
        "integrations.serving.publish version": lambda value: serving.publish(URL, "p", layout="tf-serving", version=value),
        "integrations.serving.publish keep": lambda value: serving.publish(URL, "p", layout="tf-serving", keep=value),
        "integrations.serving.write_models_config": lambda value: serving.write_models_config(value, ["m"]),
        "integrations.serving.write_models_config names": lambda value: serving.write_models_config("p", value),
        "maintenance.keep": m.keep,
        "maintenance.unkeep": m.unkeep,
        "maintenance.prune max_size": lambda value: m.prune(max_size=value),
        "maintenance.prune max_age": lambda value: m.prune(max_age=value),
        "maintenance.prune keep": lambda value: m.prune(keep=value),
        "maintenance.prune dry_run": lambda value: m.prune(dry_run=value),
        "sources.Handle.parse": Handle.parse,
        "sources.Handle.parse sha256": lambda value: Handle.parse("https://h", sha256=value),
    }
    return functions


def try_values(folder: Path) -> None:
    """Call every public function with every value, in every argument that a caller may get wrong."""
    (folder / "file").touch()
    (folder / "dir").mkdir()
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere")
    os.environ["TFIMM_RESOLVER_OFFLINE"] = "1"
    for name, function in list_functions().items():
        for value in VALUES:
            if name == "bundles.export into" and isinstance(value, io.StringIO):
                continue  # the stream's own TypeError
            observe(f"{name}({value!r:.60})", functools.partial(function, value))
            tfimm_resolver.clear_model_cache("m")


def time_out(*_: object) -> None:
    """End a call that waits."""
    raise RuntimeError("the call does not end")


def main(circumstance: str, folder: Path) -> None:
    """Run one of the circumstances, or all values."""
    signal.signal(signal.SIGALRM, time_out)
    prepare(folder)
    if circumstance == "values":
        return try_values(folder)
    return getattr(Circumstances(folder), circumstance)()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).resolve())
