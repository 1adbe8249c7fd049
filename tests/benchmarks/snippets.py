"""The code of the measured processes: each job once with this package and once with plain tensorflow_hub."""

MODEL = """
import pathlib, sys
import numpy
tree, size_mb, shards = pathlib.Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
random = numpy.random.default_rng(0)
variables = tree / "variables"
variables.mkdir(parents=True)
(tree / "saved_model.pb").write_bytes(b"a graph")
(variables / "variables.index").write_bytes(b"an index")
for shard in range(shards):
    weights = random.standard_normal(int(size_mb * 1e6 / shards / 4), numpy.float32)
    weights.tofile(variables / f"variables.data-{shard:05}-of-{shards:05}")
"""

LOADED = """
import sys
import tfimm_resolver
print(*(name for name in sys.argv[1:] if name in sys.modules))
"""

_MEMORY = """
def memory_kib(what):
    return int(re.search(what + r":\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
at_import_kib = memory_kib("VmRSS")
"""

_WARM = """
import statistics, sys, timeit
from {package} import resolve
{check}
handle, calls = sys.argv[1], int(sys.argv[2])
runs = timeit.repeat(lambda: resolve(handle), number=calls, repeat={repeats})
print(statistics.median(runs) / calls)
"""

_COLD = """
import pathlib, re, sys, time
from {package} import resolve
{check}
{memory}
started_s = time.perf_counter()
path = resolve(sys.argv[1])
seconds = time.perf_counter() - started_s
print(seconds, (memory_kib("VmHWM") - at_import_kib) * 1024, path)
"""

_SMALL = """
import statistics, sys, time
from {package} import resolve
{check}
handle, downloads = sys.argv[1], int(sys.argv[2])
times = []
for number in range(downloads):
    started_s = time.perf_counter()
    path = resolve(handle.replace("/model/", f"/model-{{number}}/"))
    times.append((time.perf_counter() - started_s) * 1e3)
print(times[0], statistics.median(times[1:]), path)
"""

IMPORT_HTTP_LIBRARY = """
import time
started_s = time.perf_counter()
import urllib3
print((time.perf_counter() - started_s) * 1e3)
"""

_UPLOAD = """
import pathlib, re, sys, time
{package}
tree, url = pathlib.Path(sys.argv[1]), sys.argv[2]
{known}
{memory}
started_s = time.perf_counter()
{action}
seconds = time.perf_counter() - started_s
print(seconds, (memory_kib("VmHWM") - at_import_kib) * 1024, path)
"""

_PACKAGES = {
    "ours": {"package": "tfimm_resolver", "check": ""},
    "peer": {"package": "tensorflow_hub", "check": "assert 'tfimm_resolver' not in sys.modules"},
}

IMPORT = {"bare": "import site", "ours": "import site, tfimm_resolver", "peer": "import site, tensorflow_hub"}
RESOLVE = "import sys, tfimm_resolver; tfimm_resolver.resolve(sys.argv[1])"
RESOLVE_AND_PRINT = "import sys, tensorflow_hub; print(tensorflow_hub.resolve(sys.argv[1]))"
PROCESSOR_TIME = """
import sys, time, timeit
from tfimm_resolver import resolve
handle, calls = sys.argv[1], int(sys.argv[2])
runs = timeit.repeat(lambda: resolve(handle), timer=time.process_time, number=calls, repeat=9)
print(min(runs) / calls)
"""
"""Of a hit; the least of several runs, so that a version can be compared with another one on a busy machine."""

WARM_REPEATS = 5
WARM = {side: _WARM.format(**words, repeats=WARM_REPEATS) for side, words in _PACKAGES.items()}
COLD = {side: _COLD.format(**words, memory=_MEMORY) for side, words in _PACKAGES.items()}
SMALL = {side: _SMALL.format(**words) for side, words in _PACKAGES.items()}
CURL = 'mkdir "$2" && curl -s "$1" | tar xz -C "$2"'

_UPLOADERS = {
    "ours": {
        "package": """
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX, Record, hash_tree
from tfimm_resolver.manifest import Origin
from tfimm_resolver.cache.roots import open_bucket
from tfimm_resolver.cache.bucket_root import PreparedStaging
""",
        "known": "files = hash_tree(str(tree))",
        "action": """
name = "0" * 40
root, none = open_bucket(url, PreparedStaging(tree, tree)), Record("", name)
record = root.publish(tree, Record("", name, "", Origin(), files), none)
root.write(name + DESCRIPTOR_SUFFIX, record.to_text())
path = root.path_of(record.tree)
""",
    },
    "peer": {
        "package": "import tensorflow as tf",
        "known": "",
        "action": """
path = url + "/model"
for file in sorted(tree.rglob("*")):
    if file.is_file():
        tf.io.gfile.copy(str(file), f"{path}/{file.relative_to(tree).as_posix()}", overwrite=True)
""",
    },
}
UPLOAD = {side: _UPLOAD.format(**words, memory=_MEMORY) for side, words in _UPLOADERS.items()}

