"""The checks of a project: `[tool.modelsum]` in pyproject.toml, or modelsum.toml.

    [tool.modelsum]
    reports = "reports"                     # folder of the baselines, beside this file
    target = "cpu"                          # of all models; also optimizer, dtype, device

    [[tool.modelsum.check]]
    name = "detector"
    model = "nets.detector:build"
    args = {classes = 80}
    input = ["3x640x640"]
    limits = {params = "26 M", macs = "110 G", training_peak = "9 GiB"}
    tolerance = {macs = "0.5% + 10 M"}
    pin = ["params"]
    severity = {macs = "warn"}
    message = "see docs/budget.md"
    timeout = 300                           # seconds, in place of --timeout

In modelsum.toml the same tables stand without `tool.modelsum`. A check has the options of `modelsum show`
as keys. Unknown keys and bad values are errors with the file, the line and the nearest valid name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modelsum.baselines.configuration import defaults, project_file
from modelsum.baselines.configuration.checks import Check, read_check
from modelsum.errors import ConfigError, UsageError, did_you_mean

DEFAULT_REPORTS = "reports"

_EXAMPLE = '[[{}]]\nname = "resnet50"\nmodel = "resnet50"'


@dataclass(frozen=True, slots=True)
class Config:
    """All checks of a project.

    Attributes:
        path: the file they were read from; models and baselines are looked for from its folder.
        reports: the folder of the baselines, relative to that.
        defaults: what stands for all models, by key.
    """

    path: Path
    reports: str
    checks: tuple[Check, ...]
    defaults: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The project's folder."""
        return self.path.parent

    @property
    def reports_folder(self) -> Path:
        """Where the baselines are."""
        return self.folder / self.reports

    def chosen(self, names: tuple[str, ...]) -> tuple[Check, ...]:
        """The checks of those names, all without names. Raises UsageError for a name that is none."""
        known = [check.name for check in self.checks]
        for name in names:
            if name not in known:
                hint = did_you_mean(name, known) or f"Checks are {', '.join(known) or 'none'}."
                raise UsageError(f"{self.path.name} has no check {name!r}", hint)
        return tuple(check for check in self.checks if not names or check.name in names)


def find(start: Path) -> Path:
    """The nearest modelsum.toml, or pyproject.toml with a table tool.modelsum, in a folder or above it.

    Raises ConfigError where there is none.
    """
    path = project_file.find(start)
    if path is None:
        raise ConfigError(
            "there is no [tool.modelsum] in a pyproject.toml here or above, and no modelsum.toml",
            f"Add to pyproject.toml:\n\n{_EXAMPLE.format('tool.modelsum.check')}",
        )
    return path


def example(config: Config) -> str:
    """A check as it would stand in that file."""
    return _EXAMPLE.format("tool.modelsum.check" if config.path.name == project_file.SHARED else "check")


def load(path: Path) -> Config:
    """The configuration in a file. Raises ConfigError."""
    return parse(project_file.text_of(path), path)


def parse(text: str, path: Path) -> Config:
    """The configuration in the text of a file of that path; its name says where the tables stand."""
    at, table = project_file.table_of(text, path)
    shared = defaults.read(at, table)
    reports = at.key("reports").text(table.get("reports", DEFAULT_REPORTS))
    tables = table.get("check", [])
    if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        header = ".".join((*map(str, at.at), "check"))
        raise at.key("check").error("is not an array of tables", f"Write [[{header}]].")
    checks = tuple(read_check(at.key("check").key(i), t, shared.values) for i, t in enumerate(tables))
    for number, check in enumerate(checks):
        if twin := next((c for c in checks[:number] if c.name.lower() == check.name.lower()), None):
            here = at.key("check").key(number).key("name")
            raise here.error(
                f"{check.name!r} is already the name of the check on line {twin.line()}",
                "A check's name is the name of its baseline's file.",
            )
    return Config(path, reports, checks, shared.values)
