"""Temp-LoRA (Wang et al. 2024, arXiv 2401.11504) in PyTorch and PEFT: score a chunk, then train on it.

    python tests/temp_lora_reference.py --model MODEL_DIR --text FILE --out curve.json

Not the engine, but what the engine is judged by: plain f32, every window computed anew. The
defaults are the constants of the published code but for chunk and context, 1024 and 3072 there:

- a window is the last `context` tokens and the chunk, positions from 0; only the chunk has labels
- chunk t is scored with the adapter off, and with the adapter trained on chunks before t, no dropout
- then `epochs` AdamW steps on the same window, dropout on; moments persist over the whole text
- the learning rate is constant after a warm-up that moves once per chunk

The first chunk has no context, so its first token is never scored.
"""

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import peft
import torch
import torch.nn.functional as F
from peft import LoraConfig, PeftConfig, PeftModel
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, DynamicCache

BETAS, EPS, MAX_NORM = (0.9, 0.999), 1e-7, 1.0
# The factor on the learning rate at chunk t. The published schedule starts from 0, which wastes
# the first chunk; `first` is the same without that.
WARMUPS = {
    "paper": lambda t: min(1.0, t / 2),
    "first": lambda t: min(1.0, (t + 1) / 2),
    "none": lambda t: 1.0,
}


@dataclass
class Settings:
    """Tokens per chunk and before it, the adapter, and how it is trained."""

    chunk: int = 256
    context: int = 256
    rank: int = 64
    alpha: float = 64
    lr: float = 5e-5
    epochs: int = 2
    warmup: str = "paper"
    dropout: float = 0.05
    seed: int = 42
    context_constant: bool = False


@dataclass
class Chunk:
    """Losses are means over the labels, in nats; those of training are before each step."""

    tokens: int
    labels: int
    base_loss: float
    adapted_loss: float
    train_losses: list[float]
    learning_rate: float
    seconds: float = 0.0


def label_losses(model: PeftModel, ids: torch.Tensor, first: int, constant: bool = False) -> torch.Tensor:
    """ids (T) -> (T - first): negative log-likelihood, nats, of each token from `first` on.

    `constant` takes no gradient through the keys and values of what comes before. The last token
    of the context is computed with the labels all the same, since it predicts the first of them.
    """
    ids, live = ids[None].long(), first - 1
    cache = None
    if constant and live > 0:
        cache = DynamicCache(config=model.config)
        with torch.no_grad():
            model(input_ids=ids[:, :live], past_key_values=cache, use_cache=True)
        ids, first = ids[:, live:], 1
    labels = ids[0, first:]
    kept = model(input_ids=ids, past_key_values=cache, use_cache=cache is not None, logits_to_keep=len(labels) + 1)
    return F.cross_entropy(kept.logits[0, :-1], labels, reduction="none")


def base(folder: Path, attention: str | None = None) -> torch.nn.Module:
    """The checkpoint in f32, its own dropout off; transformers picks the attention by default."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation=attention).eval()
    model.name_or_path = model.config.name_or_path = folder.resolve().name
    return model


def adapted(model: torch.nn.Module, settings: Settings, init: Path | None = None) -> PeftModel:
    """With a fresh adapter (A Kaiming-uniform(√5), B zero) over all linear layers but the head, or
    with that of `init`, which then decides rank and alpha."""
    if init:
        config = PeftConfig.from_pretrained(init)
        config.lora_dropout = settings.dropout
        settings.rank, settings.alpha = config.r, config.lora_alpha
        return PeftModel.from_pretrained(model, init, config=config, is_trainable=True).eval()
    torch.manual_seed(settings.seed)
    config = LoraConfig(r=settings.rank, lora_alpha=settings.alpha, lora_dropout=settings.dropout,
                        target_modules="all-linear", task_type="CAUSAL_LM")
    return peft.get_peft_model(model, config).eval()


def set_dropout(model: PeftModel, on: bool) -> None:
    """Of the adapter's input; the base keeps its own off."""
    for name, module in model.named_modules():
        if "lora_dropout" in name:
            module.train(on)


