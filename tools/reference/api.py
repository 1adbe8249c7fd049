"""The page of the Python API: each public name with its signature and docstring."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import typing
from collections.abc import Iterator

from tools.reference.markdown import GENERATED, convert_docstring

MODULES = (
    "",
    ".hub",
    ".sources",
    ".maintenance",
    ".project",
    ".bundles",
    ".integrations",
    ".integrations.serving",
    ".inspection",
    ".errors",
)
_WIDTH = 100
_MODULES = re.compile(r"(?:typing|collections\.abc|tfimm_resolver(?:\.\w+)*)\.")
_HEAD = """# Python API

The public names are those below: what each module lists in `__all__`, which `dir()` shows. Anything else can
change in any release. `tfimm_resolver.resolve` and `tfimm_resolver.load` are enough for most programs. The
examples are run by the project's tests, against a server that stands for `models.example`.
"""


def make_page() -> str:
    """Return the page."""
    return GENERATED + "\n" + "\n".join([_HEAD, *(part for suffix in MODULES for part in _describe_module(suffix))])


def _describe_module(suffix: str) -> Iterator[str]:
    name = f"tfimm_resolver{suffix}"
    module = importlib.import_module(name)
    yield f"## {name}\n"
    yield _indent_code(convert_docstring(inspect.getdoc(module) or ""))
    for attribute in module.__all__:
        title = f"{suffix[1:]}.{attribute}".lstrip(".")
        value = getattr(module, attribute)
        if typing.get_origin(value):
            yield f"### {title}\n\n```py\n{attribute} = {_format_alias(value)}\n```\n"
        elif inspect.isclass(value) or inspect.isfunction(value):
            yield f"### {title}\n"
            yield _make_signature(attribute, value)
            yield convert_docstring(inspect.getdoc(value) or "")


def _indent_code(text: str) -> str:
    """Return a docstring in which a drawing, such as the tree of errors, is a block of text."""
    head, star, tree = text.partition("\n* ")
    return f"{head}\n```text\n* {tree.rstrip()}\n```\n" if star else text


def _format_alias(value: object) -> str:
    """Return a type as it is written, without the modules of its parts; the same on each Python."""
    return _MODULES.sub("", str(value))


def _make_signature(name: str, value: object) -> str:
    if inspect.isclass(value):
        bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
        lines = [f"class {name}({bases})" if bases else f"class {name}"]
        lines += [
            f"    {_format_signature(attribute, function)}"
            for attribute, found in vars(value).items()
            if not attribute.startswith("_") and inspect.isfunction(function := getattr(found, "__func__", found))
        ]
        return "```py\n" + "\n".join(lines) + "\n```\n"
    return f"```py\n{_format_signature(name, value)}\n```\n"


def _format_signature(name: str, function: object) -> str:
    """Return a signature, with one parameter in a line if it is long; annotations are shown without their quotes."""
    signature = inspect.signature(function)  # type: ignore[arg-type]
    texts = [_format_parameter(parameter) for parameter in signature.parameters.values()]
    kinds = [parameter.kind for parameter in signature.parameters.values()]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        texts.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    returns = signature.return_annotation
    arrow = "" if returns is signature.empty else f" -> {_format_annotation(returns)}"
    line = f"{name}({', '.join(texts)}){arrow}"
    return line if len(line) <= _WIDTH else f"{name}(\n" + "".join(f"    {text},\n" for text in texts) + f"){arrow}"


def _format_parameter(parameter: inspect.Parameter) -> str:
    kind = parameter.kind
    stars = "*" if kind is parameter.VAR_POSITIONAL else "**" if kind is parameter.VAR_KEYWORD else ""
    annotation = "" if parameter.annotation is parameter.empty else f": {_format_annotation(parameter.annotation)}"
    default = (
        "" if parameter.default is parameter.empty else f"{' = ' if annotation else '='}{_format_default(parameter.default)}"
    )
    return f"{stars}{parameter.name}{annotation}{default}"


def _format_annotation(annotation: object) -> str:
    """Return an annotation; ``_list`` is how a module with a function ``list`` names the type."""
    return str(annotation).strip("'").replace("_list[", "list[")


def _format_default(value: object) -> str:
    return "..." if value is Ellipsis else json.dumps(value) if isinstance(value, str) else repr(value)
