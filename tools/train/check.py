"""The model card's figures, measured once more by this project's own program."""

import json
import subprocess
from pathlib import Path

MOST_OFF = 0.005


def check(state: Path, shipped: Path, program: Path, kinds: list[str]) -> None:
    """Errors where a novel's bits per byte are further from PyTorch's than `MOST_OFF` of them."""
    models = {"f16": state / "base", "q8": shipped / "novels-q8_0.gguf", "q4": state / "novels-q4_0.gguf"}
    unknown = set(kinds) - set(models)
    if unknown:
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(models)}")
    off = []
    for kind in kinds or models:
        for name, by_torch in json.loads((state / "base.json").read_text())["bits_per_byte"].items():
            text = state / "texts" / f"{name}.txt"
            command = [program, "perplexity", "--text", text, "--model", models[kind], "--json"]
            ours = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["bits_per_byte"]
            off.append(abs(ours / by_torch[kind] - 1))
            print(f"{kind} {name}: {by_torch[kind]:.5f} by PyTorch, {ours:.5f} here, off by {off[-1]:.1e}", flush=True)
    print(f"{len(off)} figures, off by {max(off):.1e} at most")
    if max(off) > MOST_OFF:
        raise SystemExit(1)
