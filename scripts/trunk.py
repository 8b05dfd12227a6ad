"""Makes the feature discriminator's trunk of a tagger's teacher.

The teacher is the EfficientNet-Lite0 that `kaogen tagger train --work FOLDER` leaves there as
teacher0-*.safetensors; the faces (a data set file) tell how much its maps vary.

    python scripts/trunk.py work/teacher0-1a2b3c4d.safetensors faces.zip -o src/kaogen/models
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from kaogen.data.archives.archive import Archive
from kaogen.data.tagging.taggers import Tagger
from kaogen.nets.efficientnet import EfficientNetLite
from kaogen.nets.trunks import LiteTrunk

FACES = 512
BATCH = 32


def main() -> None:
    """Read the teacher, write the trunk."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("teacher", type=Path)
    parser.add_argument("faces", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder")
    asked = parser.parse_args()
    state = load_file(asked.teacher)
    net = EfficientNetLite(len(state["head.bias"]))
    net.load_state_dict(state)
    trunk = LiteTrunk(net.eval())
    trunk.spread.copy_(torch.tensor(spreads(trunk, Archive.open(asked.faces))))
    halves = {k: v if k == "spread" else v.half() for k, v in trunk.state_dict().items()}
    save_file({k: v.contiguous() for k, v in halves.items()}, asked.out / "trunk.safetensors")
    text = json.dumps(described(Tagger.load()), indent=1) + "\n"
    (asked.out / "trunk.json").write_text(text, encoding="utf-8")
    varied = ", ".join(f"{s:.2f}" for s in trunk.spreads())
    print(f"{asked.out / 'trunk.safetensors'}: its maps vary by {varied}")


@torch.no_grad()
def spreads(trunk: LiteTrunk, archive: Archive) -> list[float]:
    """Standard deviation of each map over some faces, evenly taken."""
    rows = range(0, len(archive), max(1, len(archive) // FACES))
    pixels = torch.stack([torch.from_numpy(archive.image(i)) for i in rows])
    x = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
    parts = [trunk.maps(x[i : i + BATCH], torch.float32) for i in range(0, len(x), BATCH)]
    return [float(torch.cat(maps).std()) for maps in zip(*parts, strict=True)]


def described(tagger: Tagger) -> dict[str, object]:
    """What the outputs mean: a teacher has its student's."""
    rules = tagger.rules
    return {
        "is": "what the outputs of trunk.safetensors mean: the feature discriminator's trunk",
        "from": "EfficientNet-Lite0 with ImageNet's weights, fine-tuned as the tagger's teacher",
        "tags": [{"name": rule.name, "learnt": rule.learnt} for rule in rules],
        "exclusive": {
            group: [rules[i].name for i in columns] for group, columns in tagger.exclusive.items()
        },
    }


if __name__ == "__main__":
    main()
