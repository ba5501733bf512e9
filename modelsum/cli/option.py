"""An option of the command line, and the words that it may be given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from modelsum import errors

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

OTHER = "Other"


class Option(click.Option):
    """An option of a group, perhaps with others that cannot stand beside it.

    Attributes:
        project: whether a project's default stands for it (modelsum.baselines.configuration.defaults).
        group: the heading that it stands under in the help.
        excludes: names of parameters that are refused beside it.
        reason: why, for who gave both.
    """

    def __init__(
        self,
        *args: Any,
        group: str = OTHER,
        project: bool = False,
        excludes: Iterable[str] = (),
        reason: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.group = group
        self.project = project
        self.excludes = frozenset(excludes)
        self.reason = reason


def in_group(group: str) -> Callable[..., Callable[[Decorated], Decorated]]:
    """`click.option` for the options of a group; it also takes the arguments of `Option`."""
    return partial(click.option, cls=Option, group=group)


class Word(click.types.StringParamType):
    """One of several words, which a shell can complete.

    Attributes:
        words: those that are shown; `also` has others that mean the same.
        read: what is made of a word; it raises UsageError for one that is none.
    """

    name = "word"

    def __init__(
        self,
        words: Iterable[str],
        read: Callable[[str], str] = lambda word: word,
        also: Iterable[str] = (),
    ) -> None:
        self.words = tuple(words)
        self.also = tuple(also)
        self.read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """What `read` makes of it."""
        return self.read(value)

    def takes(self, word: str) -> bool:
        """Whether a word that is valid for a project is one for this option: cuda:1 where cuda is."""
        return word.partition(":")[0] in self.words

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """The words, for the help."""
        return "|".join(self.words)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The words that begin so, else other words for the same."""
        from click.shell_completion import CompletionItem

        for words in (self.words, self.also):
            if found := [CompletionItem(word) for word in words if word.startswith(incomplete)]:
                return found
        return []


def one_of(what: str, words: Sequence[str]) -> Word:
    """A word that is refused if it is none of those, with the nearest; `what` it says ("format")."""

    return Word(words, lambda word: errors.one_of(what, word, words))
