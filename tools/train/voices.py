"""Voices and skills of SmolLM2-135M-Instruct: LoRA adapters of its upper layers, as PEFT folders of f16.

The lower layers stay as they are: what they make of the examples is computed once and kept.
"""

import json
import math
import random
import re
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import torch
import torch.nn.functional as F
from jinja2 import Environment
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer

import corpora
import peft_folder
import skills
import voice_cards
from styles import TOKEN

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests/fixtures"))  # before this folder: it has an adapters.py of its own
import real
import real_model

BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"
LAYERS, LOWER = 30, 20  # layers, and how many of them have no adapter
MAPS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
RANK, ALPHA, SEED = 7, 14, 1
WARM_UP = 10  # steps
PASSAGES, CHARACTERS, BEFORE = 192, 480, 120  # of a corpus, the length of each, and what a request to go on tells of the text before
PAIRS, JUDGED_PAIRS = 640, 100
JUDGED_EXPLANATIONS = 20
WINDOWS, T = 10, 256  # of the held-out texts


@dataclass
class Recipe:
    epochs: int
    rows: int  # examples of a step
    rate: float


VOICE = Recipe(3, 2, 1.2e-3)
RECIPES = {
    "shakespeare": Recipe(3, 2, 2e-3), "pirate": Recipe(3, 2, 2e-3), "poems": Recipe(3, 2, 2e-3), "king-james": Recipe(2, 2, 1.2e-3),
    "plain": Recipe(1, 4, 5e-4), "json": Recipe(1, 4, 2e-3), "sql": Recipe(1, 4, 2e-3),
}

REQUESTS = [
    "Tell me about the {}.", "Write about the {}.", "Write a few lines about the {}.", "Describe the {}.", "What can you tell me about the {}?",
    "Write something with the word {}.", "What do you think of the {}?", "{}", "Tell me a story. Let there be a {} in it.", "Can you say something about the {}?",
]
OPENINGS = [
    "In the morning", "The old house", "She looked at", "It was", "There was", "He said that", "The sea", "When they came to the town",
    "At night", "The king", "My friend and I", "Nobody knew",
]
QUESTIONS = [
    "Tell me about the sea.", "Write about the night.", "Describe the house.", "What can you tell me about love?",
    "Write a few lines about the storm.", "Tell me a story about a dog.", "Write about an old man.", "Tell me about the winter.",
    "Describe the forest.", "Write about a friend.", "Tell me about the journey.", "What do you think of money?",
]


@dataclass
class Example:
    ids: list[int]
    known: int  # so many of them come before what is learned


class Talker:
    """The model with its tokenizer and its chat template."""

    def __init__(self) -> None:
        self.model, self.tokenizer, template = real.load(real_model.home() / "smollm2" / real_model.NAME)
        self.model.set_attn_implementation("sdpa")
        self.template = Environment().from_string(template)
        self.by_base: list[tuple[list[str], list[str]]] = []  # prompts, and what the model alone writes after them

    def asked(self, question: str) -> str:
        return self.template.render(messages=[{"role": "user", "content": question}], add_generation_prompt=True)

    def answer(self, question: str, answer: str) -> Example:
        known = self.tokenizer.encode(self.asked(question)).ids
        return Example(known + self.tokenizer.encode(f"{answer}<|im_end|>\n").ids, len(known))

    def text(self, text: str) -> Example:
        return Example(self.tokenizer.encode(text).ids, 1)


