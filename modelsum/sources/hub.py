"""`hf:ORG/NAME@REVISION`: a model of the Hugging Face Hub, from the cache that huggingface_hub keeps here.

Two small files at most are looked at, config.json and the index of the weights. Neither is downloaded unless
that is asked for (`--fetch`, MODELSUM_FETCH=1), and nothing else ever is: no weights, no code.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelsum.errors import UsageError
from modelsum.raised import brief
from modelsum.sources import installed
from modelsum.sources.base import Loaded
from modelsum.spec import HUB, ModelSpec
from modelsum.units import count

if TYPE_CHECKING:
    import torch

FETCH = "MODELSUM_FETCH"
_INDEX = "model.safetensors.index.json"
_ID = re.compile(r"(?P<name>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>[\w./-]+))?")


class Hub:
    """Models by their id on the Hub."""

    name = HUB

    def knows(self, spec: ModelSpec) -> bool:
        """Whether `hf:` stands in front."""
        return spec.provider == HUB

    def names(self) -> Collection[str]:
        """None that could be offered without looking through a cache."""
        return ()

    def load(self, spec: ModelSpec, arguments: Mapping[str, Any], device: torch.device) -> Loaded:
        """Build the model of a configuration that is here, or may be fetched.

        Raises:
            UsageError: transformers is missing, this is no id, or its configuration is not here.
            UnknownModelError, ArgumentError: as of a folder with that configuration.
        """
        given = _ID.fullmatch(spec.name)
        if given is None:
            raise UsageError(
                f"{spec.text!r} is no id of the Hub", "Write hf:ORG/NAME or hf:ORG/NAME@REVISION."
            )
        installed.require("transformers")
        from modelsum.sources import transformers

        may_fetch = spec.fetch or os.environ.get(FETCH, "") not in ("", "0")
        config = _file(spec, given["name"], given["revision"], "config.json", may_fetch)
        assert config is not None
        stored = transformers.stored_in(config.parent, spec.text)
        loaded = transformers.configured(spec, stored, arguments, device, HUB)
        index = _file(spec, given["name"], given["revision"], _INDEX, may_fetch)
        said = _weights(index) if index is not None else ()
        return dataclasses.replace(loaded, notices=(*loaded.notices, *said))


def _file(spec: ModelSpec, name: str, revision: str | None, file: str, may_fetch: bool) -> Path | None:
    """Where a file of a model is; None where the model has no such file. Raises UsageError for its config."""
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    here = try_to_load_from_cache(name, file, revision=revision)
    if isinstance(here, str):
        return Path(here)
    if may_fetch:
        try:
            return Path(hf_hub_download(name, file, revision=revision))
        except Exception as error:  # of the network, of the Hub, of the disk: whatever is raised on the way
            if file != "config.json":
                return None  # many models have no such index
            raise UsageError(
                f"{spec.text}: its config.json cannot be fetched from {constants.ENDPOINT}: {brief(error)}",
                "Is the id right, and is the model open to you?",
            ) from error
    if file != "config.json":
        return None
    at = f"@{revision}" if revision else ""
    raise UsageError(
        f"{spec.text}: there is no config.json of {name}{at} in huggingface_hub's cache, "
        f"{constants.HF_HUB_CACHE}, and nothing is downloaded unasked",
        f"Give --fetch (or set {FETCH}=1): it fetches config.json and the index of the weights, a few "
        "kilobytes. Or give a folder with that config.json.",
    )


def _weights(index: Path) -> tuple[str, ...]:
    """What the index says of the weights in the files."""
    try:
        total = json.loads(index.read_bytes())["metadata"]["total_size"]
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    return (f"the weights on the Hub take {count(int(total))} bytes",)


source = Hub()
