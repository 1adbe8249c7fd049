"""A cache that holds one of everything: models, a repository and weights of the hub, a replaced copy, a partial download."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.archives import MODEL, tar_gz
from tests.fakes.git_host import GitHost
from tests.fakes.named_models import put_model
from tests.fakes.origin import Origin
from tests.fakes.use_locks import give_up_all
from tfimm_resolver import hub, resolve
from tfimm_resolver.cache.cache import entry_name_for_key

SIZE_BYTES, HOUR_S = 100_000, 3600
FILES = {**MODEL, "assets/large": os.urandom(SIZE_BYTES)}
HUBCONF = "def one():\n    return 1\n"


@dataclass(frozen=True)
class FullCache:
    """What is cached.

    Attributes:
        models: the paths of the models by their handles, the least recently used first.
        repository: the path of the repository, whose name is ``hub:HOST/ada/models:main``.
        weights: the path of the file of weights, whose name is ``hub:w.npz``.
        replaced: the path of the copy of the last model that a refresh has replaced.
        parts: the path of the partial download of a model that is not cached.
        host: the git host of the repository.
    """

    models: dict[str, str]
    repository: str
    weights: str
    replaced: str
    parts: str
    host: GitHost

    @property
    def directories(self) -> list[str]:
        """Every directory, from that which was not used for longest."""
        return [*self.models.values(), self.repository, os.path.dirname(self.weights), self.replaced, self.parts]


def fill_cache(origin: Origin, host: GitHost, cache_dir: Path) -> FullCache:
    """Fetch everything; nothing is in use, and everything was used some hours ago."""
    handles = [origin.put(f"/m{number}.tar.gz", tar_gz(FILES)) for number in range(3)]
    paths = {handle: resolve(handle) for handle in handles}
    replaced = paths[handles[-1]]
    origin.put("/m2.tar.gz", tar_gz({**FILES, "assets/more": b"more"}))
    paths[handles[-1]] = resolve(handles[-1], refresh=True)
    host.repo("ada/models", {"hubconf.py": HUBCONF})
    hub.list("ada/models", trust_repo=True, verbose=False)
    repository = next(str(path) for path in Path(hub.get_dir()).iterdir() if path.is_dir() and path.name.startswith("ada_"))
    parts = cache_dir / f"{entry_name_for_key('x')}.parts"
    put_model(parts, {"0": bytes(2000)})
    full = FullCache(paths, repository, _fetch_weights(origin), replaced, str(parts), host)
    give_up_all()
    for hours, path in zip(range(20, 2, -1), full.directories, strict=False):
        make_old(path, hours * HOUR_S)
    return full


def make_old(path: str, age_s: float) -> None:
    """Set the last use of a directory."""
    used_s = time.time() - age_s
    for other in (*map(str, Path(path).rglob("*")), path):
        os.utime(other, (used_s, used_s))


def _fetch_weights(origin: Origin) -> str:
    import io

    import numpy as np

    out = io.BytesIO()
    np.savez(out, bias=np.zeros(1000))
    hub.load_state_dict_from_url(origin.put("/w.npz", out.getvalue()), progress=False)
    return next(str(path) for path in Path(hub.get_dir(), "checkpoints").rglob("w.npz"))
