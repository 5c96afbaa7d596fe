#!/usr/bin/env python3
"""Makes small wheels, each of which needs the one before it, for pip to install: wheels.py FOLDER NAME..."""

import sys
import zipfile
from pathlib import Path

folder, before = Path(sys.argv[1]), None
folder.mkdir(parents=True, exist_ok=True)
for name in sys.argv[2:]:
    info = f"{name}-1.0.dist-info"
    needs = f"Requires-Dist: {before}\n" if before else ""
    files = {
        f"{name}/__init__.py": f"name = {name!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: record\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    before = name
