"""The styles: LoRA adapters of the base, one for each corpus, as PEFT folders of f16."""

import json
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

import base
import corpora
import peft_folder

RANK, ALPHA, RATE, SEED = 12, 24, 3e-3, 1
T, ROWS = 512, 8  # a step: windows, tokens of each
STEPS, WARM_UP, EPOCHS = 240, 10, 4  # no more epochs than these of a small corpus


def stream(tokenizer: Tokenizer, texts: list[str]) -> torch.Tensor:
    return torch.tensor([token for text in texts for token in [*tokenizer.encode(text).ids, 0]])


def fit(model: PeftModel, ids: torch.Tensor, name: str) -> None:
    """AdamW, linear warm-up and decay; every window once an epoch, in a shuffled order."""
    steps = min(STEPS, EPOCHS * len(ids) // (T * ROWS))
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, betas=(0.9, 0.99), weight_decay=0.0)
    generator = torch.Generator().manual_seed(SEED)
    order, started, total = torch.empty(0, dtype=torch.long), time.time(), 0.0
    for step in range(steps):
        while len(order) < ROWS:
            order = torch.cat([order, torch.randperm((len(ids) - 1) // T, generator=generator)])
        rows = torch.stack([ids[n * T : n * T + T + 1] for n in order[:ROWS].tolist()]).to(model.device)
        order = order[ROWS:]
        optimizer.param_groups[0]["lr"] = RATE * min((step + 1) / WARM_UP, (steps - step) / (steps - WARM_UP))
        for part in rows.split(base.PART // T):
            with torch.autocast(model.device.type, torch.bfloat16):
                logits = model(input_ids=part[:, :-1], use_cache=False).logits
            loss = F.cross_entropy(logits.float().flatten(0, 1), part[:, 1:].flatten(), reduction="sum")
            loss = loss / (T * ROWS)
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if (step + 1) % 40 == 0 or step + 1 == steps:
            print(f"{name}: step {step + 1}/{steps}, loss {total / (step % 40 + 1):.3f}, {time.time() - started:.0f} s",
                  flush=True)
            total = 0.0


def write(corpora_folder: Path, state: Path, shipped: Path, names: list[str], device: torch.device) -> None:
    """Trains each style that `state`/adapters.json does not have yet, and judges what was saved."""
    tokenizer = Tokenizer.from_file(str(state / "base/tokenizer.json"))
    report = state / "adapters.json"
    results = json.loads(report.read_text()) if report.exists() else {}
    load = lambda: LlamaForCausalLM.from_pretrained(state / "base", dtype=torch.float32).to(device)
    for name in names or corpora.STYLES:
        if name in results:
            continue
        train, held_out = (stream(tokenizer, texts) for texts in corpora.style(corpora_folder, name))
        torch.manual_seed(SEED)
        model = get_peft_model(load(), LoraConfig(
            task_type="CAUSAL_LM", r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules="all-linear",
        ))
        fit(model, train, name)
        peft_folder.save(model, shipped / name, "lorakeet-novels")
        judge = held_out[:40_000]
        adapted = PeftModel.from_pretrained(load(), shipped / name).eval()
        after = base.nats(adapted, judge) / len(judge)
        with adapted.disable_adapter():
            before = base.nats(adapted, judge) / len(judge)
        results[name] = {
            "tokens": len(train), "base": math.exp(before), "adapted": math.exp(after),
            "change": math.exp(after - before) - 1, "bytes": sum(f.stat().st_size for f in (shipped / name).iterdir()),
        }
        print(f"{name}: {results[name]}", flush=True)
        report.write_text(json.dumps(results, indent=1) + "\n")
