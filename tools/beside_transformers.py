#!/usr/bin/env python3
"""Perplexity and training of Lorakeet on one real GGUF file beside transformers and PEFT on its numbers as f32.

    python3 tools/beside_transformers.py MODEL.gguf --score TEXT [--learn TEXT]

Needs `cargo build --release --features cli`, the packages of tests/fixtures/requirements.txt, and xllamacpp, whose
tokens are taken. MODEL is SmolLM2 or Gemma 3 of tools/real_model.py. Both sides make windows, their order and the first
numbers of the adapter by themselves. `--learn` is cut after a few windows, which are gone through again and again.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from peft import PeftModel
from transformers import PreTrainedModel
from transformers.utils import logging

from beside_llama_cpp import REPOSITORY, LlamaCpp, ours

sys.path.append(str(REPOSITORY / "tests/fixtures"))
import real

LOADERS = {Path(real.real_model.GEMMA3).name: real.load_gemma3, real.real_model.NAME: real.load}
WINDOW, WINDOWS, STEPS, RANK, ALPHA, SEED = 128, 4, 20, 8, 16, 0
MOST = 0.005  # by which a loss may differ


def shuffled(n: int, seed: int) -> list[int]:
    """Fisher and Yates with mulberry32 as the dice, which is how an epoch is ordered."""
    order, low = list(range(n)), 0xFFFFFFFF
    for left in range(n, 1, -1):
        seed = seed + 0x6D2B79F5 & low
        noise = (seed ^ seed >> 15) * (seed | 1) & low
        noise ^= noise + ((noise ^ noise >> 7) * (noise | 61) & low) & low
        at = (noise ^ noise >> 14) * left >> 32
        order[left - 1], order[at] = order[at], order[left - 1]
    return order


@torch.no_grad()
def perplexity(model: torch.nn.Module, ids: torch.Tensor, window: int) -> float:
    """Of ids (T) in windows that overlap by half, each token scored in the first that has it."""
    losses: list[torch.Tensor] = []
    done, end = 1, min(window, len(ids))
    while done < len(ids):
        start = max(end - window, 0)
        losses.append(real.label_losses(model, ids[start:end], done - start).double())
        done, end = end, min(end + window // 2, len(ids))
    return torch.cat(losses).mean().exp().item()


def compare(path: Path, model: torch.nn.Module, ids: torch.Tensor, text: Path, window: int, *adapter) -> None:
    """Prints the perplexity by both of ids (T), the first of the text."""
    asked = ["--text", text, "--max-tokens", len(ids), "--context-length", window, *adapter]
    mine = ours("perplexity", "--backend", "exact", "--model", path, *asked)
    assert mine["tokens"] == len(ids) - 1
    theirs = perplexity(model, ids, window)
    which = "with the adapter each trained" if adapter else "the model alone"
    print(f"perplexity of {len(ids)} tokens in windows of {window}, {which}: {mine['perplexity']:.4f}, "
          f"transformers {theirs:.4f}, {100 * (mine['perplexity'] / theirs - 1):+.4f} %", flush=True)


def train(path: Path, model: PreTrainedModel, ids: torch.Tensor, rate: float, text: Path, out: Path) -> PeftModel:
    """Prints the losses of both, ids (T) being those of the text; the model with the adapter that PEFT trained."""
    learn = {"--data": text, "--out": out, "--rank": RANK, "--alpha": ALPHA, "--learning-rate": rate, "--seed": SEED,
             "--schedule": "constant", "--max-length": WINDOW, "--epochs": STEPS, "--max-steps": STEPS}
    mine = ours("train", "--backend", "exact", "--model", path, *(word for option in learn.items() for word in option))
    windows = [ids[i * (WINDOW - 1) :][:WINDOW] for i in range(WINDOWS)]
    order = [i for epoch in range(STEPS) for i in shuffled(WINDOWS, SEED + epoch)][:STEPS]
    adapted = real.adapted(model, RANK, ALPHA, SEED)
    theirs = list(real.step_losses(adapted, [windows[i] for i in order], rate))
    gaps = [our / their - 1 for our, their in zip(mine["losses"], theirs, strict=True)]
    print("| step | window | loss | PyTorch's | difference |\n| --- | --- | --- | --- | --- |")
    for step, (i, our, their, gap) in enumerate(zip(order, mine["losses"], theirs, gaps), 1):
        print(f"| {step} | {i} | {our:.6f} | {their:.6f} | {100 * gap:+.5f} % |")
    worst = max(map(abs, gaps))
    print(f"{STEPS} steps in {mine['seconds']:.0f} s; losses differ by at most {100 * worst:.5f} %", flush=True)
    first, last = (sum(losses) / WINDOWS for losses in (theirs[:WINDOWS], theirs[-WINDOWS:]))
    if worst > MOST or last > 0.9 * first:
        sys.exit(f"failed: expected {100 * MOST} % at most, and that losses fall ({first:.3f} to {last:.3f})")
    return adapted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--score", type=Path, required=True)
    parser.add_argument("--learn", type=Path)
    parser.add_argument("--rate", type=float, default=2e-4, help="to learn at")
    parser.add_argument("--tokens", type=int, default=2048, help="to score")
    parser.add_argument("--window", type=int, default=512, help="to score in")
    options = parser.parse_args()
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    path, text = options.model, options.score
    llama = LlamaCpp(path)
    read = lambda text: llama.ids(text.read_bytes().decode())
    ids = torch.tensor(read(text)[: options.tokens])
    model = LOADERS[path.name](path)[0]
    compare(path, model, ids, text, options.window)
    if not options.learn:
        return
    learned = read(options.learn)[: WINDOWS * (WINDOW - 1) + 1]
    with tempfile.TemporaryDirectory() as folder:
        lesson, out = Path(folder) / "lesson.txt", Path(folder) / "adapter"
        lesson.write_text(llama.post("/detokenize", {"tokens": learned})["content"].removeprefix("<bos>"))
        assert read(lesson) == learned
        learned = torch.tensor(learned)
        adapted = train(path, model, learned, options.rate, lesson, out)
        compare(path, adapted, ids[: options.window], text, options.window, "--adapter", out)


if __name__ == "__main__":
    main()
