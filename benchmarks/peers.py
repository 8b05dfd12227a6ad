"""Ours against two peers: the same faces, the same minutes on the same cores.

    python benchmarks/peers.py faces64.zip --out runs/peers --minutes 10

trains a conditional DCGAN, a plain conditional StyleGAN2 and kaogen's own recipe, each from the
beginning, one after the other; the machine should be idle. The same command again redoes only what
is not finished. Judging takes the generators that were saved, so it can be repeated with other
features or counts. Into --out go peers.md, peers.json and peers.png: the same seeds and labels
side by side.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from kaogen.data.archives.archive import Archive
from kaogen.errors import ConfigError, KaogenError, LabelError
from kaogen.metrics.features import TaggerFeatures, open_features
from kaogen.metrics.judges import Judge
from peers_judge import compare, grid, report, table
from peers_methods import METHODS, say, train


def options(words: Sequence[str] | None) -> argparse.Namespace:
    names = ",".join(m.name for m in METHODS)
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("data", type=Path, help="data set file of `kaogen prepare`, 64 px")
    parser.add_argument("--out", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training for each")
    parser.add_argument("--methods", default=names, help=f"some of {names}")
    parser.add_argument("--features", default="judge,tagger,efficientnet-lite0", help="by which")
    parser.add_argument("--judge", default="judge", help="of obedience: features of a tagger")
    parser.add_argument("--count", type=int, default=4000, help="pictures for the distances")
    parser.add_argument("--each", type=int, default=32, help="pictures a tag for obedience")
    parser.add_argument("--rounds", type=int, default=20, help="resamples behind an interval")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    given = options(words)
    # Said aloud even where it is the default: left unsaid, bf16 convolutions are slow.
    torch.set_num_threads(given.threads)
    wanted = given.methods.split(",")
    methods = [m for m in METHODS if m.name in wanted]
    if len(methods) != len(wanted):
        raise ConfigError(
            f"--methods {given.methods}: known are {', '.join(m.name for m in METHODS)}."
        )
    archive = Archive.open(given.data)
    if archive.labels is None or archive.vocabulary is None:
        raise LabelError(f"{given.data} has no tags.", hint="Prepare it with --tags or --tagger.")
    # Opened first: what is missing should be said before minutes are spent.
    networks = [open_features(name) for name in given.features.split(",")]
    opened = {network.name: network for network in networks}
    judging = opened.get(given.judge) or open_features(given.judge)
    if not isinstance(judging, TaggerFeatures):
        raise ConfigError(f"--judge {given.judge} is no tagger.")
    trained = [train(m, archive, given.out / m.name, given.minutes, given.seed) for m in methods]
    grid(trained, archive, given.seed).save(given.out / "peers.png")
    judge = Judge(judging, independent=given.judge != "tagger")
    found = compare(
        trained,
        archive,
        networks,
        judge,
        count=given.count,
        each=given.each,
        rounds=given.rounds,
        seed=given.seed,
    )
    text = table(trained, found, given.minutes)
    (given.out / "peers.md").write_text(text, encoding="utf-8")
    result = json.dumps(report(trained, found), indent=1)
    (given.out / "peers.json").write_text(result + "\n", encoding="utf-8")
    print(text)
    say(f"peers.md, peers.json and peers.png are in {given.out}")


if __name__ == "__main__":
    try:
        main()
    except KaogenError as error:
        say(f"error: {error}")
        sys.exit(error.exit_code)