RELEASED = """
import sys, time
from tfimm_resolver import resolve
print("ready", flush=True)
sys.stdin.read()
path = resolve(sys.argv[1])
print(time.monotonic(), path)
"""

CROWD = """
import sys
from pathlib import Path
from tfimm_resolver.cache.cache import Cache, entry_name_for_key
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.manifest import Origin
from tfimm_resolver.cache.record import Record, hash_tree
from tfimm_resolver.cache.roots import open_root
root, models = Path(sys.argv[1]), int(sys.argv[2])
files = {"saved_model.pb": b"a graph", "variables/variables.index": b"an index"}
files["variables/variables.data-00000-of-00001"] = b"weights " * 100
measured = ()
for number in range(models):
    handle = Handle.parse(f"https://tfhub.dev/google/model-{number}/1")
    tree = root / entry_name_for_key(handle.key)
    (tree / "variables").mkdir(parents=True)
    for path, data in files.items():
        (tree / path).write_bytes(data)
    measured = measured or hash_tree(str(tree))
    record = Record(handle.redacted, tree.name, "2026-01-01T00:00:00.000000Z", Origin(handle.redacted), measured)
    # Written directly, as the root would flush the disk for every record.
    tree.with_suffix(".descriptor.txt").write_text(record.to_text())
cache = Cache(open_root(str(root)))
assert all(entry.defect is None and entry.record.files == measured for entry in cache.entries())
"""

SAVE = """
import sys
import tensorflow as tf
path, size_mb, layers = sys.argv[1], float(sys.argv[2]), 12
class Model(tf.Module):
    def __init__(self):
        self.weights = [tf.Variable(tf.random.normal([int(size_mb * 1e6 / 4 / layers / 1000), 1000])) for _ in range(layers)]
    @tf.function(input_signature=[tf.TensorSpec([None, 1000])])
    def __call__(self, x):
        return [tf.linalg.matvec(weight, x) for weight in self.weights]
tf.saved_model.save(Model(), path)
"""

LOAD = """
import sys, time
import tensorflow as tf
from tfimm_resolver import load
path, pairs = sys.argv[1], int(sys.argv[2])
def seconds(read):
    started_s = time.perf_counter()
    model = read(path)
    return time.perf_counter() - started_s
for turn in range(-1, pairs):  # the first turn warms the disk cache and TensorFlow
    sides = [load, tf.saved_model.load]
    times = {read: seconds(read) for read in (sides if turn % 2 else sides[::-1])}
    if turn >= 0:
        print(*(times[read] for read in sides))
"""

UNDER_WAY = """
from tfimm_resolver.transfer import download
from tfimm_resolver import settings
print(download.RANGE_BYTES * settings.connections())
"""

_LIMIT = """
import hashlib, os, pathlib, shutil, sys, time
import requests
from isal import isal_zlib
archive, weights, copy, url = *map(pathlib.Path, sys.argv[1:4]), sys.argv[4]
packed_bytes, weights_bytes = archive.stat().st_size, weights.stat().st_size
def read_chunks(path, size_bytes):
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(size_bytes):
            yield chunk
def hash_all(path):
    sha256 = hashlib.sha256()
    for chunk in read_chunks(path, 1 << 20):
        sha256.update(chunk)
def write_all():
    with copy.open("wb", buffering=0) as file:
        for start in range(0, weights_bytes, 1 << 20):
            file.write(data[start : start + (1 << 20)])
        yield file
{before}
started_s = time.perf_counter()
{step}
seconds = time.perf_counter() - started_s
assert {check}
print(seconds)
"""

_STEPS = {
    "archive copied, file to file": ("", "shutil.copyfile(archive, copy)", "copy.stat().st_size == packed_bytes"),
    "received by requests, loopback": (
        "received = 0",
        """
response = requests.get(url, stream=True, headers={"Accept-Encoding": "identity"})
while chunk := response.raw.read(1 << 18):
    received += len(chunk)
""",
        "received == packed_bytes",
    ),
    "inflated by isal": (
        "inflater, received = isal_zlib.decompressobj(wbits=31), 0",
        """
for chunk in read_chunks(archive, 1 << 18):
    received += len(inflater.decompress(chunk))
""",
        "inflater.eof and received > weights_bytes",
    ),
    "sha256 of the archive": ("", "hash_all(archive)", "True"),
    "sha256 of the weights": ("", "hash_all(weights)", "True"),
    "weights written": (
        "data = memoryview(weights.read_bytes())",
        "for file in write_all(): pass",
        "copy.stat().st_size == weights_bytes",
    ),
    "weights written and synced": (
        "data = memoryview(weights.read_bytes())",
        "for file in write_all(): os.fsync(file.fileno())",
        "copy.stat().st_size == weights_bytes",
    ),
}
LIMITS = {name: _LIMIT.format(before=before, step=step, check=check) for name, (before, step, check) in _STEPS.items()}
