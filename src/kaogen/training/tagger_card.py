"""The card of a tagger: what it is, how it was made, and how far it can be trusted, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MADE = {
    "tagger": """\
It labels data sets (`kaogen prepare --tagger builtin`), and models are trained on its labels. So it
must not be their only judge: `kaogen eval` asks the judge too.

Made in three steps. A plain network of 3x3 convolutions learns from faces labelled one by one, from
a noisy set and from a drawn one. EfficientNet-Lite0 with ImageNet's weights learns the same; it is
far better at rare yes/no tags and worse at colours. Then the plain network learns on, from the
labels and from what the two say about all unlabelled faces: its own colours, the other's yes/no
tags. That choice was made with held-out figures of the first two in view; nothing else was.""",
    "judge": """\
It judges models (`kaogen eval`) and nothing else: no data set is labelled by it, no model is
trained against it. Two networks, trained on another split of the labels, with other seeds, at
another size than the built-in tagger, which they never saw: EfficientNet-Lite0 with ImageNet's
weights judges yes/no tags, and a narrow plain network the colours.""",
}


def card(name: str, described: Mapping[str, Any]) -> str:
    """The card as Markdown.

    Args:
        name: "tagger", "judge" or another.
        described: what the tagger's .json holds.

    """
    tags = described["tags"]
    learnt = sum(bool(t["learnt"]) for t in tags)
    lines = [
        f"# Card: {name}",
        "",
        _MADE.get(name, "Made by `kaogen tagger train`."),
        "",
        f"Faces are seen at {described['size']} x {described['size']} pixels. Top-1: hair colour\n"
        f"{described['hair_top1']:.1%}, eye colour {described['eyes_top1']:.1%}, on "
        f"{described['held_out']} held-out faces that were never trained on, soft\n"
        "borders (navy, silver, teal, amber) counted as wrong. "
        f"{learnt} of {len(tags)} tags are judged well\nenough to be used; that choice was made on "
        "the same faces, so tags that just passed look a little\nbetter than they are.",
        "",
        "What the figures cannot say: the labels are noisy themselves (mouth, smile and blush\n"
        "have soft thresholds), and the crops are tight, so that twin tails, ponytails and animal\n"
        "ears are under-counted. A tag with few examples has a figure that one face can change.",
        "",
        "| tag | used | precision | recall | average precision | threshold | calibration error "
        "| examples |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for tag in tags:
        threshold = "best of its group" if tag["group"] else f"{tag['threshold']:.2f}"
        average = "" if tag["ap"] is None else f"{tag['ap']:.2f}"
        lines.append(
            f"| {tag['name']} | {'yes' if tag['learnt'] else 'no'} | {tag['precision']:.2f} "
            f"| {tag['recall']:.2f} | {average} | {threshold} "
            f"| {tag['calibration_error']:.2f} | {tag['examples']} |"
        )
    return "\n".join(lines) + "\n"
