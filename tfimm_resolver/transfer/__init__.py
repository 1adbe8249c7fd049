"""Downloads archives and files, unpacks them while they arrive, and notes their origin."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfimm_resolver.transfer.downloader import Downloader
else:
    from tfimm_resolver._util.lazy import export_lazily, forward

    _get, __dir__ = export_lazily(__name__, {"Downloader": "tfimm_resolver.transfer.downloader"})
    __getattr__ = forward(
        __name__, "tfimm_resolver.transfer.downloader", {"Transfer": "Downloader"}, public=__name__, others=_get
    )


__all__ = [
    "Downloader",
]