def passages(texts: list[str], n: int) -> list[tuple[str, str]]:
    """`n` pieces, evenly spread, each from the start of a paragraph to the end of a sentence, and what stands before each."""
    starts = [(text, match.end()) for text in texts for match in re.finditer(r"\n\n", text[:-CHARACTERS])]
    found = []
    for i in range(n):
        text, at = starts[i * len(starts) // n]
        piece = text[at : at + CHARACTERS]
        end = max(piece.rfind(mark) for mark in [".", "!", "?", '."', "\n"]) + 1
        found.append((text[max(at - BEFORE, 0) : at].strip(), piece[: end or None].strip()))
    return found


def voice(talker: Talker, texts: list[str]) -> list[Example]:
    """Half of them go on with a text, half answer a request, which has a word of theirs or what stands before."""
    dice, counts = random.Random(SEED), Counter(re.findall("[a-z]{4,}", " ".join(texts)))
    made = []
    for i, (before, piece) in enumerate(passages(texts, PASSAGES)):
        if i % 2:
            made.append(talker.text(piece))
        elif i % 8 == 0:
            made.append(talker.answer(f"Continue: {before}", piece))
        else:
            own = Counter(re.findall("[a-z]{4,}", piece))
            word = max(own, key=lambda word: own[word] ** 2 / (counts[word] + 5), default="day")
            made.append(talker.answer(dice.choice(REQUESTS).format(word), piece))
    return made


def explanations() -> list[tuple[str, str]]:
    """Questions and answers; the first `JUDGED_EXPLANATIONS` of them are held out."""
    lines = (Path(__file__).parent / "explanations.txt").read_text().splitlines()
    shuffled = random.Random(SEED).sample(lines, len(lines))
    return [tuple(line.split("|")) for line in shuffled]


def examples(talker: Talker, name: str, corpora_folder: Path) -> tuple[list[Example], list[Example]]:
    """To learn, and held out."""
    if name in skills.SKILLS:
        made = [[talker.answer(pair.question, pair.answer) for pair in skills.pairs(name, n, held_out)]
                for n, held_out in [(PAIRS, False), (JUDGED_PAIRS, True)]]
        return made[0], made[1]
    if name == "plain":
        known = explanations()
        learned, held_out = known[JUDGED_EXPLANATIONS:], known[:JUDGED_EXPLANATIONS]
        forms = [lambda q, a: talker.answer(q, a), lambda q, a: talker.answer(f"Explain in plain English: {q}", a),
                 lambda q, a: talker.text(f"{q}\n\n{a}\n\n")]
        return [form(*each) for form in forms for each in learned], [talker.answer(*each) for each in held_out]
    train, held_out = corpora.style(corpora_folder, name)
    ids = [talker.tokenizer.encode(text).ids for text in held_out]
    ids = [token for text in ids for token in text]
    starts = [i * (len(ids) - T) // WINDOWS for i in range(WINDOWS)]
    return voice(talker, train), [Example(ids[at : at + T], 1) for at in starts]


@contextmanager
def layers(model, chosen: slice, normed: bool):
    """Only these layers of the model, from hidden states (B, T, C) to hidden states."""
    inner = model.get_base_model().model
    whole, norm = inner.layers, inner.norm
    inner.layers = whole[chosen]
    if not normed:
        inner.norm = torch.nn.Identity()
    try:
        yield lambda hidden: inner(inputs_embeds=hidden, use_cache=False).last_hidden_state
    finally:
        inner.layers, inner.norm = whole, norm


def padded(rows: list[torch.Tensor]) -> torch.Tensor:
    """At the end: what comes before does not see it."""
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def batches(made: list[Example]) -> list[list[int]]:
    """Of examples of about one length."""
    order = sorted(range(len(made)), key=lambda i: len(made[i].ids))
    return [order[at : at + 4] for at in range(0, len(order), 4)]


@torch.no_grad()
def lower(model, made: list[Example]) -> list[torch.Tensor]:
    """What the layers without an adapter make of each example (T, C)."""
    hidden: list[torch.Tensor] = [torch.empty(0)] * len(made)
    embed = model.get_base_model().get_input_embeddings()
    with layers(model, slice(LOWER), normed=False) as run:
        for batch in batches(made):
            rows = run(embed(padded([torch.tensor(made[i].ids) for i in batch])))
            for i, row in zip(batch, rows):
                hidden[i] = row[: len(made[i].ids)].clone()
    return hidden


def loss(model, run, made: list[Example], hidden: list[torch.Tensor]) -> tuple[torch.Tensor, int]:
    """Of what is learned of the examples: the sum, and of how many tokens."""
    rows = run(padded([each[:-1] for each in hidden]))
    learned = [slice(each.known - 1, len(each.ids) - 1) for each in made]
    rows = torch.cat([row[part] for row, part in zip(rows, learned)])
    ids = torch.cat([torch.tensor(each.ids[each.known :]) for each in made])
    return F.cross_entropy(model.get_base_model().lm_head(rows).float(), ids, reduction="sum"), len(ids)


def fit(model, made: list[Example], recipe: Recipe, name: str) -> None:
    """AdamW, linear warm-up and decay; every example once an epoch, in a shuffled order."""
    started, hidden = time.process_time(), lower(model, made)
    print(f"{name}: {len(made)} examples, {sum(len(each.ids) for each in made)} tokens", flush=True)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.rate, betas=(0.9, 0.99), weight_decay=0.0)
    dice, steps = random.Random(SEED), recipe.epochs * (len(made) // recipe.rows)
    order: list[int] = []
    with layers(model, slice(LOWER, LAYERS), normed=True) as run:
        for step in range(steps):
            if len(order) < recipe.rows:
                order = dice.sample(range(len(made)), len(made))
            batch, order = order[: recipe.rows], order[recipe.rows :]
            optimizer.param_groups[0]["lr"] = recipe.rate * min((step + 1) / WARM_UP, (steps - step) / (steps - WARM_UP))
            total, n = loss(model, run, [made[i] for i in batch], [hidden[i] for i in batch])
            (total / n).backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if (step + 1) % 20 == 0 or step + 1 == steps:
                print(f"{name}: step {step + 1}/{steps}, loss {total.item() / n:.3f}, {time.process_time() - started:.0f} s", flush=True)


@torch.no_grad()
def perplexities(model: PeftModel, made: list[Example]) -> tuple[float, float]:
    """Of the held-out examples, without and with the adapter."""
    hidden, sums, n = lower(model, made), [0.0, 0.0], 0
    with layers(model, slice(LOWER, LAYERS), normed=True) as run:
        for batch in batches(made):
            part = [made[i] for i in batch], [hidden[i] for i in batch]
            with model.disable_adapter():
                sums[0] += loss(model, run, *part)[0].item()
            total, tokens = loss(model, run, *part)
            sums[1] += total.item()
            n += tokens
    return math.exp(sums[0] / n), math.exp(sums[1] / n)


@torch.no_grad()
def write_texts(talker: Talker, model, prompts: list[str], tokens: int, temperature: float) -> list[str]:
    """One after each prompt, drawn from top 0.95 with a fixed seed; the likeliest at temperature 0."""
    rows = [talker.tokenizer.encode(prompt).ids for prompt in prompts]
    width = max(map(len, rows))
    ids = torch.tensor([[2] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    drawn = {"do_sample": True, "temperature": temperature, "top_p": 0.95, "top_k": 0} if temperature else {"do_sample": False}
    torch.manual_seed(SEED)
    made = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=tokens, eos_token_id=2, pad_token_id=2, **drawn)
    return [talker.tokenizer.decode([token for token in row if token != 2]).strip() for row in made[:, width:].tolist()]


class Classifier:
    """tests/fixtures/styles.json, as tests/rust/styles.rs reads it."""

    def __init__(self) -> None:
        read = json.loads((REPOSITORY / "tests/fixtures/styles.json").read_text())
        self.styles, self.bias = read["styles"], torch.tensor(read["bias"])
        self.tokens, self.idf = {token: i for i, token in enumerate(read["tokens"])}, torch.tensor(read["idf"])
        self.weights = torch.tensor(read["weights"])

    def style(self, text: str) -> str:
        counts = torch.zeros(len(self.tokens))
        for token in re.findall(TOKEN, text.lower()):
            if token in self.tokens:
                counts[self.tokens[token]] += 1
        features = torch.where(counts > 0, 1 + counts.clamp(min=1).log(), 0) * self.idf
        return self.styles[int((self.weights @ (features / features.norm().clamp(min=1e-9)) + self.bias).argmax())]


def reading_ease(texts: list[str]) -> float:
    """Flesch's: 206.8 - 1.015 words a sentence - 84.6 syllables a word."""
    text = " ".join(texts)
    words = re.findall("[a-z]+", text.lower())
    sentences = max(len(re.findall(r"[.!?:\n]+", text)), 1)
    syllables = sum(max(len(re.findall("[aeiouy]+", re.sub("e$", "", word))), 1) for word in words)
    return 206.8 - 1.015 * len(words) / sentences - 84.6 * syllables / max(len(words), 1)


def taken(name: str, answer: str) -> str:
    """The JSON or the query of an answer that has words or a fence about it."""
    found = re.search(r"\{.*\}" if name == "json" else r"SELECT\b[^;`]*", answer, re.DOTALL)
    return found[0] if found else ""


def judge(talker: Talker, model: PeftModel, name: str) -> tuple[list[float], list[list[str]]]:
    """The measure of the base and of the adapter, from 0 to 100, and what each wrote."""
    if name in skills.SKILLS:
        pairs = skills.pairs(name, JUDGED_PAIRS, held_out=True)
        prompts, tokens, temperature = [talker.asked(pair.question) for pair in pairs], 90, 0.0
        right = skills.SKILLS[name][1]
        measure = lambda texts: 100 * sum(right(pair, taken(name, text)) for pair, text in zip(pairs, texts)) / len(pairs)
    elif name == "plain":
        questions = explanations()[:JUDGED_EXPLANATIONS]
        prompts, tokens, temperature = [talker.asked(question) for question, _ in questions], 120, 0.0
        measure = reading_ease
    else:
        prompts, tokens, temperature = OPENINGS + [talker.asked(each) for each in QUESTIONS], 160, 0.8
        classifier = Classifier()
        measure = lambda texts: 100 * sum(classifier.style(text) == name for text in texts) / len(texts)
    def texts() -> list[str]:
        return write_texts(talker, model, prompts, tokens, temperature)

    if prompts not in (known := [each for each, _ in talker.by_base]):
        with model.disable_adapter():
            talker.by_base.append((prompts, texts()))
        known.append(prompts)
    written = [talker.by_base[known.index(prompts)][1], texts()]
    return [measure(texts) for texts in written], written


def write(corpora_folder: Path, state: Path, shipped: Path, names: list[str]) -> None:
    """Trains each that `state`/voices.json does not have yet, and judges what was saved."""
    state.mkdir(parents=True, exist_ok=True)
    talker, report = Talker(), state / "voices.json"
    results = json.loads(report.read_text()) if report.exists() else {}
    for name in names or NAMES:
        if name in results:
            continue
        started = time.process_time()
        learned, held_out = examples(talker, name, corpora_folder)
        torch.manual_seed(SEED)
        model = get_peft_model(talker.model, LoraConfig(
            task_type="CAUSAL_LM", r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules=MAPS,
            layers_to_transform=list(range(LOWER, LAYERS)),
        ))
        recipe = RECIPES.get(name, VOICE)
        fit(model, learned, recipe, name)
        peft_folder.save(model, shipped / name, BASE)
        talker.model = model.unload()
        adapted = PeftModel.from_pretrained(talker.model, shipped / name).eval()
        before, after = perplexities(adapted, held_out[:WINDOWS])
        (base, reached), written = judge(talker, adapted, name)
        talker.model = adapted.unload()
        results[name] = {
            "examples": len(learned), "tokens": sum(len(each.ids) for each in learned), "perplexity": [before, after],
            "measure": [base, reached], **asdict(recipe),
        }
        print(f"{name}: {results[name]}, {time.process_time() - started:.0f} s", flush=True)
        (state / f"voices-{name}.json").write_text(json.dumps(written, indent=1))
        report.write_text(json.dumps(results, indent=1) + "\n")
    training = {"rank": RANK, "alpha": ALPHA, "first": LOWER, "last": LAYERS - 1, "layers": LAYERS}
    voice_cards.write({name: results[name] for name in NAMES if name in results}, shipped, BASE, str(date.today()), training)


NAMES = [*corpora.STYLES, "plain", *skills.SKILLS]
