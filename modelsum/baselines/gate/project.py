"""The baselines of a project: those in its folder of reports, or in that folder at a git revision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from modelsum.baselines.configuration import config as configuration
from modelsum.baselines.configuration.checks import Check
from modelsum.baselines.configuration.config import Config
from modelsum.baselines.gate import stored
from modelsum.baselines.gate.stored import Stored
from modelsum.baselines.gate.verdict import Place, RuleChange
from modelsum.baselines.reports.files import SUFFIX
from modelsum.baselines.revisions import Revision
from modelsum.errors import ConfigError, ReportError

#: What a file of the project, relative to its folder, is called in what is said of it.
Naming = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Baselines:
    """The baselines of some checks.

    Attributes:
        stored: by the check's name; none for a check that has no baseline.
        orphans: the files of baselines without a check, by the name that the check would have.
        unreadable: what is wrong with those that are no whole report, a merge conflict say, by the check.
    """

    stored: Mapping[str, Stored]
    orphans: Mapping[str, str]
    unreadable: Mapping[str, ReportError]

    def require(self) -> None:
        """Raise ReportError for all that cannot be read, together."""
        if self.unreadable:
            raise ReportError(
                "\n".join(error.message for error in self.unreadable.values()),
                f"Write anew what the models cost now, `modelsum check --update {' '.join(self.unreadable)}`,"
                " or restore it from git.",
            )


def file_of(config: Config, name: str) -> str:
    """The file of a check's baseline, relative to the project's folder."""
    return f"{PurePath(config.reports).as_posix()}/{name}{SUFFIX}"


def read(config: Config, checks: Iterable[Check], named: Naming) -> Baselines:
    """The baselines in the working tree."""

    def one(name: str) -> Stored | None:
        file = file_of(config, name)
        return stored.read(config.folder / file, named(file))

    found, unreadable = _all((check.name for check in checks), one)
    names = {check.name for check in config.checks}
    reports = sorted(config.reports_folder.glob(f"*{SUFFIX}"))
    orphans = {path.stem: file_of(config, path.stem) for path in reports if path.stem not in names}
    orphans = {name: file for name, file in orphans.items() if _is_report(config.folder / file)}
    return Baselines(found, orphans, unreadable)


@dataclass(frozen=True, slots=True)
class Before:
    """A project as it is at a revision.

    Attributes:
        config: its configuration; one without checks where none is there that can be read.
        baselines: by the check's name.
        unread: what could not be read. It is past, and does not stop the gate, but it is said.
    """

    config: Config
    baselines: Mapping[str, Stored]
    unread: tuple[RuleChange, ...]


def at(revision: Revision, config: Config, checks: Iterable[Check], named: Naming) -> Before:
    """The configuration at a revision, and the baselines that the checks have there."""
    short = revision.commit[:12]
    try:
        before, unread = _config_at(revision, config), []
    except ConfigError as error:
        before = _nothing(config)
        unread = [_unread("", "the configuration", f"{short}:{error.message}", named(config.path.name))]

    def one(name: str) -> Stored | None:
        file = file_of(before, name)
        text = revision.read(file)
        return None if text is None else stored.parse(text, f"{short}:{named(file)}")

    found, unreadable = _all((check.name for check in checks), one)
    for name, wrong in unreadable.items():
        unread.append(_unread(name, "the baseline", wrong.message, named(file_of(config, name))))
    return Before(before, found, tuple(unread))


def _unread(check: str, what: str, why: str, file: str) -> RuleChange:
    return RuleChange(check, what, f"cannot be read where the branch began, {why}", False, Place(file))


def _config_at(revision: Revision, config: Config) -> Config:
    """The configuration at a revision: in the file that has it now, or where it was moved from."""
    for name in dict.fromkeys((config.path.name, "modelsum.toml", "pyproject.toml")):
        text = revision.read(name)
        if text is not None:
            before = configuration.parse(text, config.path.with_name(name))
            if before.checks:
                return before
    return _nothing(config)


def _nothing(config: Config) -> Config:
    return Config(config.path, config.reports, ())


def _all(
    names: Iterable[str], read: Callable[[str], Stored | None]
) -> tuple[dict[str, Stored], dict[str, ReportError]]:
    found, unreadable = {}, {}
    for name in names:
        try:
            baseline = read(name)
        except ReportError as error:
            unreadable[name] = error
            continue
        if baseline is not None:
            found[name] = baseline
    return found, unreadable


def _is_report(path: Path) -> bool:
    try:
        return stored.is_report(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return False
