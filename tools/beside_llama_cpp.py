#!/usr/bin/env python3
"""Greedy texts of Lorakeet and llama.cpp on one GGUF file, side by side.

    python3 tools/beside_llama_cpp.py MODEL.gguf

Needs `cargo build --release --features cli`, the packages of tests/fixtures/requirements.txt, and xllamacpp, which is
llama.cpp. llama.cpp rounds the input of every quantised map to 8 bits, which we do not: it also runs on a copy
of the file whose numbers are held as f32, where it rounds nothing. Its cache has f32 in both.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PROGRAM = REPOSITORY / "target/release/lorakeet"
PROMPTS = [
    "The capital of France is",
    "Once upon a time there was a little girl who",
    "The three primary colours are",
    "def fibonacci(n):\n",
    "Dear Sir,\n\nI am writing to",
    "In the summer of 1969, two men",
    "Die Hauptstadt von Deutschland ist",
    "To make bread you need flour,",
]
TOKENS, CONTEXT = 48, 512
SHOWN = 40  # characters of what differs


class LlamaCpp:
    """llama.cpp with one thread and one slot."""

    def __init__(self, path: Path):
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx, params.n_parallel, params.verbosity = CONTEXT, 1, 0
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        self.server = xllamacpp.Server(params)

    def post(self, path: str, body: dict) -> dict:
        address = self.server.listening_address + path
        request = urllib.request.Request(address, json.dumps(body).encode(), {"content-type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def ids(self, text: str) -> list[int]:
        return self.post("/tokenize", {"content": text, "add_special": True})["tokens"]

    def complete(self, ids: list[int], tokens: int) -> dict:
        """What the server answers; like ours, without the token that ends a text."""
        greedy = {"temperature": 0, "n_probs": 2, "return_tokens": True, "cache_prompt": False}
        answer = self.post("/completion", {"prompt": ids, "n_predict": tokens} | greedy)
        if answer["stop_type"] == "eos":
            answer["tokens"].pop()
        return answer


def ours(*arguments: str | int | Path) -> dict:
    command = [PROGRAM, *map(str, arguments), "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def our_gap(model: Path, ids: list[int], folder: str) -> float:
    """What the best logit after `ids` has more than the second."""
    import numpy
    from safetensors.numpy import load_file, save_file

    asked, told = Path(folder) / "ids.safetensors", Path(folder) / "logits.safetensors"
    save_file({"input_ids": numpy.array(ids, dtype=numpy.int32)}, asked)
    ours("logits", "--model", model, "--ids", asked, "--out", told)
    second, best = numpy.sort(load_file(told)["logits"][-1])[-2:]
    return float(best - second)


def widened(model: Path, folder: str) -> Path:
    """A copy whose tensors are all f32."""
    sys.path += [str(REPOSITORY / "tests/fixtures"), str(REPOSITORY / "tests")]
    import gguf
    import gguf_models

    copy = Path(folder) / "f32.gguf"
    copy.symlink_to(model.resolve())
    parts = {name.split(".")[0] for name in (tensor.name for tensor in gguf.GGUFReader(model).tensors)}
    gguf_models.retype(copy, dict.fromkeys(parts, gguf.GGMLQuantizationType.F32), 0)
    return copy


def parting(mine: list[int], theirs: list[int]) -> int | None:
    """How many tokens are the same before two differ, or none does."""
    at = next((i for i, pair in enumerate(zip(mine, theirs)) if pair[0] != pair[1]), min(len(mine), len(theirs)))
    return None if at == len(mine) == len(theirs) else at


def their_gap(answer: dict, at: int) -> float:
    best, second = answer["completion_probabilities"][at]["top_logprobs"]
    return best["logprob"] - second["logprob"]


def texts(model: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        runs = {}
        for name, path in (("the file", model), ("its numbers as f32", widened(model, folder))):
            theirs = LlamaCpp(path)
            runs[name] = [(ids := theirs.ids(prompt), theirs.complete(ids, TOKENS)) for prompt in PROMPTS]
            del theirs
        mine = [ours("generate", "--model", model, "--prompt", prompt, "--temperature", "0", "--max-tokens", TOKENS,
                     "--context-length", CONTEXT) for prompt in PROMPTS]
        print("| prompt | both | ours goes on | llama.cpp goes on | tokens the same | gap, ours | llama.cpp's | f32 |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        for i, (prompt, our) in enumerate(zip(PROMPTS, mine)):
            ids, answer = runs["the file"][i]
            at = parting(our["tokens"], answer["tokens"])
            gaps = ["", ""]
            if at is not None:
                gap = our_gap(model, ids + our["tokens"][:at], folder)
                gaps = [f"{gap:.3f}", f"{their_gap(answer, at):.3f}"]
            wide = parting(our["tokens"], runs["its numbers as f32"][i][1]["tokens"])
            both = os.path.commonprefix([our["text"], answer["content"]])
            cells = [prompt, both, *(text[len(both) :][:SHOWN] for text in (our["text"], answer["content"]))]
            cells = [json.dumps(cell, ensure_ascii=False)[1:-1].replace("|", "\\|") for cell in cells]
            print(f"| {' | '.join(cells)} | {'all' if at is None else at} | {' | '.join(gaps)} | "
                  f"{'all' if wide is None else wide} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    texts(parser.parse_args().model)


if __name__ == "__main__":
    main()
