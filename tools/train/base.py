"""The base model: a byte-level BPE tokenizer and a Llama, trained from nothing on novels."""

import json
import math
import shutil
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

import corpora
import export as gguf_export

END_OF_TEXT = "<|endoftext|>"  # id 0, after every book

V, CONTEXT, SEED = 4096, 1024, 1
SHORT = 256  # the flat part of training sees windows of this many tokens, which is cheaper
TOKENS, PART = 8192, 2048  # a step, and what of it fits a processor's cache
# A step of the flat part does not depend on how many there are: it can be made longer while it runs.
FLAT, DECAY, WARM_UP = 1200, 550, 30
MATRIX_RATE, OTHER_RATE = 8e-3, 4e-3

CONFIG = LlamaConfig(
    vocab_size=V, hidden_size=192, intermediate_size=512, num_hidden_layers=6, num_attention_heads=6,
    num_key_value_heads=2, head_dim=32, max_position_embeddings=CONTEXT, rms_norm_eps=1e-5,
    tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    bos_token_id=0, eos_token_id=0,
)


def train_tokenizer(texts: list[str]) -> Tokenizer:
    """GPT-2's arrangement: split by its pattern, spell in bytes, merge; 256 bytes and id 0 included."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=V, special_tokens=[END_OF_TEXT], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    assert tokenizer.get_vocab_size() == V and tokenizer.token_to_id(END_OF_TEXT) == 0
    return tokenizer


def prepare(corpora_folder: Path, state: Path) -> tuple[Tokenizer, torch.Tensor, dict]:
    """The tokenizer, the stream of training ids (N), and what the card says of the data; cached in `state`."""
    state.mkdir(parents=True, exist_ok=True)
    cache = state / "stream.pt"
    if not cache.exists():
        texts = corpora.base_books(corpora_folder)
        tokenizer = train_tokenizer(list(texts.values()))
        tokenizer.save(str(state / "tokenizer.json"))
        rows = [encoding.ids + [0] for encoding in tokenizer.encode_batch(list(texts.values()))]
        stream = torch.tensor([token for row in rows for token in row], dtype=torch.int32)
        facts = {"books": len(texts), "bytes": sum(map(len, texts.values())), "tokens": len(stream)}
        torch.save({"stream": stream, "facts": facts}, cache)
    saved = torch.load(cache)
    print(f"base: {saved['facts']}", flush=True)
    return Tokenizer.from_file(str(state / "tokenizer.json")), saved["stream"], saved["facts"]


def batch(stream: torch.Tensor, t: int, first: int) -> torch.Tensor:
    """The TOKENS tokens from `first` on in a shuffled order of windows -> (B, T + 1). Every window of
    the stream is seen once an epoch."""
    n, rows = (len(stream) - 1) // t, []
    for index in range(first // t, (first + TOKENS) // t):
        order = torch.randperm(n, generator=torch.Generator().manual_seed(1000 * t + index // n))
        start = order[index % n] * t
        rows.append(stream[start : start + t + 1])
    return torch.stack(rows).long()


def rate(step: int, flat: int, decay: int) -> float:
    """Linear warm-up, flat, then linearly to zero, as a fraction of the full rate."""
    return min((step + 1) / WARM_UP, 1.0, (flat + decay - step) / decay)


@torch.no_grad()
def nats(model: LlamaForCausalLM, stream: torch.Tensor, context: int = CONTEXT) -> float:
    """The loss of a stream of ids (N), summed over all but its first: every token but those of the
    first half window is predicted from at least half a context."""
    total, half = 0.0, context // 2
    for start in range(0, len(stream) - 1, half):
        ids = stream[max(start - half, 0) : start + half + 1].long()[None].to(model.device)
        scored = ids.shape[1] - 1 - (half if start else 0)
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits[0]
        total += F.cross_entropy(logits[-scored:].float(), ids[0, -scored:], reduction="sum").item()
    return total


def fit(model: LlamaForCausalLM, stream: torch.Tensor, judge: torch.Tensor, state: Path, flat: int, decay: int) -> None:
    """Muon for the matrices of the layers, AdamW for the embedding and the norms. Goes on where
    `state` stops."""
    device = model.device
    layers = [p for name, p in model.named_parameters() if p.dim() == 2 and "layers" in name]
    others = [p for name, p in model.named_parameters() if not (p.dim() == 2 and "layers" in name)]
    optimizers = [
        torch.optim.Muon(layers, lr=MATRIX_RATE, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.99), weight_decay=0.0),
    ]
    first, path = 0, state / "training.pt"
    if path.exists():
        saved = torch.load(path, map_location=device)
        first = saved["step"]
        model.load_state_dict(saved["model"])
        for optimizer, part in zip(optimizers, saved["optimizers"]):
            optimizer.load_state_dict(part)
    started, total, seen = time.time(), 0.0, 0
    for step in range(first, flat + decay):
        ids = batch(stream, SHORT if step < flat else CONTEXT, step * TOKENS).to(device)
        for optimizer, peak in zip(optimizers, [MATRIX_RATE, OTHER_RATE]):
            optimizer.param_groups[0]["lr"] = peak * rate(step, flat, decay)
        for part in ids.split(PART // (ids.shape[1] - 1)):
            with torch.autocast(device.type, torch.bfloat16):
                logits = model(input_ids=part[:, :-1], use_cache=False).logits
            loss = F.cross_entropy(logits.float().flatten(0, 1), part[:, 1:].flatten(), reduction="sum") / TOKENS
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        seen += 1
        done = step + 1
        if done % 25 == 0 or done == flat + decay:
            speed = (done - first) * TOKENS / (time.time() - started)
            left = (flat + decay - done) * TOKENS / speed / 60
            print(f"base: step {done}/{flat + decay}, loss {total / seen:.3f}, {speed:.0f} tokens/s, {left:.0f} min left",
                  flush=True)
            total, seen = 0.0, 0
        if done % 100 == 0 or done in (flat, flat + decay):
            print(f"base: held out {nats(model, judge) / len(judge):.3f}", flush=True)
            parts = [optimizer.state_dict() for optimizer in optimizers]
            torch.save({"step": done, "model": model.state_dict(), "optimizers": parts}, path.with_suffix(".new"))
            path.with_suffix(".new").replace(path)


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """`tokenizer.json` and the `tokenizer_config.json` that makes transformers read it as it is."""
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT,
        "unk_token": END_OF_TEXT, "add_prefix_space": False, "clean_up_tokenization_spaces": False,
        "model_max_length": CONTEXT,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")


def bits_per_byte(model: LlamaForCausalLM, tokenizer: Tokenizer, text: str) -> float:
    """Of an ASCII text."""
    return nats(model, torch.tensor(tokenizer.encode(text).ids)) / math.log(2) / len(text)


def write(corpora_folder: Path, state: Path, shipped: Path, device: torch.device) -> None:
    """Trains, saves the HF folder `state`/base, and what the page needs of it in `shipped`."""
    tokenizer, stream, facts = prepare(corpora_folder, state)
    test = corpora.held_out(corpora_folder)
    judge = torch.tensor(tokenizer.encode("\n\n".join(text[100_000:110_000] for text in test.values())).ids)
    torch.manual_seed(SEED)
    model = LlamaForCausalLM(CONFIG).to(device)
    print(f"base: {model.num_parameters():,} parameters", flush=True)
    fit(model, stream, judge, state, FLAT, DECAY)

    folder = state / "base"
    shutil.rmtree(folder, ignore_errors=True)
    model.generation_config = GenerationConfig(
        bos_token_id=0, eos_token_id=0, do_sample=True, temperature=0.8, top_p=0.95, repetition_penalty=1.1
    )
    model.half().save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    shipped.mkdir(parents=True, exist_ok=True)
    for file in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / file, shipped / file)
    for kind in ("q8_0", "q4_0"):
        home = shipped if kind == "q8_0" else state
        gguf_export.export(folder, home / f"novels-{kind}.gguf", kind)

    report = state / "base.json"
    rows = json.loads(report.read_text())["bits_per_byte"] if report.exists() else {}
    models = variants(folder, shipped, state)
    (state / "texts").mkdir(exist_ok=True)
    for name, text in test.items():
        (state / "texts" / f"{name}.txt").write_text(text)
        if name not in rows:
            rows[name] = {kind: bits_per_byte(read, tokenizer, text) for kind, read in models.items()}
        print(f"base: {name} {rows[name]}", flush=True)
        report.write_text(json.dumps({"facts": facts, "bits_per_byte": rows}, indent=1))


def variants(folder: Path, shipped: Path, state: Path) -> dict[str, LlamaForCausalLM]:
    """What was saved, as PyTorch reads it again: f16, and the GGUF files' weights widened."""
    load = lambda *place, **options: LlamaForCausalLM.from_pretrained(*place, dtype=torch.float32, **options).eval()
    return {
        "f16": load(folder),
        "q8": load(shipped, gguf_file="novels-q8_0.gguf"),
        "q4": load(state, gguf_file="novels-q4_0.gguf"),
    }
