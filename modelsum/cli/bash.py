"""Completion in bash, which takes a word apart at : = and @, as none of the other shells does.

`nets.py:Net` reaches click as three words, and what is offered replaces the last of them alone.
"""

from __future__ import annotations

import os
from typing import Any

from click.shell_completion import BashComplete, CompletionItem, add_completion_class, split_arg_string

_BREAKS = frozenset(":=@")

_SCRIPT = """\
%(complete_func)s() {
    local IFS=$'\\n' type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            plain)
                COMPREPLY+=("$value")
                if [[ $value == *[/:=] ]]; then compopt -o nospace; fi ;;
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
        esac
    done < <(COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD %(complete_var)s=bash_complete "$1")
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class Bash(BashComplete):
    """click's completion for bash, with words as they were typed."""

    source_template = _SCRIPT
    _before = ""  # of the last word, what bash keeps

    def get_completion_args(self) -> tuple[list[str], str]:
        """The whole words ahead of the one that is completed, and that."""
        words = split_arg_string(os.environ["COMP_WORDS"])
        place = int(os.environ["COMP_CWORD"])
        last = words[place] if place < len(words) else ""
        whole = _joined([*words[1:place], last])
        *before, incomplete = whole or [""]
        self._before = incomplete if _is_break(last) else incomplete.removesuffix(last)
        return before, incomplete

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """What bash is to put in the place of the last part."""
        return f"{item.type},{str(item.value).removeprefix(self._before)}"


def _is_break(word: str) -> bool:
    return bool(word) and set(word) <= _BREAKS


def _joined(pieces: list[str]) -> list[str]:
    words: list[str] = []
    for place, piece in enumerate(pieces):
        if words and (_is_break(piece) or (place and _is_break(pieces[place - 1]) and piece)):
            words[-1] += piece
        else:
            words.append(piece)
    return words


def register() -> None:
    """Take the place of click's own."""
    add_completion_class(Bash)
