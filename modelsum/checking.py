"""`check`: the checks of a project, each against its baseline and its limits -> an Outcome."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from modelsum import api, jobs
from modelsum.baselines.configuration import config as configuration
from modelsum.baselines.configuration.checks import Check
from modelsum.baselines.configuration.config import Config
from modelsum.baselines.gate import gate, project, rules, stored
from modelsum.baselines.gate.checkout import Checkout
from modelsum.baselines.gate.project import Baselines, Before
from modelsum.baselines.gate.verdict import Outcome, Place, RuleChange, Verdict
from modelsum.baselines.reports import files as report_files
from modelsum.baselines.reports import text as report_text
from modelsum.baselines.reports.report import Report
from modelsum.baselines.revisions import Revision, merge_base
from modelsum.errors import BuildError, ConfigError, ModelsumError, OutputError, UsageError
from modelsum.files import inside
from modelsum.processes import how_it_ended
from modelsum.raised import fault
from modelsum.sources.definition import Definitions


def check(
    *names: str,
    config: str | Path | None = None,
    against: str | None = None,
    update: bool = False,
    new_only: bool = False,
    prune: bool = False,
    force: bool = False,
    strict: bool | None = None,
    jobs: int | None = None,
    timeout: float | None = None,
) -> Outcome:
    """Build every model of a project's [tool.modelsum], and judge its cost by its baseline and its limits.

    The models are built in processes of their own, from the project's folder; what is said of them on the
    way goes to stderr.

        >>> modelsum.check(against="origin/main").passed  # doctest: +SKIP
        True

    Args:
        *names: of checks; none for all of them.
        config: the file of the configuration; None for the nearest pyproject.toml or modelsum.toml.
        against: a git revision: compare with the baselines where this branch left it.
        update: store what the models cost now as their baselines.
        new_only: store baselines only for checks that have none.
        prune: remove baselines of no check.
        force: store and remove baselines under CI too.
        strict: a check without a baseline, or a baseline without a check, fails; None for under CI alone.
        jobs: models that are built at the same time; None for the cores there are.
        timeout: seconds after which a model fails, where its check says no others; None for no limit.

    Returns:
        The verdicts. A model that cannot be built or run, or costs too much, is a verdict and no exception.

    Raises:
        UsageError: the words are wrong, or baselines would be changed under CI.
        ConfigError: the configuration cannot be read, or has no checks.
        ReportError: a baseline that is compared with cannot be read.
        OutputError: a baseline cannot be stored or removed.
    """
    if (against is not None) + update + new_only > 1:
        raise UsageError("of against, update and new_only more than one is given", "Give one of them.")
    if jobs is not None and jobs < 1:
        raise UsageError(f"jobs {jobs} is not a positive whole number", "Write 1 or more.")
    if timeout is not None and timeout <= 0:
        raise UsageError(f"timeout {timeout} is no time", "Write seconds, more than 0.")
    return run(
        read(names, Path(config) if config is not None else None),
        against=against,
        update=update,
        new_only=new_only,
        prune=prune,
        force=force,
        strict=strict,
        most=jobs,
        timeout=timeout,
    )


@dataclass(frozen=True, slots=True)
class Gate:
    """Checks that were chosen of a project, and what is stored of them; nothing is built yet.

    Attributes:
        whole: all checks were chosen.
    """

    config: Config
    checks: tuple[Check, ...]
    checkout: Checkout
    baselines: Baselines
    whole: bool


def read(names: tuple[str, ...], file: Path | None = None) -> Gate:
    """The checks of those names, all without names, of a configuration, by default the nearest.

    Raises ConfigError, UsageError for a name that is none.
    """
    config = configuration.load((file or configuration.find(Path.cwd())).resolve())
    checks = config.chosen(names)
    if any(check.budget for check in checks):
        from modelsum.sweeps.budget import with_budgets  # which most do without

        checks = with_budgets(config, checks)
    checkout = Checkout.of(config.folder)
    return Gate(config, checks, checkout, project.read(config, checks, checkout.name), not names)


def _import_torch() -> None:
    import torch  # noqa: F401


def run(
    found: Gate,
    *,
    against: str | None = None,
    update: bool = False,
    new_only: bool = False,
    prune: bool = False,
    force: bool = False,
    strict: bool | None = None,
    most: int | None = None,
    timeout: float | None = None,
    debug: bool = False,
    ready: Callable[[], None] = _import_torch,
    progress: Callable[[str], None] = lambda doing: None,
    say: Callable[[str], object] = lambda text: sys.stderr.write(text),
) -> Outcome:
    """The verdicts on the checks and, unless some were chosen by name, on baselines without one.

    Args:
        found: the checks; the others are those of `check`.
        most: models that are built at the same time.
        debug: say the traceback of an error too.
        ready: imports torch, once for all processes, when all words are known to be right.
        progress: told what goes on.
        say: told what was said on the way, whole lines.

    Raises as `check` does.
    """
    config, checkout, baselines = found.config, found.checkout, found.baselines
    _check_asked(config, against, changes=(update or new_only or prune) and not force)
    if new_only or not update:
        baselines.require()
    config_file = checkout.name(config.path)
    strict = _under_ci() if strict is None else strict
    base = merge_base(config.folder, against) if against else None
    before = project.at(base, config, found.checks, checkout.name) if base else Before(config, {}, ())
    definitions = Definitions(config.folder, checkout.own)
    ready()
    verdicts = []
    costs = _costs_of(found, most or jobs.cores(), timeout, debug, progress, say)
    for each, fresh in zip(found.checks, costs, strict=True):
        here = kept = baselines.stored.get(each.name)
        if isinstance(fresh, Report) and (update or new_only) and not (new_only and here):
            kept = _store(found, each, fresh) or here
        verdict = gate.judge(
            each,
            kept,
            fresh,
            config_file=config_file,
            source=_source(each, definitions, checkout),
            strict=strict,
            base=before.baselines.get(each.name),
        )
        if kept is not None and kept is not here:
            spoiled = baselines.unreadable.get(each.name)
            verdict = gate.updated(verdict, here, kept, spoiled.message if spoiled else "")
        verdicts.append(verdict)
    if found.whole or prune:
        verdicts += _of_no_check(found, prune=prune, strict=strict)
    folder = checkout.name(config.reports)
    compared = f"the baselines in {folder}"
    if base:
        compared = f"{folder} at {base.commit[:12]}, where this branch left {against}"
    changed = rules.changed(before.config, config, config_file)
    budgets = _other_budgets(found.checks, base, config_file) if base else ()
    return Outcome(tuple(verdicts), compared, (*before.unread, *changed, *budgets))


def _check_asked(config: Config, against: str | None, *, changes: bool) -> None:
    """Refuse what cannot be meant; `changes`: baselines would be stored or removed, and nothing forces it."""
    if not config.checks:
        raise ConfigError(
            f"{config.path.name} has no checks", f"Write one:\n\n{configuration.example(config)}"
        )
    if against is not None and not against.strip():
        raise UsageError(
            f"--against {against!r} names no git revision",
            "If a variable should have: it is not set. Without --against the baselines that are here count.",
        )
    if changes and _under_ci():
        raise UsageError(
            "baselines are not changed under CI",
            "Run it where the change can be reviewed and committed; --force does it all the same.",
        )


class _Cost(NamedTuple):
    """What the model of a check costs now, or why that is not known; and what was said on stderr."""

    report: Report | ModelsumError
    said: str


def _costs_of(
    found: Gate,
    most: int,
    timeout: float | None,
    debug: bool,
    progress: Callable[[str], None],
    say: Callable[[str], object],
) -> Iterator[Report | ModelsumError]:
    """What each model costs now, or why that is not known: the other checks go on."""

    def note(finished: int, each: Check) -> None:
        progress(f"{finished} of {len(found.checks)} checks: {each.name}")

    work = partial(_cost, found.config.folder, debug=debug)
    lost = partial(_lost, timeout)
    limited = timeout is not None or any(check.timeout for check in found.checks)
    limit = (lambda check: check.timeout or timeout) if limited else None
    for cost in jobs.results(
        work, found.checks, jobs=most, lost=lost, done=note, timeout=limit, prepare=_import_torch
    ):
        if cost.said:
            say(cost.said)
        yield cost.report


def _cost(folder: Path, check: Check, *, debug: bool) -> _Cost:
    """Build and run the model of one check, from the project's folder."""
    said = io.StringIO()
    with inside(folder), contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            summary = api.run(check.request)
        except (Exception, SystemExit) as error:
            if debug:
                traceback.print_exc()
            return _Cost(error if isinstance(error, ModelsumError) else fault(error), said.getvalue())
    unknown = summary.memory.without_training if summary.memory else ""
    for notice in filter(None, (*summary.notices, unknown)):
        said.write(f"modelsum: notice: {check.name}: {notice}\n")
    return _Cost(Report.of(summary), said.getvalue())


