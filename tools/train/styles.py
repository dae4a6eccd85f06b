"""Which style a text is in: TF-IDF and a logistic regression, trained on the adapters' corpora.

Written to `tests/fixtures/styles.json` for `tests/rust/styles.rs`, which asks it of what the adapters write.
"""

import json
import re
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

import corpora

FEATURES, LENGTH, MOST = 1200, 600, 400  # tokens known, characters of a sample, samples of a style
TOKEN = r"[a-z]+(?:'[a-z]+)?|[^\sa-z]|\n"


def samples(texts: list[str]) -> list[str]:
    """Pieces of LENGTH characters, evenly spread, at most MOST."""
    pieces = [text[at : at + LENGTH] for text in texts for at in range(0, len(text) - LENGTH, LENGTH)]
    return pieces[:: max(len(pieces) // MOST, 1)][:MOST]


def write(corpora_folder: Path, path: Path) -> None:
    names = list(corpora.STYLES)
    split = {name: corpora.style(corpora_folder, name) for name in names}
    train = [(piece, name) for name in names for piece in samples(split[name][0])]
    held_out = [(piece, name) for name in names for piece in samples(split[name][1])]
    vectorizer = TfidfVectorizer(
        tokenizer=re.compile(TOKEN).findall, token_pattern=None, max_features=FEATURES, sublinear_tf=True
    )
    model = LogisticRegression(C=10.0, max_iter=1000)
    model.fit(vectorizer.fit_transform([text for text, _ in train]), [name for _, name in train])
    score = model.score(vectorizer.transform([text for text, _ in held_out]), [name for _, name in held_out])
    print(f"styles: {score:.3f} of {len(held_out)} held-out pieces are told right")
    numbers = lambda row: [round(float(x), 3) for x in row]
    path.write_text(json.dumps({
        "styles": list(model.classes_), "held_out": round(score, 3), "tokens": list(vectorizer.get_feature_names_out()),
        "idf": numbers(vectorizer.idf_), "bias": numbers(model.intercept_), "weights": [numbers(row) for row in model.coef_],
    }, separators=(",", ":"), ensure_ascii=False) + "\n")
