"""The rungs above Temp-LoRA, each measured alone on one book with SmolLM2-135M-Instruct, in PyTorch.

    python tools/temp-lora/ladder.py BOOK [--tokens 5120] [--state FOLDER] [--others BOOK ...] [--rungs RUNG ...]

A rung is tried here before the engine learns it: what does not help is not built. Chunks of 128 tokens are scored after
128 before them, by the base and by what was learned so far, and learned after; context's keys and values are constant.
`base-512` and `base-1024` are the base alone with such windows, `window-512` is the default after 384 tokens.
One JSON a rung in the state folder; what is there is not measured again. Needs the packages of tools/train and
`python tools/real_model.py`. Sources of the rungs: Locas arXiv 2602.05085, qTTT 2512.13898, In-Place TTT 2604.06169,
MemFT 2605.30260, Muon as in LaCT 2505.23884.
"""

import argparse
import json
import math
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import torch
import torch.nn.functional as F
from torch import nn

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "tests/fixtures"), str(REPOSITORY / "tools/train"), str(REPOSITORY / "tools")]
import corpora
import real
import real_model

CHUNK, RANK, EPOCHS, SEED = 128, 32, 2, 1
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FEED_FORWARD = LINEAR[4:]


@dataclass
class Rung:
    """How a chunk is learned; as the engine's default where nothing else is said."""

    rate: float = 6e-4
    maps: list[str] = field(default_factory=lambda: LINEAR)
    optimizer: str = "adamw"
    weights: str = "same"  # of a chunk's tokens
    decay: float = 0.0  # of B, after each chunk
    clip: float = math.inf  # the largest ||change|| / ||weight|| of a map
    replay: bool = False  # a third step, on an earlier chunk
    distil: float = 0.0  # weight of KL(base with three times the context || adapted)
    memory: int = 0  # side neurons of each feed-forward, instead of factors
    write: float = 0.0  # step of a write without gradients, before each lesson
    warm: int | None = None  # which other book it has learned before
    context: int = CHUNK  # tokens before a chunk
    learns: bool = True


RUNGS = {
    "base": Rung(learns=False),
    "base-512": Rung(learns=False, context=384),
    "base-1024": Rung(learns=False, context=896),
    "default": Rung(),
    "window-512": Rung(context=384),
    "surprise": Rung(weights="surprise"),
    "memft": Rung(weights="memft"),
    "replay": Rung(replay=True),
    "decay-0.01": Rung(decay=0.01),
    "decay-0.05": Rung(decay=0.05),
    "clip-0.02": Rung(clip=0.02),
    "muon-6e-4": Rung(optimizer="muon"),
    "muon-2e-3": Rung(optimizer="muon", rate=2e-3),
    "sgd-0.1": Rung(optimizer="sgd", rate=0.1),
    "sgd-0.5": Rung(optimizer="sgd", rate=0.5),
    "feed-forward": Rung(maps=FEED_FORWARD),
    "qttt-6e-4": Rung(maps=["q_proj"]),
    "qttt-3e-3": Rung(maps=["q_proj"], rate=3e-3),
    "locas-4e-3": Rung(memory=16, rate=4e-3),
    "locas-1.2e-2": Rung(memory=16, rate=1.2e-2),
    "distil-0.5": Rung(distil=0.5),
    "write-0.001": Rung(write=0.001),
    "warm-author": Rung(warm=0),
    "warm-other": Rung(warm=1),
}


class Lora(nn.Module):
    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear
        bound = 1 / math.sqrt(linear.in_features)
        self.a = nn.Parameter(torch.empty(RANK, linear.in_features).uniform_(-bound, bound))
        self.b = nn.Parameter(torch.zeros(linear.out_features, RANK))
        self.norm = linear.weight.norm().item()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) + x @ self.a.T @ self.b.T

    def after_chunk(self, decay: float, clip: float) -> None:
        with torch.no_grad():
            self.b.mul_(1 - decay)
            if clip < math.inf:
                self.b.mul_(min(1.0, clip / max(self.change(), 1e-12)))

    def change(self) -> float:
        """||B A|| / ||W||"""
        with torch.no_grad():
            return math.sqrt(max(((self.b.T @ self.b) * (self.a @ self.a.T)).sum().item(), 0)) / self.norm