def _lost(timeout: float | None, check: Check, ended: jobs.Ended) -> _Cost:
    limit = f"{check.timeout} s (the check's timeout)" if check.timeout else f"{timeout} s (--timeout)"
    why = f"it took longer than {limit}" if ended.timed_out else how_it_ended(ended.status)
    return _Cost(BuildError(why), "")


def _other_budgets(checks: Iterable[Check], base: Revision, file: str) -> Iterator[RuleChange]:
    """Budgets whose files the branch changed: their rows may be limits that let more pass."""
    for check in checks:
        if check.budget is not None and base.differs(check.budget):
            place = Place(file, check.line("budget"))
            yield RuleChange(check.name, "budget", f"{check.budget} is another one", True, place)


def _store(found: Gate, check: Check, fresh: Report) -> stored.Stored | None:
    """The baseline as it was written; None where it was the same already."""
    path = found.config.folder / project.file_of(found.config, check.name)
    written = report_files.write(path, fresh)
    return stored.parse(report_text.to_text(fresh), found.checkout.name(path)) if written else None


def _of_no_check(found: Gate, *, prune: bool, strict: bool) -> Iterator[Verdict]:
    """The verdicts on baselines without a check, which are removed if that is asked for."""
    for name, file in found.baselines.orphans.items():
        named = found.checkout.name(file)
        if not prune:
            yield gate.orphan(name, named, strict=strict)
            continue
        try:
            (found.config.folder / file).unlink()
        except OSError as error:
            raise OutputError(f"cannot remove {named}: {error.strerror}") from error
        yield gate.pruned(name, named)


def _source(check: Check, definitions: Definitions, checkout: Checkout) -> Place | None:
    """Where the project defines a check's model; None where an installed package does."""
    definition = definitions.find(check.model)
    return Place(checkout.name(definition.file), definition.line) if definition else None


def _under_ci(environment: Mapping[str, str] = os.environ) -> bool:
    return environment.get("CI", "").lower() not in ("", "0", "false")
