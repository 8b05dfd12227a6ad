"""How well the tagger judges each tag, and the thresholds it uses."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaogen.training.tagger import average_precision
from kaogen.training.tagger_data import EXCLUSIVE, EYES, HAIR, Labelled

Scores = NDArray[np.float32]

# A tag is kept ("learnt") when the held-out faces show that it is judged well enough to label
# a training set with: by ranking (AP) and at its threshold (F1).
MIN_AP, MIN_F1, MIN_EXAMPLES = 0.5, 0.5, 4
# A colour competes with its neighbours only; several borders are soft in the labels themselves.
MIN_COLOUR_AP = 0.4


def matched_thresholds(scores: Scores, shares: NDArray[np.float32]) -> NDArray[np.float32]:
    """Per column, the score that as many unlabelled faces exceed as labelled faces show the tag.

    This needs no held-out label, so none is spent on choosing; it assumes that the labelled
    faces were drawn from the unlabelled ones, and they were.

    Args:
        scores: [N, T] of the unlabelled faces.
        shares: [T] share of the labelled faces that show the tag.

    """
    columns = [np.quantile(scores[:, j], 1.0 - shares[j]) for j in range(scores.shape[1])]
    return np.clip(np.array(columns, np.float32), 0.05, 0.95)


def calibration_error(score: Scores, truth: NDArray[np.bool_], bins: int = 10) -> float:
    """Mean distance between what was said and what was so (Naeini et al. 2015), in [0, 1].

    Args:
        score: [N] probabilities.
        truth: [N].
        bins: of equal width; each counts by its share of the faces.

    """
    which = np.minimum((score * bins).astype(np.int64), bins - 1)
    said = np.bincount(which, score, bins)
    so = np.bincount(which, truth, bins)
    return float(np.abs(said - so).sum() / max(len(score), 1))


def binary_row(score: Scores, truth: NDArray[np.bool_], threshold: float) -> dict[str, Any]:
    """Precision, recall, F1, AP, calibration and number of examples of one tag."""
    said = score >= threshold
    hits = int((said & truth).sum())
    precision = hits / max(int(said.sum()), 1)
    recall = hits / max(int(truth.sum()), 1)
    return {
        "threshold": round(float(threshold), 4),
        "precision": round(precision, 3),
        "recall": round(recall, 3),
        "f1": round(2 * hits / max(int(said.sum()) + int(truth.sum()), 1), 3),
        "ap": round(average_precision(score, truth), 3) if truth.any() else None,
        "calibration_error": round(calibration_error(score, truth), 3),
        "examples": int(truth.sum()),
    }


def colour_rows(
    scores: Scores, truth: NDArray[np.int64], first: int, names: tuple[str, ...]
) -> tuple[list[dict[str, Any]], float]:
    """Per colour precision and recall of the argmax, and the top-1 accuracy."""
    known = truth >= 0
    part = scores[known, first : first + len(names)]
    answer, right = part.argmax(axis=1), truth[known]
    rows = []
    for i, name in enumerate(names):
        row = binary_row((answer == i).astype(np.float32), right == i, 0.5)
        row["ap"] = (
            round(average_precision(part[:, i], right == i), 3) if (right == i).any() else None
        )
        row["calibration_error"] = round(calibration_error(part[:, i], right == i), 3)
        rows.append({"name": name, **row, "threshold": None})
    return rows, float((answer == right).mean())


def evaluate(
    scores: Scores, test: Labelled, binary_tags: tuple[str, ...], thresholds: NDArray[np.float32]
) -> dict[str, Any]:
    """Everything the card says, from held-out faces.

    Args:
        scores: [N, outputs] of the held-out faces.
        test: their labels.
        binary_tags: names of the last outputs.
        thresholds: [len(binary_tags)].

    """
    hair, hair_top1 = colour_rows(scores, test.hair, 0, HAIR)
    eyes, eyes_top1 = colour_rows(scores, test.eyes, len(HAIR), EYES)
    rows = [{**r, "group": "hair colour"} for r in hair]
    rows += [{**r, "group": "eye colour"} for r in eyes]
    first = len(HAIR) + len(EYES)
    for j, name in enumerate(binary_tags):
        truth = test.binary[:, j] > 0.5
        row = binary_row(scores[:, first + j], truth, float(thresholds[j]))
        rows.append({"name": name, **row, "group": None})
    for row in rows:
        row["learnt"] = is_learnt(row)
    return {
        "tags": rows,
        "hair_top1": round(hair_top1, 4),
        "eyes_top1": round(eyes_top1, 4),
        "held_out": len(test.names),
        "exclusive": {k: list(v) for k, v in EXCLUSIVE.items()},
    }


def is_learnt(row: dict[str, Any]) -> bool:
    """Good enough to label with."""
    if row["group"]:
        return (row["ap"] or 0) >= MIN_COLOUR_AP
    good = (row["ap"] or 0) >= MIN_AP and row["f1"] >= MIN_F1
    return bool(good and row["examples"] >= MIN_EXAMPLES)