class Memory(nn.Module):
    """A feed-forward with a few neurons beside it: gate and up are those of its most active ones, the values begin at 0."""

    def __init__(self, mlp: nn.Module, size: int) -> None:
        super().__init__()
        self.mlp, self.size, self.ready = mlp, size, False
        self.scale = mlp.down_proj.weight.norm(dim=0).mean().item() / size
        width = mlp.down_proj.out_features
        self.gate, self.up, self.value = (nn.Parameter(torch.zeros(size, width)) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.ready:
            with torch.no_grad():
                active = F.silu(self.mlp.gate_proj(x)) * self.mlp.up_proj(x)
                chosen = active.abs().flatten(0, -2).mean(0).topk(self.size).indices
                self.gate.copy_(self.mlp.gate_proj.weight[chosen])
                self.up.copy_(self.mlp.up_proj.weight[chosen])
            self.ready = True
        hidden = F.silu(x @ self.gate.T) * (x @ self.up.T)
        return self.mlp(x) + self.scale * (hidden @ self.value)

    def after_chunk(self, decay: float, clip: float) -> None:
        pass


class Muon:
    """Momentum, orthogonalised by five Newton-Schulz steps, at the size of AdamW's update."""

    def __init__(self, parameters: list[nn.Parameter], rate: float) -> None:
        self.parameters, self.rate = parameters, rate
        self.momenta = [torch.zeros_like(p) for p in parameters]

    @torch.no_grad()
    def step(self) -> None:
        for p, m in zip(self.parameters, self.momenta):
            m.mul_(0.95).add_(p.grad)
            x = (p.grad + 0.95 * m).clone()
            tall = x.shape[0] > x.shape[1]
            x = x.T if tall else x
            x = x / x.norm().clamp(min=1e-12)
            for _ in range(5):
                y = x @ x.T
                x = 3.4445 * x + (-4.7750 * y + 2.0315 * y @ y) @ x
            p.sub_(0.2 * math.sqrt(max(p.shape)) * self.rate * (x.T if tall else x))

    def zero_grad(self) -> None:
        for p in self.parameters:
            p.grad = None


class Learner:
    """A model with what of it is fast."""

    def __init__(self, model, rung: Rung) -> None:
        self.model, self.rung, self.fast, self.undo = model, rung, [], []
        torch.manual_seed(SEED)
        for layer in model.model.layers:
            places = [(layer, "mlp")] if rung.memory else [
                (module, name) for module in (layer.self_attn, layer.mlp) for name in rung.maps if hasattr(module, name)]
            for module, name in places:
                was = getattr(module, name)
                now = Memory(was, rung.memory) if rung.memory else Lora(was)
                setattr(module, name, now)
                self.fast.append(now)
                self.undo.append((module, name, was))
        self.parameters = [p for each in self.fast for p in each.parameters() if p.requires_grad]
        self.optimizer = {
            "adamw": lambda: torch.optim.AdamW(self.parameters, lr=rung.rate, eps=1e-7, weight_decay=0.0),
            "sgd": lambda: torch.optim.SGD(self.parameters, lr=rung.rate, momentum=0.9),
            "muon": lambda: Muon(self.parameters, rung.rate),
        }[rung.optimizer]()
        self.written = None  # what was added to the last layer's map without gradients

    def remove(self) -> None:
        if self.written is not None:
            self.base_down().weight.data.sub_(self.written)
        for module, name, was in self.undo:
            setattr(module, name, was)

    def base_down(self) -> nn.Linear:
        """The last feed-forward's output map, without what learns beside it."""
        mlp = self.model.model.layers[-1].mlp
        down = (mlp.mlp if isinstance(mlp, Memory) else mlp).down_proj
        return down.linear if isinstance(down, Lora) else down

    def learn(self, context: list[int], chunk: list[int], teacher: torch.Tensor | None) -> None:
        logits = predicted(self.model, context, chunk)
        losses = F.cross_entropy(logits, torch.tensor(chunk[-len(logits) :]), reduction="none")
        with torch.no_grad():
            weights = {"same": torch.ones_like(losses), "surprise": losses / losses.mean(), "memft": (losses > math.log(2)).float()}[self.rung.weights]
        loss = (weights * losses).sum() / weights.sum().clamp(min=1)
        if teacher is not None:
            loss = loss + self.rung.distil * F.kl_div(logits.log_softmax(-1), teacher, reduction="batchmean", log_target=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    @torch.no_grad()
    def write(self, context: list[int], chunk: list[int]) -> None:
        """In-Place TTT's rule without its trained parts: the last feed-forward's output map learns the next token's embedding."""
        seen = []
        hook = self.base_down().register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0]))
        predicted(self.model, [], context + chunk)
        hook.remove()
        ids = torch.tensor((context + chunk)[1:])[-len(chunk) :]
        hidden = seen[0][-len(ids) :]
        target = F.normalize(self.model.lm_head.weight[ids], dim=-1)
        change = self.rung.write * self.base_down().weight.norm() * F.normalize((target.T @ hidden).flatten(), dim=0).view(target.shape[1], -1)
        self.base_down().weight.data.add_(change)
        self.written = change if self.written is None else self.written + change


def predicted(model, context: list[int], chunk: list[int]) -> torch.Tensor:
    """(T, V), of each token of the chunk; its first has none without a context, whose keys and values are constant."""
    past = None
    if len(context) > 1:
        with torch.no_grad():
            past = model.model(torch.tensor([context[:-1]]), use_cache=True).past_key_values
    ids = (context[-1:] + chunk)[:-1]
    return model.lm_head(model.model(torch.tensor([ids]), past_key_values=past, use_cache=past is not None).last_hidden_state[0])


