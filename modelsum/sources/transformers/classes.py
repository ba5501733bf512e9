"""Which configuration and which class of transformers a MODEL stands for."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from torch import nn
from transformers.models.auto import modeling_auto

from modelsum.errors import ArgumentError, BuildError, UnknownModelError, UsageError, did_you_mean
from modelsum.raised import told
from modelsum.spec import TASKS, ModelSpec
from modelsum.trace.torch_private import replaced

# What the meta device is never the reason of: that raises RuntimeError or NotImplementedError. After these a
# model is not built once more on the CPU, where some configurations would take all of the memory.
_NOT_OF_META = (TypeError, AttributeError, LookupError, ValueError, ImportError)


@dataclass(frozen=True, slots=True)
class Choice:
    """What is going to be built.

    Attributes:
        build: makes the model, each time from a configuration of its own.
        notices: what the reader should know about it.
    """

    build: Callable[[], nn.Module]
    notices: tuple[str, ...]


@contextmanager
def offline() -> Iterator[None]:
    """Keep huggingface_hub off the network: some constructors look for the weights of a backbone.

    And keep to itself what torch says of torchao, which transformers imports where it is installed.
    """
    from huggingface_hub import constants

    said = logging.getLogger("torch.utils._pytree")
    with replaced(constants, "HF_HUB_OFFLINE", True), replaced(said, "disabled", True):
        yield


def choose(spec: ModelSpec, stored: Mapping[str, Any], arguments: Mapping[str, Any]) -> Choice:
    """The configuration and the class for a MODEL. Raises as `Transformers.load` does.

    `stored`: the entries of its configuration; none for the default one of a model type.
    """
    model_type = stored.get("model_type", spec.name)
    _refuse_code(spec, stored)
    config_class = _config_class(spec, model_type)
    _check_keys(spec, config_class, arguments)

    def configuration() -> Any:
        return _configuration(spec, config_class, stored, arguments)

    config = configuration()
    head = _class(spec, model_type, config, stored)
    notices = []
    if stored.get("auto_map"):
        notices.append("config.json names code of its own (auto_map); it was not run, transformers' own was")
    if spec.task is not None:
        notices.append(f"for {spec.task} the class is {head.__name__}")

    def build() -> nn.Module:
        own = configuration()
        part = _part_for(head, own)
        own = own if part is None else part  # a class may serve configurations that are not its own kind
        try:
            model: nn.Module = head._from_config(own)
        except _NOT_OF_META as error:
            raise BuildError(
                f"{spec.text}: {head.__name__} cannot be built from its configuration: "
                f"{told(error, whole=True)}"
            ) from error
        return model

    return Choice(build, tuple(notices))


# ---- configurations


def _refuse_code(spec: ModelSpec, stored: Mapping[str, Any]) -> None:
    """Say of a model type that only code beside its config.json knows that this is not run."""
    if stored.get("auto_map") and stored["model_type"] not in transformers.CONFIG_MAPPING:
        raise UsageError(
            f"{spec.text}: model type {stored['model_type']!r} needs code of its own (auto_map), "
            "which modelsum does not run",
            "Import that code in a file of your own and give modelsum the model: path/file.py:attribute.",
        )


def _config_class(spec: ModelSpec, model_type: str) -> Any:
    try:
        return transformers.CONFIG_MAPPING[model_type]
    except KeyError:
        known = list(transformers.CONFIG_MAPPING.keys())
        raise UnknownModelError(
            f"{spec.text}: transformers {transformers.__version__} has no model type {model_type!r}",
            did_you_mean(model_type, known)
            or "A newer transformers may have it; `modelsum list transformers/` shows the model types.",
        ) from None


def _configuration(
    spec: ModelSpec, config_class: Any, stored: Mapping[str, Any], arguments: Mapping[str, Any]
) -> Any:
    try:
        if stored:
            return config_class.from_dict(_merged(stored, arguments))
        return config_class(**arguments)
    except Exception as error:  # whatever a configuration's own checks raise is about the words it was given
        reason = " ".join(str(error).split()) or type(error).__name__
        if arguments:
            given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
            raise ArgumentError(f"{spec.text} cannot take {given}: {reason}") from error
        raise BuildError(
            f"{spec.text}: {config_class.__name__} cannot be made from its own values: {reason}",
            f"Give what it needs with --arg; it takes {', '.join(sorted(_keys(config_class)))}.",
        ) from error


def _merged(stored: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(stored)
    for key, value in arguments.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def _check_keys(spec: ModelSpec, config_class: Any, arguments: Mapping[str, Any]) -> None:
    """Refuse unknown entries: a configuration stores whatever it is given, a misspelt size among it."""
    valid = _keys(config_class)
    for key, value in arguments.items():
        if key not in valid:
            raise ArgumentError(
                f"{spec.text}: {config_class.__name__} has no entry {key!r}",
                did_you_mean(key, valid) or f"It takes {', '.join(sorted(valid))}.",
            )
        part = getattr(config_class, "sub_configs", {}).get(key)
        if isinstance(value, dict) and hasattr(part, "model_type"):
            _check_keys(spec, part, value)


def _keys(config_class: Any) -> set[str]:
    """The entries that a configuration class knows: its own, its bases' and their other names."""
    keys = {"attn_implementation", "experts_implementation"}
    for base in config_class.__mro__:
        if dataclasses.is_dataclass(base):
            keys.update(field.name for field in dataclasses.fields(base))
        elif "__init__" in vars(base):
            keys.update(inspect.signature(base.__init__).parameters)
        keys.update(getattr(base, "attribute_map", {}))
        keys.update(getattr(base, "sub_configs", {}))
    return {key for key in keys if not key.startswith("_")} - {"self", "args", "kwargs"}


