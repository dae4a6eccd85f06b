"""Model cards of what was trained, from the figures that training left in `state`."""

import json
from pathlib import Path

import base
import corpora

MODEL = """---
license: [mit, apache-2.0]
language: en
pipeline_tag: text-generation
---

# Lorakeet novels

A Llama of {parameters:,} parameters ({layers} layers, {channels} channels, {heads} query and {kv_heads} key/value heads,
context {context} tokens, tied embedding) with a byte-level BPE of {vocabulary} tokens, trained from nothing on novels.
It writes English in the manner of about 1900, grammatical for a sentence and senseless over a page. It knows no facts and
follows no instructions. What it is for: adapters and Temp-LoRA, whose effect on it is easily seen.

| | |
| --- | --- |
| file | `novels-q8_0.gguf`, {megabytes:.1f} MB, weights in blocks of 32 with 8.5 bits each; configuration and tokenizer inside, and beside it for `transformers` |
| data | {books} novels and collections, the latest from {latest}, {text:.1f} MB, {tokens:,} tokens; all in the public domain |
| training | {steps:,} steps of {batch:,} tokens ({epochs:.2f} epochs): {flat:,} at a flat rate in windows of {short}, {decay} with a rate that falls to 0 in windows of {context}; Muon and AdamW; one CPU core |
| rewritten by | `python tools/train base --corpora FOLDER` |
| licence | MIT or Apache-2.0, as the rest of the project; the texts are in the public domain |

## Held out

Ten whole novels that neither the model, its tokenizer nor an adapter saw. Bits per byte, every token but those of the
first {half} predicted from {half} to {context} tokens before it; computed by PyTorch in f32 from the weights as stored.

| novel | f16 | q8 | q4 |
| --- | --- | --- | --- |
{rows}
| mean | {mean} |

`cargo run --release --features cli -- perplexity --text FILE --model www/models/novels/novels-q8_0.gguf` measures the same,
and `python tools/train check` does so for all of them and compares.
"""

ADAPTERS = """---
license: [mit, apache-2.0]
language: en
base_model: lorakeet-novels
library_name: peft
---

# Voices of Lorakeet novels

LoRA adapters of rank {rank}, alpha {alpha}, on every linear map of the layers, as PEFT folders in f16. Each was trained for at
most {steps} steps of {batch:,} tokens and {epochs} epochs on nine tenths of each text of its corpus; perplexities are those of
the last tenths (at most 40,000 tokens), the base's beside the adapter's.

| adapter | corpus | tokens | base | adapted | change | bytes |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

All texts are in the public domain. Rewritten by `python tools/train adapters --corpora FOLDER`. `tests/rust/styles.rs` asks a
classifier (TF-IDF and logistic regression, trained on the same corpora) which style a text is in.
"""

CORPORA = {
    "shakespeare": "sixteen plays by William Shakespeare",
    "king-james": "the King James Bible",
    "sherlock": "*The Adventures of Sherlock Holmes* by Arthur Conan Doyle",
    "pirate": "*Treasure Island* by R. L. Stevenson, *Captain Blood* by Rafael Sabatini",
    "horror": "six stories by H. P. Lovecraft, up to {latest}",
    "poems": "John Milton, William Blake, Walt Whitman, Emily Dickinson, Rabindranath Tagore, Robert Frost",
    "children": "tales: Aesop, Grimm, Andersen, Wilde, Collodi, E. Nesbit's dragons, L. F. Baum, *Doctor Dolittle*, *Aladdin*",
}


def write(state: Path, model: Path, adapters: Path) -> None:
    import adapters as training

    config, report = base.CONFIG, json.loads((state / "base.json").read_text())
    bits, facts, steps = report["bits_per_byte"], report["facts"], base.FLAT + base.DECAY
    kinds = ["f16", "q8", "q4"]
    row = lambda name: f"| {name.replace('_', ', ')} | {line(bits[name][kind] for kind in kinds)} |"
    line = lambda values: " | ".join(f"{value:.4f}" for value in values)
    (model / "README.md").write_text(MODEL.format(
        parameters=base.LlamaForCausalLM(config).num_parameters(), layers=config.num_hidden_layers,
        channels=config.hidden_size, heads=config.num_attention_heads, kv_heads=config.num_key_value_heads,
        context=base.CONTEXT, half=base.CONTEXT // 2, vocabulary=base.V, latest=corpora.LATEST, short=base.SHORT,
        megabytes=(model / "novels-q8_0.gguf").stat().st_size / 1e6, books=facts["books"], text=facts["bytes"] / 1e6,
        tokens=facts["tokens"], steps=steps, flat=base.FLAT, decay=base.DECAY, batch=base.TOKENS,
        epochs=steps * base.TOKENS / facts["tokens"],
        rows="\n".join(row(name) for name in corpora.HELD_OUT),
        mean=line(sum(row[kind] for row in bits.values()) / len(bits) for kind in kinds),
    ))
    results = json.loads((state / "adapters.json").read_text())
    voice = lambda name, it: (f"| `{name}` | {CORPORA[name].format(latest=corpora.LATEST)} | {it['tokens']:,} | {it['base']:.1f} "
                            f"| {it['adapted']:.1f} | {100 * it['change']:.1f} % | {it['bytes']:,} |")
    (adapters / "README.md").write_text(ADAPTERS.format(
        rank=training.RANK, alpha=training.ALPHA, steps=training.STEPS,
        batch=training.T * training.ROWS, epochs=training.EPOCHS,
        rows="\n".join(voice(name, results[name]) for name in corpora.STYLES if name in results),
    ))
