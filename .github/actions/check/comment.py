"""Puts the result on the pull request: in one comment, which the next run finds by its marker and updates.

A comment that cannot be written, as with the token of a fork that may only read, is a warning: the check has
said its word.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from runner import warn

#: What GitHub takes of a comment, in characters.
MOST = 65_536

MARKER = "<!-- modelsum check -->"


class Refused(Exception):
    """`gh` did not, and says why."""


def main() -> None:
    """Write or update the comment."""
    number = pull_request()
    if number is None:
        print("There is no pull request to comment on.")
        return
    repository = os.environ["GITHUB_REPOSITORY"]
    marker, text = body(os.environ["MARKDOWN"], os.environ["DIRECTORY"])
    try:
        comment = earlier(repository, number, marker)
        where = f"comments/{comment}" if comment else f"{number}/comments"
        method = "PATCH" if comment else "POST"
        gh("api", "--method", method, f"repos/{repository}/issues/{where}", "-F", "body=@-", given=text)
    except Refused as why:
        needs = "The job needs `pull-requests: write`, which a pull request from a fork does not get."
        warn(f"The result is not on the pull request: {why}\n{needs}")


def pull_request() -> int | None:
    """The number of the pull request that the workflow runs for."""
    event: dict[str, Any] = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
    number = event.get("pull_request", {}).get("number")
    return int(number) if number else None


def body(report: str, directory: str) -> tuple[str, str]:
    """The comment's first line, of this project alone, and all of it."""
    marker = MARKER if directory in ("", ".") else f"{MARKER[:-4]} in {directory} -->"
    text = "### modelsum check: could not run\n\nWhat is wrong stands in the log of the job."
    if report:
        text = Path(report).read_text(encoding="utf-8").removeprefix(MARKER).strip()
    run = "{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs/{GITHUB_RUN_ID}".format_map(os.environ)
    end = f"\n\n[The run]({run})"
    room = MOST - len(marker) - len(end) - 100
    if len(text) > room:
        text = text[:room].rpartition("\n")[0] + "\n\nThe rest is in the summary of the job."
    return marker, f"{marker}\n\n{text}{end}\n"


def earlier(repository: str, number: int, marker: str) -> str | None:
    """The comment of an earlier run; others may quote its first line, but are not its author."""
    asked = ["pr", "view", str(number), "--repo", repository, "--json", "comments"]
    for comment in json.loads(gh(*asked))["comments"]:
        if comment["viewerDidAuthor"] and comment["body"].splitlines()[:1] == [marker]:
            return str(comment["url"]).rpartition("-")[2]
    return None


def gh(*arguments: str, given: str = "") -> str:
    """What GitHub's own command answers. Raises Refused."""
    host = os.environ["GITHUB_SERVER_URL"].rpartition("/")[2]
    token = {
        "GH_HOST": host,
        "GH_ENTERPRISE_TOKEN": os.environ["GH_TOKEN"],
    }  # for a host other than github.com
    try:
        done = subprocess.run(
            ["gh", *arguments],
            input=given,
            capture_output=True,
            check=False,
            encoding="utf-8",
            env={**os.environ, **token},
        )
    except FileNotFoundError as error:
        raise Refused("the command gh is not on this runner.") from error
    if done.returncode:
        raise Refused(done.stderr.strip() or f"gh ended with {done.returncode}.")
    return done.stdout


if __name__ == "__main__":
    main()
