#!/usr/bin/env python3
"""Greedy texts of Lorakeet and llama.cpp on one GGUF file, side by side; or their speed and memory.

    python3 tools/beside_llama_cpp.py MODEL.gguf [--speed]

Needs `cargo build --release --features cli`, the packages of tests/fixtures/requirements.txt, and xllamacpp, which is
llama.cpp. llama.cpp rounds the input of every quantised map to 8 bits; our texts are of `--backend exact`, which does not: llama.cpp also runs
on a copy of the file whose numbers are held as f32, where it rounds nothing. Its cache has f32 in both. Speeds are
medians of runs that take turns, memory is the most that a process held, of llama.cpp's with Python in it.
"""

import argparse
import json
import multiprocessing
import os
import resource
import statistics
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
PREFILLS, DECODED, ROUNDS, THREADS = (128, 512), 64, 5, (1, 2)


class LlamaCpp:
    """llama.cpp with one slot."""

    def __init__(self, path: Path, threads: int = 1, context: int = CONTEXT):
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx, params.n_parallel, params.verbosity, params.cache_ram_mib = context, 1, 0, 0
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
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
    ours("logits", "--backend", "exact", "--model", model, "--ids", asked, "--out", told)
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
        mine = [ours("generate", "--backend", "exact", "--model", model, "--prompt", prompt, "--temperature", "0", "--max-tokens", TOKENS,
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


def their_runs(model: Path, threads: int, context: int, pipe) -> None:
    """Answers a prompt with the tokens a second of prefill and decode, and the most bytes held so far."""
    llama = LlamaCpp(model, threads, context)
    while ids := pipe.recv():
        asked = {"prompt": ids, "n_predict": DECODED, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
        timings = llama.post("/completion", asked)["timings"]
        assert (timings["prompt_n"], timings["predicted_n"]) == (len(ids), DECODED)
        memory = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        pipe.send((timings["prompt_per_second"], timings["predicted_per_second"], memory))


def our_memory(model: Path, context: int) -> int:
    """The most bytes that the program holds over the longest prompt and its text."""
    asked = {"--model": model, "--context-length": context, "--prompt": "the " * max(PREFILLS), "--max-tokens": DECODED}
    command = [PROGRAM, "generate", *(str(word) for option in asked.items() for word in option)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return 1024 * usage.ru_maxrss


def speed(model: Path) -> None:
    context, spawn, pipes = max(PREFILLS) + 2 * DECODED, multiprocessing.get_context("spawn"), []
    for threads in THREADS:
        pipe, other = spawn.Pipe()
        spawn.Process(target=their_runs, args=(model, threads, context, other), daemon=True).start()
        pipes.append(pipe)
    lines = {}
    for n in PREFILLS:
        rounds = []  # of each engine the tokens a second, and the bytes
        for _ in range(ROUNDS):
            asked = ["--prompt-tokens", n, "--tokens", DECODED, "--runs", 1]
            rounds.append([])
            for threads, pipe in zip(THREADS, pipes):
                mine = ours("bench", "--model", model, "--context-length", context, "--threads", threads, *asked)
                rounds[-1].append((mine["prefill_tokens_per_second"], mine["decode_tokens_per_second"]))
                pipe.send([i * 7 + 1000 for i in range(n)])
                rounds[-1].append(pipe.recv())
        for at, what in enumerate((f"prefill of {n}, tokens/s", f"decode of {DECODED} after {n}, tokens/s")):
            lines[what] = [statistics.median(run[at] for run in runs) for runs in zip(*rounds)]
    for pipe in pipes:
        pipe.send([])
    held = [of for run in rounds[-1][1::2] for of in (our_memory(model, context), run[2])]
    lines["memory, MB"] = [bytes / 1e6 for bytes in held]
    names = [f"ours, threads: {threads} | llama.cpp | ours / that" for threads in THREADS]
    print(f"| | {' | '.join(names)} |\n| ---{' | ---' * (3 * len(THREADS))} |")
    for what, values in lines.items():
        pairs = zip(values[::2], values[1::2])
        print(f"| {what} | {' | '.join(f'{our:.1f} | {their:.1f} | {our / their:.2f}' for our, their in pairs)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--speed", action="store_true", help="measure speed and memory")
    options = parser.parse_args()
    (speed if options.speed else texts)(options.model)


if __name__ == "__main__":
    main()
