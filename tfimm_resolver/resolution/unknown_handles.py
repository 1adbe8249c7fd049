"""Explains why a handle leads to no model: where it was looked for, what is there instead, what was probably meant."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from tfimm_resolver._util.outgoing import show
from tfimm_resolver._util.urls import STORE_ALIASES
from tfimm_resolver.errors import UnknownHandleError
from tfimm_resolver.errors.advice import Advice, Fix, join_advice
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.models_file import discovery
from tfimm_resolver.resolution import named_models, overrides
from tfimm_resolver.sources import local, tensorflow_files
from tfimm_resolver.sources.registry import describe_source, list_schemes

_NAME_FIX = Advice(
    python="Use a URL or a path, or set the path for this name: set_model_cache(name, path).",
    command="Use a URL or a path, or add this name to the models file: tfimm-resolver add NAME HANDLE",
)

_PATH_FIX = "Check the spelling of the path, or use a URL or a model name."

_DENIED_FIX = "Correct the permissions of the directories above it, or ask their owner for a copy."

_SCHEME_FIX = Advice(
    python="Use a URL, a path or a model name; load() also reads what a plug-in has added to TensorFlow.",
    command="Use a URL, a path or a model name.",
)

_HUB, _HUB_FIX = (
    "hub:",
    Advice(
        python="Names that begin with hub: are those of repositories and weights: load them with tfimm_resolver.hub.load().",
        command="Names that begin with hub: are those of repositories and weights: see tfimm-resolver hub --help",
    ),
)
"""How the inventory names what the hub has fetched, which is not a model."""

_LOCAL_DIR = ("local-dir:", "local_dir:")
"""How timm names a local directory."""


def make_unknown_handle_error(handle: Handle) -> UnknownHandleError:
    """Return the error of a handle that no rule matches."""
    if handle.scheme:
        return _make_url_error(handle)
    from tfimm_resolver.handles import slips  # imported for errors only

    looked = [local.find_path(handle)]
    if handle.is_name:
        looked = [*discovery.find_files(), *named_models.list_candidate_paths(handle.text), *looked]
    kind = "named" if handle.is_name else "at path"
    text = f'no model {kind} "{handle}"\n  looked at: {", ".join(map(_describe_path, looked))}'
    similar = overrides.suggest(handle.text, _list_project_names()) if handle.is_name else []
    suggested = similar or ([] if _is_missing_file(handle) else slips.suggest_handles(handle.text))
    defects, fixes = list[str](), list[Fix]()
    for defect, fix in _describe_other_content([*looked, *suggested]):
        defects.append(defect)
        fixes.append(fix)
    if slips.is_windows_path(handle.text) and os.name != "nt":
        fixes.append(_suggest_mounted_path(handle.text))
    elif handle.text.startswith(_HUB):
        fixes.append(_HUB_FIX)
    elif handle.text.startswith(_LOCAL_DIR) and suggested:
        fixes.append(f"Write the path alone, without {handle.text.partition(':')[0]}: {suggested[0]}")
    elif suggested:
        fixes.append(f"Did you mean {' or '.join(suggested)}{'?' if similar else ' ?'}")  # a URL ends before the blank
    if _may_be_bucket(handle, suggested):
        fixes.append(f"A path in a bucket is written gs://{handle.text} or s3://{handle.text}")
    if not fixes:
        fixes += [_DENIED_FIX] * (is_denied := any(map(_is_denied, looked)))
        fixes += [_NAME_FIX] if handle.is_name else [_PATH_FIX] * (not is_denied)
    return UnknownHandleError("\n  ".join([text, *defects]), fix=join_advice(fixes))


def _describe_path(path: str) -> str:
    return f"{show(path)} (Permission denied)" if _is_denied(path) else show(path)


def _is_denied(path: str) -> bool:
    """Whether it cannot be seen if there is a file or directory at a path."""
    try:
        os.stat(path)
    except PermissionError:
        return "://" not in path
    except (OSError, ValueError):
        pass
    return False


def _is_missing_file(handle: Handle) -> bool:
    """Whether a text names an archive that is missing in a directory of this machine, and is not a handle of a host."""
    return handle.is_archive and os.path.isdir(os.path.dirname(local.find_path(handle))) and not handle.is_name


def _make_url_error(handle: Handle) -> UnknownHandleError:
    """Return the error of a URL: its scheme is not known, or the source that has this scheme does not accept the rest."""
    text, source = f'no source handles "{handle}"', describe_source(handle.scheme)
    if source is not None:
        fix = f"Correct the part after {handle.scheme}://; the documentation of its source says which handles it accepts."
        return UnknownHandleError(f"{text}\n  {source} does not accept it", fix=fix)
    return UnknownHandleError(f"{text}\n  known schemes: {', '.join(_list_known_schemes())}", fix=_suggest_scheme(handle))


def _may_be_bucket(handle: Handle, suggested: list[str]) -> bool:
    """Whether a path that does not exist may be one in a bucket: its first part is not a host, nor a directory here."""
    from tfimm_resolver.handles import buckets

    first = handle.text.partition("/")[0]
    if ("." in first and suggested) or os.path.exists(first):
        return False
    return buckets.may_be_bucket(handle.text, is_likely=handle.is_archive or not suggested)


def _describe_other_content(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield what each directory holds instead of a SavedModel, and what to do with it."""
    from tfimm_resolver.saved_model import completeness, recognition

    for path in paths:
        if "://" in path or not os.path.isdir(path):
            continue
        found = recognition.recognize_folder(path)
        if found is not None:
            name, other = found
            yield f"{show(path)} is not a SavedModel, but has {show(name)}: {other.title}", other.advice
        else:
            yield f"{show(path)} is not a complete SavedModel: {show(completeness.find_defect(path))}", ""


def _suggest_mounted_path(text: str) -> str:
    """Return the advice about a path of Windows, where it has no meaning."""
    fix = "This is a path of Windows: give the path under which this system sees the directory"
    if text[1:2] == ":":
        inner = text[3:].replace("\\", "/")
        fix += f", in WSL /mnt/{text[0].lower()}/{inner}"
    return f"{fix}."


def _list_project_names() -> list[str]:
    return [name for file in discovery.find_files() for name in discovery.read_entries(file)]


def _list_known_schemes() -> list[str]:
    """Return the schemes of all sources, and last of the file systems that only TensorFlow reads."""
    return list(dict.fromkeys([*list_schemes(), *tensorflow_files.list_schemes()]))


def _suggest_scheme(handle: Handle) -> Fix:
    import difflib  # 1 ms, worth paying only for an error message

    rest = str(handle).partition("://")[2]
    if len(handle.scheme) == 1:  # no scheme is that short: the letter of a drive
        return _suggest_mounted_path(f"{handle.scheme}:/{rest}")
    if handle.scheme in ("timm", "hf-hub", "hf_hub"):
        return f"Did you mean hf://{rest if '/' in rest else f'timm/{rest}'} ?"
    if handle.scheme in ("git+https", "git+ssh", "ssh", "git"):
        from tfimm_resolver.handles import slips

        if found := slips.suggest_handles(str(handle)):
            return f"Did you mean {found[0]} ?"
    from tfimm_resolver.handles import buckets

    if (other_store := buckets.suggest_other_store(handle.scheme, handle.text)) is not None:
        return other_store
    known = [*_list_known_schemes(), *STORE_ALIASES, "tfhub"]
    close = difflib.get_close_matches(handle.scheme, known, n=1)
    if not close:
        return _SCHEME_FIX
    return f"Did you mean {'https://tfhub.dev' if close == ['tfhub'] else close[0] + ':/'}/{rest} ?"
