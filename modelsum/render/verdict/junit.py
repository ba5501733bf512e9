"""The outcome as JUnit XML, a test case a check, as Jenkins, GitLab and others read it."""

from __future__ import annotations

import re
from xml.etree import ElementTree as Xml

from modelsum.baselines.gate.verdict import Outcome, Verdict
from modelsum.render import RenderOptions
from modelsum.render.verdict import words
from modelsum.render.verdict.text import lines

# What XML 1.0 has no way to write.
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_ELEMENTS = {"failed": "error"}


def render(outcome: Outcome, options: RenderOptions) -> str:
    """One suite. A red verdict is a failure, a model that did not run an error, a note on neither skipped."""
    cases = [_case(verdict) for verdict in outcome.verdicts]
    counts = {
        "tests": len(cases),
        "failures": sum(case.find("failure") is not None for case in cases),
        "errors": sum(case.find("error") is not None for case in cases),
    }
    attributes = {name: str(n) for name, n in counts.items()}
    suites = Xml.Element("testsuites", {"name": "modelsum check", **attributes})
    skipped = sum(case.find("skipped") is not None for case in cases)
    suite = Xml.SubElement(suites, "testsuite", {"name": "modelsum", **attributes, "skipped": str(skipped)})
    suite.extend(cases)
    if outcome.loosened:
        said = ["Loosened on this branch:", *map(str, outcome.loosened)]
        Xml.SubElement(suite, "system-out").text = _clean("\n".join(said))
    Xml.indent(suites)
    return Xml.tostring(suites, encoding="unicode", xml_declaration=True)


def _case(verdict: Verdict) -> Xml.Element:
    case = Xml.Element("testcase", {"classname": "modelsum.check", "name": verdict.name})
    said = _clean("\n".join(lines(verdict)))
    if verdict.fails:
        kind = _ELEMENTS.get(verdict.state, "failure")
        attributes = {"type": verdict.state, "message": _clean(words.headline(verdict))}
        Xml.SubElement(case, kind, attributes).text = said
    elif verdict.state in ("new", "orphan"):
        Xml.SubElement(case, "skipped", {"message": _clean(verdict.reason)})
    elif verdict.findings or verdict.accepted:
        Xml.SubElement(case, "system-out").text = said
    return case


def _clean(text: str) -> str:
    return _NOT_IN_XML.sub("\ufffd", text)
