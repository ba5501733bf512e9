"""The key of a row: what was asked, the versions that answered, and the user's sources that it stood on.

The question and the versions are known before a point is done: they are the first part. The second names
the evidence of the sources, as kept answers have it (modelsum.cache.evidence), in a file beside the rows.
What installed packages and modelsum decide alone has no second part: their versions are in the first.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from modelsum.cache.versions import package_contents
from modelsum.plain import plain
from modelsum.request import Request
from modelsum.sources import resolve
from modelsum.spec import ModelSpec, ObjectSpec

#: Sources that build a model of an installed package from a name alone.
_INSTALLED = ("documented", "torchvision", "timm", "transformers")
_ASKED = [f.name for f in dataclasses.fields(Request) if f.name not in ("arguments", "notices")]


@cache
def versions() -> Mapping[str, str]:
    """The versions that answer here, by package: of modelsum a digest of its code. Nothing is imported."""
    found = {"modelsum": package_contents(), "Python": ".".join(platform.python_version_tuple()[:2])}
    return found | {name: _version(name) for name in ("torch", "torchvision", "timm", "transformers")}


def question(request: Request) -> str:
    """The first part of a row's key."""
    provider = _source(request.model) if isinstance(request.model, ModelSpec) else ""
    asked = [getattr(request, name) for name in _ASKED]
    asked.append(sorted(request.arguments.items()))
    here = versions()
    names = ("modelsum", "Python", "torch")
    parts = (repr(asked), *(here[name] for name in names), here.get(provider) or _version(provider))
    return _digest("\0".join(parts))


def kind(request: Request) -> str:
    """What tells the user's own code and files apart that a point depends on; "" where there are none."""
    objects = [value.name for value in request.arguments.values() if isinstance(value, ObjectSpec)]
    names = [each.name for each in objects]
    if request.inputs_from:
        names.append(request.inputs_from)
    model = request.model
    assert isinstance(model, ModelSpec)
    if _source(model) not in _INSTALLED or os.path.exists(model.text):
        names.append(model.name if model.kind != "name" else model.text)
    return " ".join(sorted(names))


def without_request(values: Mapping[str, Any], error: str) -> str:
    """The first part of the key of a point whose values cannot stand together."""
    return _digest(f"{json.dumps(plain(values))}\0{error}")


def evidence_name(marks: object) -> str:
    """The second part of a key: what evidence is called."""
    return _digest(repr(marks))[:8]


@cache
def _source(model: ModelSpec) -> str:
    return resolve(model).name


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except (PackageNotFoundError, ValueError):
        return ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]
