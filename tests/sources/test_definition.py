"""The line where a model is defined, found by reading."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from modelsum.baselines.gate.checkout import Checkout
from modelsum.sources.definition import Definitions
from modelsum.spec import parse_model

FILES = {
    "nets.py": """\
import torch
import shop.nets as other
from torch import nn
from shop.nets import Lower as Renamed

raise RuntimeError("nothing is imported")

class Detector(nn.Module):
    size = 3

    class Head(nn.Module):
        pass

def build():
    class Detector:
        pass

model = Detector()
pair, (left, right) = 1, (2, 3)
typed: nn.Module = build()
if torch.cuda.is_available():
    class Fast: pass
else:
    def Fast(): pass
try:
    import apex
except ImportError:
    @torch.no_grad()
    def fallback(): pass
Detector_v1 = Detector
Again = 1
Again = 2
""",
    "shop/__init__.py": "from .nets import Net\nfrom shop.nets import Lower as Upper\nfrom . import nets\n",
    "shop/nets.py": "from .deep.more import *\n\nclass Net: pass\nclass Lower: pass\nfrom torch import nn\n",
    "shop/deep/__init__.py": "from .. import nets as up\n",
    "shop/deep/more.py": "\nclass Starred: pass\n",
    "loop.py": "from loop import Loop\n",
    "broken.py": "class Net(\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("model", "place"),
    [
        ("nets.py:Detector", "nets.py:8"),
        ("nets.py:Detector.Head", "nets.py:11"),
        ("nets.py:Detector.inherited", "nets.py:8"),
        ("nets.py:build", "nets.py:14"),
        ("nets.py:model", "nets.py:18"),
        ("nets.py:right", "nets.py:19"),
        ("nets.py:typed", "nets.py:20"),
        ("nets.py:Fast", "nets.py:24"),
        ("nets.py:fallback", "nets.py:29"),
        ("nets.py:Detector_v1", "nets.py:30"),
        ("nets.py:Again", "nets.py:32"),
        ("nets.py:Renamed", "shop/nets.py:4"),
        ("nets.py:other.Net", "shop/nets.py:3"),
        ("nets:Detector", "nets.py:8"),
        ("shop:Net", "shop/nets.py:3"),
        ("shop:Upper", "shop/nets.py:4"),
        ("shop:nets.Net", "shop/nets.py:3"),
        ("shop:Starred", None),
        ("shop.nets:Starred", "shop/deep/more.py:2"),
        ("shop.deep:up.Net", "shop/nets.py:3"),
        ("shop.nets:nn.Linear", "shop/nets.py:5"),
        ("loop:Loop", "loop.py:1"),
        ("broken.py:Net", None),
        ("nets.py:Nothing", None),
        ("none.py:Net", None),
        ("shop.none:Net", None),
        ("none:Net", None),
        ("torch.nn:Linear", None),
        ("resnet50", None),
        ("timm/resnet18", None),
    ],
)
def test_a_definition_is_found_without_importing(project: Path, model: str, place: str | None) -> None:
    before = set(sys.modules)
    definitions = Definitions(project, Checkout.of(project, {}).own)
    found = definitions.find(parse_model(model))
    assert (found and f"{found.file.relative_to(project)}:{found.line}") == place
    assert set(sys.modules) == before
