"""Which files of a checkout are the project's own, and what they are called."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from modelsum.baselines.gate.checkout import Checkout
from modelsum.sources.definition import Definitions
from modelsum.spec import parse_model


def git(folder: Path) -> None:
    subprocess.run(["git", "init", "-q", str(folder)], check=True)


@pytest.mark.parametrize("committed", [True, False])
def test_an_installed_copy_stands_for_the_file_in_the_checkout(
    tmp_path: Path, monkeypatch, committed: bool
) -> None:
    """A src layout, installed into an environment in the checkout, by a build that leaves copies too."""
    git(tmp_path)
    (tmp_path / ".gitignore").write_text(".venv\n")
    sources, installed = tmp_path / "src" / "shop2", tmp_path / ".venv" / "site-packages" / "shop2"
    for folder in (sources, installed, tmp_path / "old" / "shop2"):
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("from shop2.nets import Net\n")
        (folder / "nets.py").write_text("class Net: pass\n")
    (tmp_path / "old" / "shop2" / "nets.py").write_text("\n\n\nclass Net: pass\n")
    if committed:
        subprocess.run(["git", "-C", str(tmp_path), "add", "-A"], check=True)
    shutil.copytree(sources, tmp_path / "build" / "lib" / "shop2")
    monkeypatch.syspath_prepend(installed.parent)
    found = Definitions(tmp_path, Checkout.of(tmp_path, {}).own).find(parse_model("shop2:Net"))
    assert found == (sources / "nets.py", 1)


def test_without_git_an_installed_copy_stands_for_nothing(tmp_path: Path) -> None:
    file = tmp_path / "site-packages" / "shop.py"
    assert Checkout.of(tmp_path, {}).own(file) is None
    assert Checkout.of(tmp_path, {}).own(tmp_path / "shop.py") == tmp_path / "shop.py"
    assert Checkout.of(tmp_path, {}).own(tmp_path.parent / "shop.py") is None


def test_names_are_relative_to_the_checkout_that_a_ci_system_names_else_to_here(
    tmp_path: Path, monkeypatch
) -> None:
    folder, here = tmp_path / "a b" / "project", tmp_path / "elsewhere"
    folder.mkdir(parents=True)
    here.mkdir()
    monkeypatch.chdir(here)
    assert Checkout.of(folder, {"GITHUB_WORKSPACE": str(tmp_path)}).name("n.py") == "a b/project/n.py"
    assert Checkout.of(folder, {"CI_PROJECT_DIR": str(here)}).name("n.py") == "../a b/project/n.py"
    assert Checkout.of(folder, {}).name(folder / "n.py") == "../a b/project/n.py"


def test_a_repository_in_a_folder_of_the_ci_systems_is_what_names_are_relative_to(tmp_path: Path) -> None:
    """As with `path:` of actions/checkout."""
    folder = tmp_path / "here" / "models"
    folder.mkdir(parents=True)
    git(tmp_path / "here")
    assert Checkout.of(folder, {"GITHUB_WORKSPACE": str(tmp_path)}).name("n.py") == "models/n.py"


def test_a_repository_is_edited_as_a_whole(tmp_path: Path) -> None:
    git(tmp_path)
    folder = tmp_path / "models"
    folder.mkdir()
    assert Checkout.of(folder, {}).own(tmp_path / "shared.py") == tmp_path / "shared.py"
