"""How a model obeys its tags, by the built-in tagger's judgement, and how fast it draws.

    python benchmarks/model.py MODEL.kaogen --out measured.json

The tagger that judges also labelled the training set and lent its features to the discriminator,
so these figures say how well G learnt what the tagger sees, not what a person would say.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from kaogen.data.taggers import Tagger
from kaogen.recipe import Recipe
from kaogen.studio.bundle import Bundle
from kaogen.studio.draw import Studio


def shown(tagger: Tagger, pictures: list[np.ndarray]) -> list[set[str]]:
    """Tags of each picture."""
    scores = tagger.scores(pictures)
    return [{name for name, _ in tagger.tags(row)} for row in scores]


def draw(studio: Studio, tags: tuple[str, ...], count: int, size: int) -> tuple[list, list]:
    """`count` pictures of these picks, and the tags that each was drawn with."""
    characters = [studio.draw(Recipe(tags=tags, seed=s, size=size)) for s in range(count)]
    return [np.asarray(c.image.convert("RGB")) for c in characters], [c.tags for c in characters]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--count", type=int, default=100, help="pictures a tag")
    options = parser.parse_args()
    bundle = Bundle.open(options.model)
    studio, tagger = Studio(bundle), Tagger.load()
    size = bundle.manifest.resolution
    start = time.perf_counter()
    free, asked = draw(studio, (), 3 * options.count, size)
    each = (time.perf_counter() - start) / len(free)
    verdicts = shown(tagger, free)
    rows = {}
    for tag in (t.name for t in bundle.manifest.tags if t.learnt):
        pictures, _ = draw(studio, (tag,), options.count, size)
        obeyed = float(np.mean([tag in v for v in shown(tagger, pictures)]))
        others = [tag in v for v, a in zip(verdicts, asked, strict=True) if tag not in a]
        unasked = float(np.mean(others)) if others else 0.0
        rows[tag] = {"obedience": round(obeyed, 3), "unasked": round(unasked, 3)}
        print(f"{tag:16} asked {obeyed:6.1%}   unasked {unasked:6.1%}")
    print(f"mean obedience {np.mean([r['obedience'] for r in rows.values()]):.1%}")
    print(f"{each * 1000:.1f} ms a picture of {size} px, all in")
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
