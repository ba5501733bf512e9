"""The baselines of a project: those in its folder of reports, or in that folder at a git revision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from modelsum.baselines.configuration import config as configuration
from modelsum.baselines.configuration.checks import Check
from modelsum.baselines.configuration.config import Config
from modelsum.baselines.gate import stored
from modelsum.baselines.gate.stored import SUFFIX, Stored
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
    """

    stored: Mapping[str, Stored]
    orphans: Mapping[str, str]


def file_of(config: Config, name: str) -> str:
    """The file of a check's baseline, relative to the project's folder."""
    return f"{config.reports.rstrip('/')}/{name}{SUFFIX}"


def read(config: Config, checks: Iterable[Check], named: Naming) -> Baselines:
    """The baselines in the working tree. Raises ReportError for all that cannot be read, together."""

    def one(name: str) -> Stored | None:
        file = file_of(config, name)
        return stored.read(config.folder / file, named(file))

    found = _all((check.name for check in checks), one)
    names = {check.name for check in config.checks}
    reports = sorted(config.reports_folder.glob(f"*{SUFFIX}"))
    orphans = {path.stem: file_of(config, path.stem) for path in reports if path.stem not in names}
    return Baselines(found, {n: file for n, file in orphans.items() if _is_report(config.folder / file)})


def at(revision: Revision, config: Config, checks: Iterable[Check], named: Naming) -> Baselines:
    """The baselines of the checks at a revision. Raises ReportError for all that cannot be read, together."""

    def one(name: str) -> Stored | None:
        file = file_of(config, name)
        text = revision.read(file)
        return None if text is None else stored.parse(text, f"{revision.commit[:12]}:{named(file)}")

    return Baselines(_all((check.name for check in checks), one), {})


def config_at(revision: Revision, config: Config) -> Config:
    """The configuration at a revision; one without checks where there is none that can be read."""
    text = revision.read(config.path.name)
    if text is not None:
        try:
            return configuration.parse(text, config.path)
        except ConfigError:
            pass  # what is wrong with it is past: everything that is there now counts as new
    return Config(config.path, config.reports, ())


def _all(names: Iterable[str], read: Callable[[str], Stored | None]) -> dict[str, Stored]:
    found, problems = {}, []
    for name in names:
        try:
            baseline = read(name)
        except ReportError as error:
            problems.append(error)
            continue
        if baseline is not None:
            found[name] = baseline
    if problems:
        raise ReportError("\n".join(problem.message for problem in problems), problems[0].hint)
    return found


def _is_report(path: Path) -> bool:
    try:
        return stored.is_report(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return False
