"""What the measured processes run: each job once with this package, once with plain tensorflow_hub, and what both need."""

ARCHIVE = """
import io, sys, tarfile
import numpy
target, content, size_mb, shards = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
random = numpy.random.default_rng(0)
floats = int(size_mb * 1e6 / shards / 4)
with tarfile.open(target, "w:gz", compresslevel=1) as archive:
    def put(name, data):
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    put("saved_model.pb", b"a graph")
    folder = tarfile.TarInfo("variables")  # tensorflow_hub makes no directory that has no member
    folder.type = tarfile.DIRTYPE
    archive.addfile(folder)
    put("variables/variables.index", b"an index")
    for shard in range(shards):
        data = random.bytes(4 * floats) if content == "bits" else random.standard_normal(floats, numpy.float32).tobytes()
        put(f"variables/variables.data-{shard:05}-of-{shards:05}", data)
"""

LOADED = """
import sys
import tfimm_resolver
print(*(name for name in sys.argv[1:] if name in sys.modules))
"""

_WARM = """
import statistics, sys, timeit
from {package} import resolve
{check}
handle, calls = sys.argv[1], int(sys.argv[2])
runs = timeit.repeat(lambda: resolve(handle), number=calls, repeat=5)
print(statistics.median(runs) / calls)
"""

_COLD = """
import resource, sys, time
from {package} import resolve
{check}
at_import = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started_s = time.perf_counter()
path = resolve(sys.argv[1])
seconds = time.perf_counter() - started_s
grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - at_import
print(seconds, grown_kib * 1024, path)
"""

_PACKAGES = {
    "ours": {"package": "tfimm_resolver", "check": ""},
    "peer": {"package": "tensorflow_hub", "check": "assert 'tfimm_resolver' not in sys.modules"},
}

IMPORT = {"bare": "import site", "ours": "import site, tfimm_resolver", "peer": "import site, tensorflow_hub"}
RESOLVE_AND_PRINT = "import sys, tensorflow_hub; print(tensorflow_hub.resolve(sys.argv[1]))"
WARM = {side: _WARM.format(**words) for side, words in _PACKAGES.items()}
COLD = {side: _COLD.format(**words) for side, words in _PACKAGES.items()}
