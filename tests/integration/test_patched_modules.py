"""Works where other packages replace modules of the standard library: gevent, eventlet, freezegun, pyfakefs."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, tar_gz
from tests.fakes.faults.origin import Host, Response, answer_with
from tests.fakes.processes import run
from tfimm_resolver.cache.cache import entry_name_for_key

pytestmark = pytest.mark.timeout(120)

LARGE = tar_gz({**MODEL, "assets/noise": random.Random(3).randbytes(20 << 20)})  # several ranges

GREEN = """
    import sys, warnings
    warnings.simplefilter("ignore")  # eventlet advises against itself
    {patch}
    import tfimm_resolver
    ticks, ended = 0, False
    def tick():
        global ticks
        while not ended:
            ticks += 1
            sleep(0.01)
    ticking = spawn(tick)
    calls = [spawn(tfimm_resolver.resolve, sys.argv[1]) for _ in range(4)]
    paths = {{get(call) for call in calls}}
    ended = True
    print(len(paths), ticks)
"""
GEVENT = "import gevent; from gevent import monkey; spawn, sleep, get = gevent.spawn, gevent.sleep, gevent.Greenlet.get; "
EVENTLET = "import eventlet; spawn, sleep, get = eventlet.spawn, eventlet.sleep, lambda thread: thread.wait(); "

PATCHES = {
    "gevent": GEVENT + "monkey.patch_all()",
    "gevent, after the import": GEVENT + "import tfimm_resolver.resolution.fetching, tfimm_resolver.http; monkey.patch_all()",
    "gevent, threads of the system": GEVENT + "monkey.patch_all(thread=False)",
    "gevent, as grequests": GEVENT + "monkey.patch_all(thread=False, select=False)",
    "eventlet": EVENTLET + "eventlet.monkey_patch()",
    "eventlet, threads of the system": EVENTLET + "eventlet.monkey_patch(thread=False)",
}


def pause(response: Response) -> None:
    """Send the body slowly enough that other greenlets run meanwhile."""
    response.pause_s = 0.002


@pytest.mark.parametrize("patch", PATCHES)
def test_greenlets_get_one_model_by_one_download_while_others_go_on(patch: str) -> None:
    with Host() as host:
        url = host.put("/m.tar.gz", LARGE, pause)
        paths, ticks = run(GREEN.format(patch=PATCHES[patch]), url).split()
        assert host.count_resent_bytes() == 0
    assert paths == "1" and int(ticks) > 5  # one or two if a call blocks the others, hundreds on a quiet machine


FROZEN = """
    import sys
    from freezegun import freeze_time
    import tfimm_resolver
    with freeze_time("2012-01-14"):
        for refresh in (False, False, True):
            print(tfimm_resolver.resolve(sys.argv[1], refresh=refresh))
        print(tfimm_resolver.resolve(sys.argv[2]))
"""


def test_waits_end_under_a_frozen_clock(cache_dir: Path) -> None:
    """The first answer asks for a pause; the lock of the second model has an owner elsewhere, which does nothing."""
    cache_dir.mkdir()
    with Host() as host:
        url, held = host.put("/m.tar.gz", tar_gz(), answer_once_busy), host.put("/held.tar.gz", tar_gz())
        lock = cache_dir / f"{entry_name_for_key(held)}.lock"
        lock.write_text("elsewhere.1.soft-1-abcdef01-0123456789abcdef")
        output = run(FROZEN, url, held, TFIMM_RESOLVER_LOCK_TIMEOUT_S="1", timeout_s=60).split()
    assert len(output) == 4 and len({*output[:3]}) == 1


def answer_once_busy(response: Response) -> None:
    """Ask for a pause of a second in the first answer."""
    if response.number == 1:
        answer_with(503, Retry_After="1")(response)


FAKE_FILES = """
    import os, sys
    import tfimm_resolver, tfimm_resolver.transfer
    from pyfakefs.fake_filesystem_unittest import Patcher
    with Patcher():
        os.makedirs("/models/dense/variables")
        for name in ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"):
            open(f"/models/dense/{name}", "w").write("x")
        assert tfimm_resolver.resolve("/models/dense") == "/models/dense"
        tfimm_resolver.set_model_cache("dense", "/models/dense")
        assert tfimm_resolver.resolve("dense") == "/models/dense"
        path = tfimm_resolver.resolve(sys.argv[1])
        print(sorted(os.listdir(path)) == sorted(os.listdir(tfimm_resolver.resolve(sys.argv[1]))), os.path.exists(path))
"""


def test_a_fake_file_system_is_used_and_nothing_is_written_to_the_real_one(cache_dir: Path) -> None:
    with Host() as host:
        assert run(FAKE_FILES, host.put("/m.tar.gz", tar_gz())) == "True True"
    assert not cache_dir.exists()


REPLAY = """
    import io, os, sys
    import urllib3, urllib3.connection
    class Replay(urllib3.connection.HTTPConnection):
        def connect(self):
            pass
        def request(self, method, url, **_):
            print(method, url)
        def getresponse(self):
            body = open(sys.argv[1], "rb").read()
            headers = {"Content-Length": str(len(body))}
            return urllib3.HTTPResponse(io.BytesIO(body), headers, 200, preload_content=False)
    urllib3.connection.HTTPConnection = Replay
    import tfimm_resolver
    print(sorted(os.listdir(tfimm_resolver.resolve("http://models.invalid/m.tar.gz"))))
"""


def test_recorded_responses_can_be_replayed(tmp_path: Path) -> None:
    """vcrpy and similar packages replace the connections of urllib3 by ones that send nothing."""
    (tmp_path / "m.tar.gz").write_bytes(tar_gz())
    request, names = run(REPLAY, str(tmp_path / "m.tar.gz")).splitlines()
    assert request.startswith("GET") and "saved_model.pb" in names
