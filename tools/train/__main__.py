"""Trains what the page ships with: the base model, then its adapters.

    pip install -r tools/train/requirements.txt
    python tools/train base --corpora FOLDER
    python tools/train adapters --corpora FOLDER [NAME ...]
    python tools/train voices --corpora FOLDER [NAME ...]   # those of SmolLM2, which tools/real_model.py fetches
    python tools/train styles --corpora FOLDER      # what tests tell the adapters' texts apart with
    python tools/train cards                        # what README.md says of the first two
    python tools/train check [f16] [q8] [q4]        # whether the release program finds the same bits per byte

Each goes on where it was stopped (`target/train`), on CUDA where there is any.
"""

import argparse
from pathlib import Path

import torch

REPOSITORY = Path(__file__).resolve().parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["base", "adapters", "voices", "styles", "cards", "check"])
    parser.add_argument("names", nargs="*", help="of adapters or types of weights; all by default")
    parser.add_argument("--corpora", type=Path, default=REPOSITORY / "../shared/data/corpora", help="folder of texts")
    parser.add_argument("--state", type=Path, default=REPOSITORY / "target/train", help="where training is kept")
    parser.add_argument("--program", type=Path, default=REPOSITORY / "target/release/lorakeet", help="what is checked")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if arguments.part == "base":
        import base

        base.write(arguments.corpora, arguments.state, REPOSITORY / "www/models/novels", device)
    elif arguments.part == "adapters":
        import adapters

        adapters.write(arguments.corpora, arguments.state, REPOSITORY / "www/adapters", arguments.names, device)
    elif arguments.part == "voices":
        import voices

        voices.write(arguments.corpora, arguments.state, REPOSITORY / "www/adapters/smollm2", arguments.names)
    elif arguments.part == "styles":
        import styles

        styles.write(arguments.corpora, REPOSITORY / "tests/fixtures/styles.json")
    elif arguments.part == "check":
        import check

        check.check(arguments.state, REPOSITORY / "www/models/novels", arguments.program, arguments.names)
    else:
        import cards

        cards.write(arguments.state, REPOSITORY / "www/models/novels", REPOSITORY / "www/adapters")


if __name__ == "__main__":
    main()