def temp_lora(model: PeftModel, ids: torch.Tensor, settings: Settings):
    """Yields one `Chunk` after another of ids (T), leaving the trained adapter in `model`."""
    factors = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(factors, lr=settings.lr, betas=BETAS, eps=EPS, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, WARMUPS[settings.warmup])
    torch.manual_seed(settings.seed)
    for first in range(0, len(ids), settings.chunk):
        window = ids[max(0, first - settings.context) : first + settings.chunk]
        tokens = min(settings.chunk, len(ids) - first)
        label = max(1, len(window) - tokens)
        if label == len(window):
            continue  # a text of one token
        began = time.perf_counter()
        with torch.no_grad():
            with model.disable_adapter():
                base_loss = label_losses(model, window, label).mean().item()
            adapted_loss = label_losses(model, window, label).mean().item()
        set_dropout(model, True)
        train_losses, rate = [], schedule.get_last_lr()[0]
        for _ in range(settings.epochs):
            optimizer.zero_grad()
            loss = label_losses(model, window, label, settings.context_constant).mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(factors, MAX_NORM)
            optimizer.step()
            train_losses.append(loss.item())
        set_dropout(model, False)
        schedule.step()
        yield Chunk(tokens, len(window) - label, base_loss, adapted_loss, train_losses, rate,
                    time.perf_counter() - began)


def summary(chunks: list[Chunk]) -> dict[str, float]:
    """Both perplexities, base and adapted: exp of the mean loss of all labels, and the published
    code's mean of the chunks' perplexities, weighted by their tokens, which is never the smaller."""
    tokens, labels = sum(c.tokens for c in chunks), sum(c.labels for c in chunks)
    result: dict[str, float] = {"tokens": tokens, "labels": labels}
    for kind in ("base", "adapted"):
        losses = [getattr(c, f"{kind}_loss") for c in chunks]
        result[f"{kind}_perplexity"] = math.exp(sum(l * c.labels for l, c in zip(losses, chunks)) / labels)
        result[f"{kind}_chunk_perplexity"] = sum(math.exp(l) * c.tokens for l, c in zip(losses, chunks)) / tokens
    result["change_percent"] = 100 * (result["adapted_perplexity"] / result["base_perplexity"] - 1)
    result["improved_chunks"] = sum(c.adapted_loss < c.base_loss for c in chunks)
    return result


def token_ids(model: Path, text: Path, most: int | None = None) -> torch.Tensor:
    """(T): with the special tokens that the tokenizer adds by itself."""
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    return torch.tensor(tokenizer.encode(text.read_bytes().decode()).ids[:most])


def main() -> None:
    defaults = Settings()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="where the curve goes")
    parser.add_argument("--max-tokens", type=int, help="of the text; all of it by default")
    parser.add_argument("--init", type=Path, help="PEFT folder to start from instead of a fresh adapter")
    parser.add_argument("--write-init", type=Path, help="where the adapter goes before the first step")
    for name in ("chunk", "context", "rank", "epochs", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(defaults, name))
    for name in ("alpha", "lr", "dropout"):
        parser.add_argument(f"--{name}", type=float, default=getattr(defaults, name))
    parser.add_argument("--warmup", choices=WARMUPS, default=defaults.warmup)
    parser.add_argument("--context-constant", action="store_true", help="no gradient through the context")
    options = parser.parse_args()

    settings = Settings(**{name: getattr(options, name) for name in asdict(defaults)})
    ids = token_ids(options.model, options.text, options.max_tokens)
    model = adapted(base(options.model), settings, options.init)
    if options.write_init:
        model.save_pretrained(options.write_init, save_embedding_layers=False)
    chunks = []
    for chunk in temp_lora(model, ids, settings):
        chunks.append(chunk)
        print(f"{len(chunks) - 1:4}  {chunk.tokens} tokens  base {chunk.base_loss:.4f}  adapted "
              f"{chunk.adapted_loss:.4f}  training {' '.join(f'{loss:.4f}' for loss in chunk.train_losses)}  "
              f"rate {chunk.learning_rate:.1e}  {chunk.seconds:.2f} s", flush=True)
    result = summary(chunks)
    print("\n".join(f"{name} {value:.6g}" for name, value in result.items()))
    if options.out:
        record = {"settings": asdict(settings), "summary": result, "chunks": [asdict(chunk) for chunk in chunks]}
        options.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
