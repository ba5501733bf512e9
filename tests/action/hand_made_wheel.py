"""A wheel by hand: nothing has to be there that builds one."""

from __future__ import annotations

import zipfile
from pathlib import Path


def wheel(folder: Path, name: str, version: str, files: dict[str, bytes], more: str = "") -> None:
    """Write the wheel of these files into a folder, with `more` as its entry points."""
    info = f"{name}-{version}.dist-info"
    records = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": more.encode(),
    }
    records[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*files, *records)).encode()
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, content in (files | records).items():
            archive.writestr(path, content)
