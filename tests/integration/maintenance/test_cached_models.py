"""What users of Python and notebooks see of a cache: ``maintenance.cached_models``, ``tfimm_resolver.maintenance.views``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fakes.archives import tar_gz
from tests.fakes.full_cache import FullCache
from tests.fakes.light_start import HEAVY
from tests.fakes.origin import Origin
from tests.fakes.processes import run
from tfimm_resolver import maintenance, resolve, set_dir
from tfimm_resolver.cache import keeping
from tfimm_resolver.errors import CacheError, HandleError
from tfimm_resolver.maintenance import inventory
from tfimm_resolver.maintenance.cache_item import CacheItem
from tfimm_resolver.maintenance.cached_model import CachedModel
from tfimm_resolver.maintenance.cached_models import CachedModels, cached
from tfimm_resolver.maintenance.verification import VerifyResult, VerifyResults

EVIL = "</td><script>alert('x')</script>\nok\u202e\x1b[31m https://ada:hunter22@h/m"


def test_the_list_is_that_of_the_command_with_its_filters_and_orders(full: FullCache) -> None:
    assert full and [*cached()] == inventory.list_models()
    for filters, sort in (("kind=model", "size"), (["size>1B", "!kept"], "used")):
        assert [*cached(filters=filters, sort=sort)] == inventory.list_models(filters=filters, sort=sort)
    with pytest.raises(HandleError, match="filter 'nonsense' is not known"):
        cached(filters="nonsense")


def test_it_is_a_sequence_that_does_not_change(handle: str, origin: Origin) -> None:
    models = cached()
    other = origin.put("/other.tgz", tar_gz())
    resolve(other)
    assert len(models) == 1 and models[0] in models and models[0].handle == handle
    both = cached()
    assert [model.name for model in both[1:]] == [other] and isinstance(both[1:], CachedModels)
    assert both[:1] == models and both != models and hash(both[:1]) == hash(models) and models != [*models]
    with pytest.raises(IndexError):
        _ = models[1]
    with pytest.raises(TypeError):
        models[0] = models[0]  # type: ignore[index]


def test_functions_that_take_names_take_it(handle: str) -> None:
    assert handle and [result.state for result in maintenance.remove(cached(filters="size>1B"))] == ["removed"]
    assert len(cached()) == 0 and repr(cached()).startswith("0 models, 0 B in ")


def test_filters_that_match_nothing_do_not_mean_everything(handle: str) -> None:
    nothing = cached(filters="size>1TB")
    assert handle and len(nothing) == 0
    assert maintenance.select(nothing) == maintenance.verify(nothing) == maintenance.remove(nothing) == []
    assert maintenance.keep(nothing) == maintenance.unkeep(nothing) == []
    assert [result.state for result in maintenance.verify(cached())] == ["ok"]


def test_it_is_printed_as_a_table(handle: str, cache_dir: Path) -> None:
    maintenance.keep(handle)
    summary, head, row = repr(cached()).splitlines()
    assert summary == f"1 model, 17 B in {cache_dir}" or summary.endswith(f" in {cache_dir}")
    assert head.split() == ["MODEL", "SIZE", "USED", "STATE"]
    assert row.startswith(handle) and row.endswith("just now  ok (kept)")
    assert head.index("STATE") == row.index("ok (kept)") and head.index("USED") == row.index("just now")


def test_a_notebook_shows_exact_times_and_paths(handle: str) -> None:
    page = cached()._repr_html_()
    assert resolve(handle) in page and re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", page) and "ago" not in page


def test_damage_is_seen_at_once(handle: str) -> None:
    Path(resolve(handle), "saved_model.pb").write_bytes(b"")
    assert re.search(r'<span style="color:[^"]*">damaged</span>', cached()._repr_html_())


def find_markup(page: str) -> set[str]:
    """Return the elements of a page that none of our tables has, and the attributes."""
    elements = set(re.findall(r"<(\w+)", page)) - {"div", "table", "tr", "td", "span"}
    return elements | set(re.findall(r"<[^>]* (\w+)=", page)) - {"style"}


def test_names_of_directories_stay_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "<img src=x onerror=alert(1)>" / "models"
    (folder / "<b>lion<b>").mkdir(parents=True)
    (folder / "<b>lion<b>" / "saved_model.pb").write_bytes(bytes.fromhex("080112090a072205") + b"serve")
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(folder))
    set_dir(folder)
    assert [model.name for model in cached()] == ["<b>lion<b>"]
    for view in (cached(), maintenance.measure(), maintenance.prune(dry_run=True), maintenance.verify()):
        assert find_markup(view._repr_html_()) == set()


def test_hostile_texts_stay_text_in_every_view() -> None:
    model, item = CachedModel(EVIL, EVIL, 1, EVIL, 1.0, other_root=EVIL), CacheItem(EVIL, EVIL, EVIL, 1, 1.0)
    results = VerifyResults([VerifyResult(model, "damaged", (EVIL, EVIL), error=CacheError(EVIL))])
    views = (
        CachedModels([model]),
        maintenance.CacheUsage(EVIL, (item,), 1, 1, EVIL),
        maintenance.PruneResult((item,), {EVIL: 1}, missing_bytes=1),
        results,
    )
    for view in views:
        page = view._repr_html_()
        assert find_markup(page) == set() and not set(page) & {"\u202e", "\x1b"} and "hunter22" not in page
        assert "&lt;script&gt;" in page, "it is shown as it is"
    assert len(repr(views[0]).splitlines()) == 3 and not set(repr(views[0])) & {"\u202e", "\x1b"}


def test_the_other_results_are_shown_with_their_sums_and_reasons(full: FullCache) -> None:
    usage = maintenance.measure()
    page = usage._repr_html_()
    assert full and all(text in page for text in ("partial download", "replaced copy", "repository", "weights", "free on"))
    assert page.count("<tr>") == 1 + len(usage.items)
    pruned = maintenance.prune(dry_run=True)._repr_html_()
    assert "would remove 2 items" in pruned and "partial download" in pruned
    Path(cached(filters="kind=model")[0].path, "saved_model.pb").write_bytes(b"")
    results = maintenance.verify()
    assert isinstance(results, list) and results == [*results]
    page = results._repr_html_()
    assert "1 damaged" in page and "saved_model.pb" in page and page.count("<tr>") >= 1 + len(results)


def test_it_loads_no_heavy_module(handle: str) -> None:
    code = "import sys, tfimm_resolver; page = tfimm_resolver.cached()._repr_html_(); print(len(page)); print(*sys.modules)"
    length, loaded = run(code).splitlines()
    assert handle and int(length) > 100
    assert {*loaded.split()}.isdisjoint(HEAVY - {"socket"}), {*loaded.split()} & HEAVY


def test_what_is_kept_is_marked_only_in_the_cache_itself(handle: str) -> None:
    (model,) = cached()
    assert model.entry is not None
    keeping.set_protected(inventory.open_owner(model).root, model.entry.name, is_protected=True)
    assert handle and "ok (kept)" in repr(cached())
