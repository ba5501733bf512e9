"""MODEL strings -> modules: who knows a name, and how it is built.

A source is a provider of models. The built-in ones and those of other packages come in through the same
door, the entry point group "modelsum.sources"; each entry is an object with the methods of `Source`.
Asking who knows a name imports neither torch nor a provider; loading does.
"""

from modelsum.sources.base import Loaded, Source
from modelsum.sources.finding import providers, resolve

__all__ = ["Loaded", "Source", "providers", "resolve"]
