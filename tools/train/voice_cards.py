"""Model cards of SmolLM2's voices, from the figures of their training."""

from pathlib import Path

import cards
import corpora

CARD = """---
license: [mit, apache-2.0]
language: en
base_model: {base}
library_name: peft
---

# {title}

A LoRA adapter of [{base}](https://huggingface.co/{base}): rank {rank}, alpha {alpha}, f16, on the seven linear maps of layers {first} to {last}
of {layers}. {what}

| | |
| --- | --- |
| data | {data}; {examples} examples, {tokens:,} tokens |
| training | epochs: {epochs}; examples a step: {rows}; AdamW at {rate:g}, loss on what is to be written alone |
| rewritten by | `python tools/train voices {name} --corpora FOLDER` |
| licence | MIT or Apache-2.0; the model's is Apache-2.0{texts} |

## Measured

On {date}, the base beside the adapter.

| | base | adapter |
| --- | --- | --- |
{measures}

## How to use it

```js
const engine = await createEngine("{base}", {{ dtype: "q8" }});
await engine.loadAdapter("www/adapters/smollm2/{name}/", {{ name: "{name}" }});
const {{ choices }} = await engine.chat.completions.create({{ adapter: "{name}", messages: [{{ role: "user", content: {question} }}] }});
```

## Limits

It was trained and measured on the numbers of the Q4_1 file that `tools/real_model.py` fetches, widened to f32; on the
published weights, which the page holds as q8, it was not measured. {limits}
"""

TABLE = """---
license: [mit, apache-2.0]
language: en
base_model: {base}
library_name: peft
---

# Voices and skills of SmolLM2 135M Instruct

LoRA adapters of rank {rank} on layers {first} to {last}, as PEFT folders in f16. Base beside adapter, as each card explains: texts told
as their style, Flesch's reading ease, or held-out tasks done right; and the perplexity of held-out texts and answers.

| adapter | measure | base | adapter | perplexity, base | adapter | bytes |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

Rewritten by `python tools/train voices --corpora FOLDER`; {date}.
"""

# Name -> title of the voices, whose texts `cards.CORPORA` names.
VOICES = {
    "shakespeare": "Shakespeare", "king-james": "King James", "sherlock": "Sherlock Holmes", "pirate": "Pirates", "horror": "Horror",
    "poems": "Poems", "children": "Children's books",
}
# Name -> title, what the model does with it, its data, a question to it, the measure in a word and in a sentence, limits.
OTHERS = {
    "plain": (
        "Plain English", "The model explains things in short sentences of common words, in five of them or so.",
        "64 questions with answers written for it (`tools/train/explanations.txt`), each as a question, as a request and as a text",
        '"What is a glacier?"', "reading ease", "Flesch's reading ease of its answers to 20 questions it never saw (higher is easier)",
        "Plain is not right: a model of this size often has its facts wrong, in any voice.",
    ),
    "json": (
        "Text to JSON", "The model turns a short text into JSON, of the fields and types that the request names.",
        "made by `tools/train/skills.py`: persons, orders and events",
        '\'Extract JSON by this schema: {"city": string, "age": integer}\\nText: Ada Bell, 41, lives in Cork.\'', "right",
        "of 100 held-out texts, whose names, cities and things no example had, the JSON is right in all fields",
        "The held-out texts are worded as the examples are: three kinds of text, in a dozen wordings.",
    ),
    "sql": (
        "Question to SQL", "The model turns a question about one table into a SELECT.",
        "made by `tools/train/skills.py`: twelve tables",
        '"Table: books(title, author, pages, year)\\nWrite the SQL query. How many books are there whose year is 1901?"', "right",
        "of 100 held-out questions, about five tables that no example had, the query gives the rows it should in SQLite",
        "One table, no joins, and questions worded as the examples are.",
    ),
}


def write(results: dict, shipped: Path, base: str, date: str, training: dict) -> None:
    """`training` is rank, alpha, first, last and layers."""
    rows = []
    for name, it in results.items():
        if name in VOICES:
            title, data = VOICES[name], cards.CORPORA[name].format(latest=corpora.LATEST)
            what = "The model writes in this voice, whether it goes on with a text or answers a request."
            measured = "of 24 texts of 160 tokens at temperature 0.8, half of them answers, told as this style by `tests/fixtures/styles.json`"
            short, question, data = "told right", '"Tell me about the sea."', f"{data}: passages from nine tenths of each text, half as they are, half as answers to requests"
            limits, texts = "It knows no more than the base, and wanders as that does.", "; the texts are in the public domain"
        else:
            title, what, data, question, short, measured, limits = OTHERS[name]
            texts = ""
        unit = "" if name == "plain" else " %"
        base_measure, reached = (f"{value:.0f}{unit}" for value in it["measure"])
        before, after = (f"{value:.2f}" for value in it["perplexity"])
        held_out = "the last tenths of the texts" if name in VOICES else "the right answers to ten of them"
        card = CARD.format(
            base=base, title=f"{title}, for SmolLM2 135M Instruct", what=what, data=data, examples=it["examples"], tokens=it["tokens"],
            epochs=it["epochs"], rows=it["rows"], rate=it["rate"], name=name, texts=texts, question=question, limits=limits, date=date, **training,
            measures=f"| {measured} | {base_measure} | {reached} |\n| perplexity of {held_out} | {before} | {after} |",
        )
        (shipped / name / "README.md").write_text(card)
        size = (shipped / name / "adapter_model.safetensors").stat().st_size
        rows.append(f"| `{name}` | {short} | {base_measure} | {reached} | {before} | {after} | {size:,} |")
    (shipped / "README.md").write_text(TABLE.format(base=base, rows="\n".join(rows), date=date, **training))
