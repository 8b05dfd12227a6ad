"""WD, DeepDanbooru and illustration2vec taggers: real graphs tell what they were shown."""

import csv
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data.tagger_graphs import NAMES, deepdanbooru, illustration2vec, points_graph, wd
from kaogen.data.tagging.foreign_tags import map_columns
from kaogen.data.tagging.tag_rules import read_thresholds
from kaogen.data.tagging.taggers import open_tagger
from kaogen.errors import BundleError, ConfigError, ModelNotFoundError, UnknownTagError
from kaogen.tags import PAPER, Vocabulary

POINTS = Vocabulary(NAMES)
ORANGE, NAVY, WHITE = (230, 120, 20), (10, 40, 150), (255, 255, 255)


def two_colours(width: int, height: int) -> np.ndarray:
    """Left half orange, right half navy."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[:, : width // 2], picture[:, width // 2 :] = ORANGE, NAVY
    return picture


def shown(tagger_path: Path, picture: np.ndarray) -> list[list[int]]:
    """The colours, 0 to 255, that the graph saw in the corner, left and right."""
    tagger = open_tagger(str(tagger_path), POINTS)
    assert tagger.names == tuple(NAMES)
    scores = tagger.scores([picture])
    assert scores.shape == (1, 9)
    assert scores.dtype == np.float32
    return np.rint(scores.reshape(3, 3) * 255).astype(int).tolist()


@pytest.mark.parametrize(
    ("make", "wide", "tall"),
    [
        (wd, WHITE, WHITE),
        (deepdanbooru, ORANGE, ORANGE),
        (illustration2vec, ORANGE, ORANGE),
    ],
)
def test_each_layout_sees_the_picture_as_its_graph_expects(
    tmp_path: Path,
    make: Callable[[Path], Path],
    wide: tuple[int, int, int],
    tall: tuple[int, int, int],
) -> None:
    path = make(tmp_path)
    for size in [(96, 48), (400, 200), (20, 10)]:  # wide: bars above and below
        assert shown(path, two_colours(*size)) == [list(wide), list(ORANGE), list(NAVY)]
    # Tall: bars left and right, so the middles of the halves still lie inside at 2:3.
    assert shown(path, two_colours(64, 96)) == [list(tall), list(ORANGE), list(NAVY)]
    assert shown(path, two_colours(48, 48)) == [list(ORANGE), list(ORANGE), list(NAVY)]


def test_padding_is_white_for_wd_and_the_edge_for_deepdanbooru(tmp_path: Path) -> None:
    stripe = two_colours(12, 96)
    for make, bars in [(wd, (WHITE, WHITE)), (deepdanbooru, (ORANGE, NAVY))]:
        folder = tmp_path / make.__name__
        folder.mkdir()
        assert shown(make(folder), stripe)[1:] == [list(bars[0]), list(bars[1])]


def test_a_pictures_scores_do_not_depend_on_its_neighbours(tmp_path: Path) -> None:
    for make in (wd, deepdanbooru, illustration2vec):
        folder = tmp_path / make.__name__
        folder.mkdir()
        tagger = open_tagger(str(make(folder)), POINTS)
        pictures = [two_colours(60 + i, 50) for i in range(5)]
        alone = np.concatenate([tagger.scores([picture]) for picture in pictures])
        np.testing.assert_array_equal(tagger.scores(pictures), alone)
        np.testing.assert_array_equal(
            pickle.loads(pickle.dumps(tagger)).scores(pictures[:1]), alone[:1]
        )
        assert tagger.scores([]).shape == (0, 9)
        assert tagger.size == 48
        said = tagger.describe()
        assert said["name"] == Path(said["name"]).name
        assert len(said["sha256"]) == len(said["list_sha256"]) == 64


def test_logits_and_several_outputs(tmp_path: Path) -> None:
    grey = np.full((48, 48, 3), 100, np.uint8)
    logits = open_tagger(str(wd(tmp_path, tail="logits")), POINTS)
    np.testing.assert_allclose(logits.scores([grey]), 100 / 255, atol=1e-5)
    both = wd(tmp_path, tail="logits", outputs=("logits", "prediction"))
    np.testing.assert_allclose(open_tagger(str(both), POINTS).scores([grey]), 100 / 255, atol=1e-5)


def test_foreign_tags_are_mapped_onto_the_vocabulary() -> None:
    columns = ["twintails", "grey_hair", "low_twintails", None, "holding_sword", "1boy", "hairclip"]
    names, sources, starts = map_columns(columns, PAPER)
    assert names == ("hair clip", "silver hair", "twin tails", "male")
    assert sources.tolist() == [6, 1, 0, 2, 5]
    assert starts.tolist() == [0, 1, 2, 4]
    # A colour beyond the vocabulary stays, or the best of the others would win.
    assert map_columns(["red_hair", "blue_hair"], Vocabulary(["blue hair"]))[0] == (
        "blue hair",
        "red hair",
    )
    own = [*columns, "^_^", ";d", "|_|", "fate_(series)", "o_o", ":d", "grey hair"]
    names, sources, starts = map_columns(own, None)
    assert names[:3] == ("twintails", "grey hair", "low twintails")
    assert names[6:] == ("^_^", "fate (series)", "o_o", ":d")  # what separates tags is no name
    assert sources.tolist() == [0, 1, 13, 2, 4, 5, 6, 7, 10, 11, 12]
    assert starts.tolist() == [0, 1, 3, 4, 5, 6, 7, 8, 9, 10]


def write_words(path: Path, words: list[str], categories: list[int] | None = None) -> None:
    rows = zip(words, categories or [0] * len(words), strict=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["tag_id", "name", "category", "count"])
        writer.writerows([i, word, category, 1] for i, (word, category) in enumerate(rows))


def test_scores_become_tags_by_threshold_group_and_narrower_tags(tmp_path: Path) -> None:
    path = wd(tmp_path)
    words = ["blue_hair", "smile", "red_hair", "glasses", "low_twintails", "twintails"]
    words += ["general", "blush", "hatsune_miku"]
    write_words(tmp_path / "selected_tags.csv", words, [0] * 6 + [9, 0, 4])
    tagger = open_tagger(str(path), PAPER)
    assert tagger.names == (
        "blush", "blue hair", "red hair", "twin tails", "smile", "glasses",
    )  # fmt: skip
    # The points' colours, blue first: (B, G, R) of the corner, the left and the right.
    picture = np.full((48, 48, 3), (80, 100, 20), np.uint8)
    picture[:, 30:] = (0, 30, 0)
    row = tagger.scores([picture])[0]
    np.testing.assert_allclose(row * 255, [30, 20, 80, 100, 100, 20], atol=1e-3)
    assert tagger.tags(row) == [
        ("red hair", pytest.approx(80 / 255)),
        ("twin tails", pytest.approx(100 / 255)),
        ("smile", pytest.approx(100 / 255)),
    ]
    assert tagger.tags([0, 0.05, 0.09, 0, 0, 0]) == []  # no hair at all is no hair colour

    own = read_thresholds(["0.9", "blushing=0.1"])
    stricter = open_tagger(str(path), PAPER, thresholds=own)
    assert [name for name, _ in stricter.tags(row)] == ["blush", "red hair"]
    assert stricter.describe()["thresholds"] == {"*": 0.9, "blushing": 0.1}
    again = pickle.loads(pickle.dumps(stricter))
    assert again.tags(row) == stricter.tags(row)
    cut = open_tagger(str(path), PAPER, thresholds=read_thresholds(["mcut"]))
    assert [name for name, _ in cut.tags([0.2, 0, 0.9, 0.3, 0.8, 0.7])] == [
        "red hair", "smile", "glasses",
    ]  # fmt: skip
    with pytest.raises(UnknownTagError, match="glases"):
        open_tagger(str(path), PAPER, thresholds=read_thresholds(["glases=0.5"]))


def test_the_list_may_carry_the_graphs_own_name(tmp_path: Path) -> None:
    path = wd(tmp_path)
    dd = deepdanbooru(tmp_path)  # two taggers in one folder
    with pytest.raises(BundleError, match="different taggers"):
        open_tagger(str(path), POINTS)
    (tmp_path / "selected_tags.csv").rename(tmp_path / "model.csv")
    (tmp_path / "tags.txt").rename(tmp_path / "dd.txt")
    assert shown(path, two_colours(96, 48))[0] == list(WHITE)
    assert shown(dd, two_colours(96, 48))[0] == list(ORANGE)


def test_characters_and_ratings_of_deepdanbooru_and_illustration2vec_are_no_tags(
    tmp_path: Path,
) -> None:
    path = deepdanbooru(tmp_path)
    words = ["smile", "hatsune_miku", *(f"tag_{i}x" for i in range(6)), "rating:safe"]
    (tmp_path / "tags.txt").write_text("\n".join(words), encoding="utf-8")
    (tmp_path / "tags-character.txt").write_text("hatsune_miku\n", encoding="utf-8")
    assert open_tagger(str(path)).names == ("smile", *(f"tag {i}x" for i in range(6)))


def test_what_does_not_fit_is_one_clear_line(tmp_path: Path) -> None:
    path = wd(tmp_path)
    tags = tmp_path / "selected_tags.csv"
    words = [name.replace(" ", "_") for name in NAMES]

    def refused(kind: type[Exception], match: str, spec: str = str(path)) -> None:
        with pytest.raises(kind, match=match) as caught:
            open_tagger(spec, POINTS)
        assert "\n" not in str(caught.value)

    write_words(tags, words[:-1])
    refused(BundleError, "gives 9 scores, selected_tags.csv lists 8 tags")
    tags.write_text("name,count\nsmile,3\n", encoding="utf-8")
    refused(BundleError, "no list of WD tags")
    tags.write_bytes(b"\xff\xfe\x00")
    refused(BundleError, "no list of WD tags")
    tags.write_text("name,category\n", encoding="utf-8")
    refused(BundleError, "lists no tags")
    write_words(tags, [f"thing_{i}" for i in range(9)])
    refused(ConfigError, "knows no tag of the vocabulary")
    write_words(tags, words)
    points_graph(path, ["n", 3, 48, 48], first=True)
    refused(BundleError, r"a WD tagger takes \[N, size, size, 3\]")
    points_graph(path, ["n", 48, 64, 3])
    refused(BundleError, "a WD tagger takes")
    path.write_bytes(b"no graph")
    refused(BundleError, "no usable ONNX")
    tags.unlink()
    refused(ModelNotFoundError, "no list of tags beside .*selected_tags.csv .WD.")
    refused(ModelNotFoundError, "no tagger file", str(tmp_path / "none.onnx"))
    for spec in ("wd14", "", "builtin+", "hub:", "hub:only-a-name"):
        refused(ConfigError, "none that is known|cannot be read", spec)


def test_illustration2vecs_list(tmp_path: Path) -> None:
    path = illustration2vec(tmp_path)
    for text in ("{}", "[1, 2]", "[", json.dumps(["a"])):
        (tmp_path / "tag_list.json").write_text(text, encoding="utf-8")
        with pytest.raises((BundleError, ConfigError)):
            open_tagger(str(path), POINTS)
