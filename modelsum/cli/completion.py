"""What a shell offers on Tab for words that are no plain choice: models and their arguments, checks, refs.

Names are read from files, and refs from git: neither torch nor a provider is imported, and no code of the
user's runs. A word that ends in / or : goes on; where it is the only one, what it goes on with is offered at
once, since a shell that completes a single word puts a space behind it.

What is asked for names is imported when a shell asks: every command has this module.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelsum.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    Completion = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def models(*, checks: bool = False, files: tuple[str, ...] = ()) -> Completion:
    """MODEL: documented names, those of providers, file.py:attribute.

    Args:
        checks: the checks of the project stand for models too.
        files: endings of files that do.
    """

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return _items(_models(incomplete, checks, files))

    return complete


def names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Documented names and those of providers."""
    return _items(_going_on(_named(incomplete), _named))


def functions(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """file.py:attribute."""
    return _items(_going_on(_in_files(incomplete, ()), lambda word: _in_files(word, ())))


def check_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The checks of the project that are not on the line yet."""
    given = ctx.params.get(str(param.name)) or ()
    return _items(name for name in _checks() if name.startswith(incomplete) and name not in given)


def refs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Branches, those of remotes, and tags of the repository."""
    from modelsum.baselines import revisions

    return _items(name for name in revisions.refs(Path.cwd()) if name.startswith(incomplete))


def gpus(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The cards, with hyphens for the blanks in their names."""
    from modelsum.memory.fitting import cards

    return _items(card.name.replace(" ", "-") for card in cards.like(incomplete))


def arguments(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """KEY= of what a documented model can be built with, but for what is given already.

    The arguments of other models are known to their code alone, which does not run here.
    """
    from modelsum import spec, zoo

    # Click takes no arguments from a line whose last option has no value yet: they are left over.
    word = ctx.params.get("model") or next(iter(ctx.args), "")
    try:
        model = spec.parse_model(word)
        keys = zoo.find(model.name).options if model.provider in (None, "documented") else ()
    except UsageError:
        return []
    given = {word.partition("=")[0] for word in ctx.params.get(str(param.name)) or ()}
    return _items(f"{key}=" for key in keys if f"{key}=".startswith(incomplete) and key not in given)


def outputs(formats: Iterable[str]) -> Completion:
    """FORMAT=FILE."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        if "=" in incomplete:
            return [CompletionItem(incomplete.partition("=")[2], type="file")]
        return _items(f"{format_}=" for format_ in formats if format_.startswith(incomplete))

    return complete


def _items(words: Iterable[str]) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(word) for word in words]


def _models(incomplete: str, checks: bool, files: tuple[str, ...]) -> list[str]:
    from modelsum import zoo
    from modelsum.cli.configured import PREFIX

    def words(incomplete: str) -> Iterator[str]:
        if checks and incomplete.startswith(PREFIX):
            yield from (f"{PREFIX}{n}" for n in _checks() if n.startswith(incomplete.removeprefix(PREFIX)))
            return
        if checks:
            yield from (n for n in _checks() if n.startswith(incomplete) and n not in zoo.ARCHITECTURES)
        yield from _named(incomplete)
        yield from _in_files(incomplete, files)

    return _going_on(words(incomplete), words) or list(_undocumented(incomplete))


def _going_on(words: Iterable[str], after: Callable[[str], Iterable[str]]) -> list[str]:
    """The words, a single one that goes on replaced by what it goes on with."""
    found = list(words)
    if len(found) == 1 and found[0][-1] in "/:":
        return _going_on(after(found[0]), after) or found
    return found


def _named(incomplete: str) -> Iterator[str]:
    from modelsum import zoo
    from modelsum.sources import catalogue

    provider, slash, rest = incomplete.partition("/")
    if slash and provider in catalogue.there():
        yield from (f"{provider}/{name}" for name in catalogue.names(provider) if name.startswith(rest))
    else:
        yield from (name for name in zoo.ARCHITECTURES if name.startswith(incomplete))
        yield from (f"{p}/" for p in catalogue.there() if f"{p}/".startswith(incomplete))


def _undocumented(incomplete: str) -> Iterator[str]:
    """Bare names of providers, which stand for their models where nothing else does."""
    from modelsum.sources import catalogue

    if incomplete.isidentifier():
        for provider in catalogue.there():
            yield from (name for name in catalogue.names(provider) if name.startswith(incomplete))


def _checks() -> tuple[str, ...]:
    from modelsum.baselines.configuration import project_file

    try:
        return project_file.check_names(Path.cwd())
    except ConfigError:
        return ()


# ---- files


def _in_files(incomplete: str, endings: tuple[str, ...]) -> Iterator[str]:
    """Folders, Python files and what is in them, and other files by their endings."""
    head, colon, start = incomplete.rpartition(":")
    if colon:
        from modelsum.sources.definition import public_names

        yield from (f"{head}:{name}" for name in public_names(_file_of(head)) if name.startswith(start))
        return
    folder, slash, start = incomplete.rpartition("/")
    try:
        entries = sorted(os.scandir(f"{folder}/" if slash else "."), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(start) and (start or entry.name[0] not in "._"):
            path = f"{folder}{slash}{entry.name}"
            if entry.is_dir():
                yield f"{path}/"
            elif entry.name.endswith((".py", *endings)):
                yield f"{path}:" if entry.name.endswith(".py") else path


def _file_of(name: str) -> Path:
    """The file of path/file.py, or of a dotted module's name, from here."""
    if name.endswith(".py"):
        return Path(name)
    path = Path(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_name(f"{path.name}.py")