# ---- classes


def _class(spec: ModelSpec, model_type: str, config: Any, stored: Mapping[str, Any]) -> Any:
    if spec.attribute is not None:
        return _head(spec, config)
    if spec.task is not None:
        return _for_task(spec, model_type, config, stored)
    for name in stored.get("architectures") or ():
        found = _find(name, type(config))
        if found is not None:
            return found
    found = class_of(model_type, config)
    if found is None:
        raise BuildError(
            f"{spec.text}: transformers has no model class for {type(config).__name__}",
            "It is the configuration of a part, or of a processor alone.",
        )
    return found


def _for_task(spec: ModelSpec, model_type: str, config: Any, stored: Mapping[str, Any]) -> Any:
    """The head for the task: the one that a configuration names, where it is for that, else the usual one."""
    by_task = {task: _heads(model_type, names) for task, names in TASKS.items()}
    heads = by_task[str(spec.task)]
    named = [name for name in stored.get("architectures") or () if name in heads]
    found = next((f for name in (*named, *heads) if (f := _find(name, type(config))) is not None), None)
    if found is None:
        has = [task for task, names in by_task.items() if names]
        raise UsageError(
            f"{spec.text}: transformers has no class of {model_type} for {spec.task}",
            f"It has some for {', '.join(has)}." if has else "It has none for any task that has a word here.",
        )
    return found


def _heads(model_type: str, mappings: Iterable[str]) -> list[str]:
    """The classes of a model type in transformers' mappings of heads."""
    found: list[str] = []
    for mapping in mappings:
        names = getattr(modeling_auto, f"MODEL_FOR_{mapping}_MAPPING_NAMES", {}).get(model_type, ())
        found += [names] if isinstance(names, str) else names
    return found


def class_of(model_type: str, config: Any) -> Any:
    """The model class that stands for a model type, or None."""
    return _mapped(model_type) or next(iter(_classes_of(type(config))), None)


def _head(spec: ModelSpec, config: Any) -> Any:
    name = str(spec.attribute)
    found = _find(name, type(config))
    taken = {c.__name__: c for c in _modeling_classes(type(config)) if _part_for(c, config) is not None}
    if found is None:
        hint = did_you_mean(name, taken) or f"Classes for it are {', '.join(sorted(taken))}."
        raise UnknownModelError(f"{spec.text}: transformers has no model class {name!r}", hint)
    if _part_for(found, config) is None:
        raise UsageError(
            f"{spec.text}: {name} does not take a {type(config).__name__}",
            f"Classes for it are {', '.join(sorted(taken))}.",
        )
    return found


def _find(name: str, config_class: Any) -> Any:
    """The model class of that name: exported by the package, or defined beside the configuration."""
    found = getattr(transformers, name, None)
    if inspect.isclass(found) and issubclass(found, transformers.PreTrainedModel):
        return found
    return next((c for c in _modeling_classes(config_class) if c.__name__ == name), None)


def _part_for(model_class: Any, config: Any) -> Any:
    """The configuration, or the part of it, that the class is for; None where there is none.

    CLIPVisionModel is for the vision_config of a CLIPConfig.
    """
    wanted = model_class.config_class
    if wanted is None or isinstance(config, wanted):
        return config
    for key in getattr(config, "sub_configs", {}):
        part = getattr(config, key, None)
        found = _part_for(model_class, part) if part is not None else None
        if found is not None:
            return found
    return None


# The base model first, then what can stand for it where a model type has none of its own.
_MAPPINGS = (
    "MODEL_MAPPING_NAMES",
    "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
    "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES",
    "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",
    "MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES",
)


def _mapped(model_type: str) -> Any:
    others = sorted(
        name for name in vars(modeling_auto) if name.startswith("MODEL_FOR_") and name.endswith("_NAMES")
    )
    for mapping in (*_MAPPINGS, *others):
        names = getattr(modeling_auto, mapping, {}).get(model_type)
        if names:
            name = names if isinstance(names, str) else names[0]
            return getattr(transformers, name, None)
    return None


def _classes_of(config_class: Any) -> list[Any]:
    """The model classes for exactly this configuration, the one that is named after it first."""
    stem = config_class.__name__.removesuffix("Config")
    own = [c for c in _modeling_classes(config_class) if c.config_class is config_class]
    own.sort(key=lambda c: not c.__name__.endswith("Model"))
    return sorted(own, key=lambda c: (c.__name__ != f"{stem}Model", c.__name__ != stem))


def _modeling_classes(config_class: Any) -> Iterator[Any]:
    """The model classes that can be called, in the modules beside the configuration's."""
    module = inspect.getmodule(config_class)
    if module is None or module.__file__ is None:
        return
    package = module.__name__.rpartition(".")[0]
    for file in sorted(Path(module.__file__).parent.glob("modeling_*.py")):
        modeling = importlib.import_module(f"{package}.{file.stem}")
        for value in vars(modeling).values():
            if (
                inspect.isclass(value)
                and issubclass(value, transformers.PreTrainedModel)
                and value.__module__ == modeling.__name__
                and value.forward is not nn.Module.forward
            ):
                yield value
