"""A training step of PyTorch and PEFT on the CPU, for tools/bench-train.mjs: prints {"step_ms"}."""

import argparse
import json
import statistics
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", required=True)
parser.add_argument("--tokens", type=int, default=256)
parser.add_argument("--rank", type=int, default=16)
parser.add_argument("--runs", type=int, default=5)
parser.add_argument("--threads", type=int, default=2)
args = parser.parse_args()

torch.set_num_threads(args.threads)
base = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
model = get_peft_model(base, LoraConfig(r=args.rank, lora_alpha=args.rank, target_modules="all-linear"))
parameters = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(parameters, lr=1e-3)
ids = torch.tensor([[i * 7 % base.config.vocab_size for i in range(args.tokens)]])
times = []
for _ in range(args.runs + 1):
    started = time.perf_counter()
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    times.append(1000 * (time.perf_counter() - started))
print(json.dumps({"step_ms": statistics.median(times[1:])}))