@torch.no_grad()
def scored(model, context: list[int], chunk: list[int]) -> list[float]:
    logits = predicted(model, context, chunk)
    return F.cross_entropy(logits, torch.tensor(chunk[-len(logits) :]), reduction="none").tolist()


def run(model, rung: Rung, ids: list[int], others: list[list[int]], say: Callable[[str], None]) -> dict:
    """The losses of each chunk, before it is learned, and what it took."""
    learner = Learner(model, rung)
    dice = torch.Generator().manual_seed(SEED)
    losses, scoring, learning = [], 0.0, 0.0
    before = [] if rung.warm is None else [(others[rung.warm], False)]
    for text, counts in [*before, (ids, True)]:
        for at in range(0, len(text) - CHUNK + 1, CHUNK):
            context, chunk = text[max(0, at - rung.context) : at], text[at : at + CHUNK]
            started = time.process_time()
            if counts:
                losses.append(scored(model, context, chunk))
            scoring += time.process_time() - started
            if not rung.learns:
                continue
            started = time.process_time()
            teacher = None
            if rung.distil:
                with torch.no_grad(), disabled(learner):
                    teacher = predicted(model, text[max(0, at - 3 * CHUNK) : at], chunk).log_softmax(-1)
            if rung.write:
                learner.write(context, chunk)
            for _ in range(EPOCHS):
                learner.learn(context, chunk, teacher)
            if rung.replay and at:
                old = CHUNK * int(torch.randint(at // CHUNK, (1,), generator=dice))
                learner.learn(text[max(0, old - CHUNK) : old], text[old : old + CHUNK], None)
            for each in learner.fast:
                each.after_chunk(rung.decay, rung.clip)
            learning += time.process_time() - started
            if at // CHUNK % 8 == 7:
                say(f"chunk {at // CHUNK + 1}: {mean(losses[-8:]):.4f}")
    changes = sorted(each.change() for each in learner.fast if isinstance(each, Lora))
    learner.remove()
    numbers = sum(p.numel() for p in learner.parameters) if rung.learns else 0
    copies = {"adamw": 4, "sgd": 3, "muon": 3}[rung.optimizer]
    return {
        "losses": [sum(each) for each in losses], "tokens": [len(each) for each in losses], "scoring": scoring / len(losses), "learning": learning / len(losses),
        "megabytes": 4 * copies * numbers / 1e6, "change": changes[len(changes) // 2] if changes else None,
    }


class disabled:
    """The base, while what is fast stands aside."""

    def __init__(self, learner: Learner) -> None:
        self.undo = learner.undo
        self.now = [getattr(module, name) for module, name, _ in learner.undo]

    def __enter__(self) -> None:
        for module, name, was in self.undo:
            setattr(module, name, was)

    def __exit__(self, *_) -> None:
        for (module, name, _), now in zip(self.undo, self.now):
            setattr(module, name, now)


def mean(losses: list[list[float]]) -> float:
    return sum(map(sum, losses)) / max(sum(map(len, losses)), 1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("book", type=Path)
    parser.add_argument("--tokens", type=int, default=5120)
    parser.add_argument("--state", type=Path, default=Path("ladder"))
    parser.add_argument("--others", type=Path, nargs="*", default=[])
    parser.add_argument("--rungs", nargs="*", default=list(RUNGS))
    chosen = parser.parse_args()
    chosen.state.mkdir(parents=True, exist_ok=True)
    model, tokenizer, _ = real.load(real_model.home() / "smollm2" / real_model.NAME)
    model.set_attn_implementation("sdpa")
    for p in model.parameters():
        p.requires_grad_(False)
    read = lambda path: tokenizer.encode(corpora.novel(path)).ids[: chosen.tokens]
    ids, others = read(chosen.book), [read(path) for path in chosen.others]
    base = None
    for name in ["base", *(rung for rung in chosen.rungs if rung != "base")]:
        path = chosen.state / f"{chosen.book.stem}-{name}.json"
        if not path.exists():
            result = run(model, RUNGS[name], ids, others, lambda line: print(f"  {name} {line}", flush=True))
            path.write_text(json.dumps(result) + "\n")
        result = json.loads(path.read_text())
        loss = sum(result["losses"]) / sum(result["tokens"])
        base = base or loss
        print(f"{name:14} {math.exp(loss):8.3f} {100 * (math.exp(loss - base) - 1):+6.2f} %  a chunk: scored {result['scoring']:.1f} s, learned {result['learning']:.1f} s  "
              f"{result['megabytes']:6.1f} MB  change {result['change'] or 0:.4f}", flush=True)


if __name__ == "__main__":
    main()
