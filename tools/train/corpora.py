"""The texts: which books the base reads, which it never sees, and the one way they are cleaned.

All of them are in the public domain where the latest, from 1929, is. Nothing of them is in this repository.
"""

import re
import unicodedata
from pathlib import Path

# Whole novels that neither the base nor an adapter nor the tokenizer sees: the test books.
HELD_OUT = [
    "Burnett_Garden_1911", "Chesterton_Thursday_1908", "Conrad_Almayer_1895", "Dickens_Oliver_1839",
    "Doyle_Hound_1902", "Forster_View_1908", "Gaskell_Lovers_1863", "Haggard_Mines_1885",
    "Hardy_Tess_1891", "Woolf_Lighthouse_1927",
]
# In the corpora of the adapters, so left out here too.
IN_STYLES = ["Stevenson_Treasure_1883"]
LATEST = 1929

PLAIN = {"—": "--", "–": "-", "…": "...", "‘": "'", "’": "'", "“": '"', "”": '"', "_": "", "*": "", "\ufeff": ""}


def clean(text: str, verse: bool = False) -> str:
    """Plain ASCII paragraphs without marks of italics, parted by one blank line. Lines within a
    paragraph are joined, or kept where they are `verse`."""
    text = "".join(PLAIN.get(character, character) for character in text.replace("\r", ""))
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    paragraphs = []
    for paragraph in re.split(r"\n[ \t]*\n\s*", text):
        lines = [" ".join(line.split()) for line in re.sub(r"(?m)^#+ *", "", paragraph).split("\n")]
        paragraphs.append(("\n" if verse else " ").join(line for line in lines if line))
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def titled(path: Path, verse: bool = False) -> dict[str, str]:
    """Title -> text, of a file of books headed `# Title: …` down to a line of dashes, none later than `LATEST`."""
    books = {}
    for book in re.split(r"(?m)^# Title: ", path.read_text(encoding="utf-8"))[1:]:
        head, body = book.split("\n-------\n", 1)
        year = re.search(r"(?m)^## Year: *(\d+)", head)  # missing for Blake
        if not year or int(year.group(1)) <= LATEST:
            books[head.split("\n", 1)[0].strip()] = clean(body, verse)
    return books


def novel(path: Path) -> str:
    return clean(path.read_text(encoding="utf-8"))


def base_books(corpora: Path) -> dict[str, str]:
    """Name -> text of every book the base is trained on, in order."""
    books = {}
    for path in sorted((corpora / "novels").glob("*_????.txt")):
        if path.stem not in HELD_OUT + IN_STYLES and int(path.stem[-4:]) <= LATEST:
            books[path.stem] = novel(path)
    return books | titled(corpora / "novels/scifi.txt")


def held_out(corpora: Path) -> dict[str, str]:
    """Name -> text of the test books."""
    return {name: novel(corpora / "novels" / f"{name}.txt") for name in HELD_OUT}


# Name of an adapter -> its corpus, and whether its lines are verse.
STYLES = {
    "shakespeare": ("styles/plays.txt", True),
    "king-james": ("styles/kjv.txt", True),
    "sherlock": ("styles/adventures_of_sherlock_holmes.txt", False),
    "pirate": ("styles/pirate.txt", False),
    "horror": ("styles/horror.txt", False),
    "poems": ("styles/poems.txt", True),
    "children": ("novels/childrens_books.txt", False),
}
# Of corpora of many voices the books with one: Lovecraft's stories; tales, not novels, one of which is a test book;
# verse, not prose.
ONLY = {
    "horror": [
        "Pickman's Model", "The Call of Cthulhu", "The Colour Out of Space", "The Dunwich Horror", "The Lurking Fear",
        "The Rats in the Walls",
    ],
    "children": [
        "Aesop's Fables", "The Adventures of Pinocchio", "The Book of Dragons", "Andersen's Fairy Tales",
        "The Little Mermaid", "The Story of Doctor Dolittle", "A Kidnapped Santa Claus",
        "Dorothy and the Wizard in Oz", "Ozma of Oz", "The Life and Adventures of Santa Claus",
        "The Marvelous Land of Oz", "The Wonderful Wizard of Oz", "The Happy Prince & Other Tales",
        "Grimms' Fairy Tales", "Aladdin and the Magic Lamp",
    ],
    "poems": [
        "Leaves of Grass", "Songs of Innocence and of Experience", "Poems: Three Series", "New Hampshire",
        "Paradise Lost", "Gitanjali",
    ],
}


def style(corpora: Path, name: str) -> tuple[list[str], list[str]]:
    """Texts to train adapter `name` on, and the last tenth of each, which is held out."""
    file, verse = STYLES[name]
    path = corpora / file
    books = titled(path, verse) or {"": clean(path.read_text(encoding="utf-8"), verse)}
    kept = [text for title, text in books.items() if title in ONLY.get(name, books)]
    cuts = [(text, len(text) * 9 // 10) for text in kept]
    return [text[:cut] for text, cut in cuts], [text[cut:] for text, cut in cuts]
