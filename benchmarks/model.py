"""How fast a model draws, all in: tags filled from a real label row, latents, both graphs.

    python benchmarks/model.py MODEL.kaogen --count 300

How well it obeys its tags is measured by `kaogen eval`.
"""

import argparse
import time
from pathlib import Path

from kaogen.recipe import Recipe
from kaogen.studio.bundle import Bundle
from kaogen.studio.draw import Studio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--count", type=int, default=300)
    options = parser.parse_args()
    studio = Studio(Bundle.open(options.model))
    size = studio.bundle.manifest.resolution
    studio.draw(Recipe(seed=0, size=size))  # loads the graphs
    start = time.perf_counter()
    for seed in range(options.count):
        studio.draw(Recipe(seed=seed, size=size))
    each = (time.perf_counter() - start) / options.count
    print(f"{each * 1000:.1f} ms a picture of {size} px over {options.count} pictures")


if __name__ == "__main__":
    main()
