"""`transformers/MODEL_TYPE` and `transformers/DIR`: Hugging Face models from their configuration alone.

    transformers/bert                       the default configuration of a model type
    transformers/llama:LlamaForCausalLM     with a head class
    transformers/./my_model                 a folder with a config.json; relative, or absolute with //

Weights are never read and nothing is downloaded; code that lies beside a config.json is never run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelsum.errors import ModelError, ModelsumError, UnknownModelError, UsageError, did_you_mean
from modelsum.raised import brief
from modelsum.sources import installed
from modelsum.sources.base import Loaded
from modelsum.sources.foreign import model_type
from modelsum.spec import ModelSpec

if TYPE_CHECKING:
    import torch


class Transformers:
    """Models of the transformers package."""

    name = "transformers"

    def knows(self, spec: ModelSpec) -> bool:
        """Whether the name is a model type; everything after `transformers/` is this source's to judge."""
        return spec.kind == "name" and (spec.provider == self.name or spec.name in _names())

    def names(self) -> Collection[str]:
        """All model types."""
        return _names()

    def load(self, spec: ModelSpec, arguments: Mapping[str, Any], device: torch.device) -> Loaded:
        """Build the model of a model type's default configuration or of a folder's config.json.

        Args:
            spec: its attribute is the head class; None takes the one that a config.json names, and the
                base model of a model type.
            arguments: entries of the configuration that replace its own; dictionaries are merged.

        Raises:
            UsageError: transformers is missing, or the folder has no usable config.json.
            UnknownModelError: no such model type or head class.
            ArgumentError: no such entry of the configuration, or a value that it refuses.
        """
        installed.require("transformers")
        folder = _folder(spec)
        if folder is None and spec.name not in _names():
            raise UnknownModelError(f"transformers has no model type {spec.name!r}", _hint(spec.name))
        stored = stored_in(folder, spec.text) if folder is not None else {}
        return configured(spec, stored, arguments, device, self.name)


def configured(
    spec: ModelSpec,
    stored: Mapping[str, Any],
    arguments: Mapping[str, Any],
    device: torch.device,
    source: str,
) -> Loaded:
    """The model of a configuration's entries; without any, of the model type that the MODEL names.

    Raises as `Transformers.load` does.
    """
    from modelsum.sources.building import build
    from modelsum.sources.transformers.classes import choose, offline
    from modelsum.sources.transformers.inputs import example
    from modelsum.trace.isolation import uncollected

    with offline(), uncollected(device):  # thousands of modules are imported
        choice = choose(spec, stored, arguments)
        model, notice = build(choice.build, device)

    def call(batch: int, length: int | None, where: torch.device) -> tuple[tuple[Any, ...], dict[str, Any]]:
        try:
            return (), example(model, batch, length, where)
        except ModelsumError:
            raise
        except Exception as error:  # a tower of the model failed while its features were counted
            raise ModelError(
                f"{spec.text}: its default input cannot be made: {brief(error)}",
                "Give the inputs by name.",
            ) from error

    return Loaded(
        model,
        source,
        example=call,
        changed=bool(arguments),
        notices=(*((notice,) if notice else ()), *choice.notices, *_not_applied(model)),
    )


def _not_applied(model: Any) -> Iterator[str]:
    """What the configuration says of quantized weights: here they are as the model's class makes them."""
    said = getattr(model.config, "quantization_config", None)
    if said is not None:
        entries = said if isinstance(said, Mapping) else said.to_dict()
        method = entries.get("quant_method", "unnamed")
        yield (
            f"the quantization_config ({getattr(method, 'value', method)}) is not applied: parameters and "
            "memory are those of the weights before; `modelsum generate` has their formats"
        )


def stored_in(folder: Path, text: str) -> dict[str, Any]:
    """The entries of a folder's config.json. Raises UsageError, for the MODEL `text`, where it has none."""
    file = folder / "config.json"
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = (isinstance(error, OSError) and error.strerror) or error
        raise UsageError(f"{text}: {file} cannot be read: {why}", None) from error
    if not isinstance(stored, dict) or not isinstance(stored.get("model_type"), str):
        raise UsageError(
            f"{text}: {file} does not say a model_type", "It is not a configuration of transformers."
        )
    return stored


def _folder(spec: ModelSpec) -> Path | None:
    """The folder that the name stands for, or None where it stands for a model type.

    A model type comes first: a folder of that name is written with ./ in front.
    """
    if spec.provider != Transformers.name or spec.name in _names():
        return None
    folder = Path(spec.name).expanduser()
    if folder.name == "config.json":
        folder = folder.parent
    if (folder / "config.json").is_file():
        return folder
    if folder.is_dir():
        raise UsageError(f"{spec.text}: the folder {folder} has no config.json", None)
    if spec.name.startswith((".", "/", "~")) or "/" in spec.name:
        raise UsageError(
            f"{spec.text}: there is no folder {folder}",
            "Nothing is downloaded: give a folder with config.json, or a model type like "
            f"transformers/{model_type(folder.name, _names()) or 'bert'}.",
        )
    return None


def _hint(name: str) -> str:
    near = did_you_mean(name, _names())
    return near or "`modelsum list transformers/` shows the model types."


# An entry of CONFIG_MAPPING_NAMES: ("bert", "BertConfig"), or "bert": "BertConfig" in a dictionary.
_ENTRY = re.compile(r'"([\w.-]+)"(?:, "\w+Config"\)|: "\w+Config")')


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    """The model types with a configuration class, read from the package's files without importing it."""
    base = installed.folder("transformers")
    if base is None:
        return frozenset()
    files = (base / "models" / "auto" / name for name in ("auto_mappings.py", "configuration_auto.py"))
    text = "\n".join(file.read_text(encoding="utf-8") for file in files if file.is_file())
    return frozenset(_ENTRY.findall(text))


source = Transformers()
