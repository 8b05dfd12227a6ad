"""Errors: one line each, the right exit status, and able to travel between processes."""

import pickle

import pytest

from kaogen import errors
from kaogen.errors import KaogenError, MissingExtraError, RecipeError, UnknownTagError

TREE = {
    "KaogenError": (1, 500),
    "InputError": (2, 400),
    "UnknownTagError": (2, 400),
    "TagConflictError": (2, 400),
    "RecipeError": (2, 400),
    "ConfigError": (2, 400),
    "DataError": (3, 422),
    "ArchiveError": (3, 422),
    "ImageError": (3, 422),
    "LabelError": (3, 422),
    "ModelError": (4, 503),
    "BundleError": (4, 503),
    "CheckpointError": (4, 503),
    "ModelNotFoundError": (4, 404),
    "MissingExtraError": (5, 501),
    "PortBusyError": (6, 500),
    "TrainingError": (7, 500),
}


def test_the_tree_is_the_one_that_is_documented() -> None:
    kinds = {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, Exception)
    }
    assert {name: (kind.exit_code, kind.status) for name, kind in kinds.items()} == TREE
    for name, kind in kinds.items():
        assert kind is KaogenError or issubclass(kind, KaogenError)
        assert name in (errors.__doc__ or "")


def test_message_and_hint_are_one_line() -> None:
    error = KaogenError("a\nb\x1b[31m", hint="do\tthis")
    assert str(error) == "a b [31m do this"
    assert error.message == "a b [31m"


def test_unknown_tag_names_the_word_the_place_and_the_nearest() -> None:
    error = UnknownTagError("glases", ["glasses", "gloves"], where="tags")
    assert str(error) == 'unknown tag "glases" in tags. Nearest: glasses, gloves.'
    assert len(str(UnknownTagError("x" * 10_000))) < 120


def test_a_missing_extra_says_how_to_install_it() -> None:
    told = errors.missing_extra(ModuleNotFoundError(name="torch.nn"), "training")
    assert isinstance(told, MissingExtraError)
    assert "pip install 'kaogen[train]'" in str(told)
    assert errors.missing_extra(ModuleNotFoundError(name="kaogen.typo"), "it") is None


@pytest.mark.parametrize(
    "error",
    [
        KaogenError("a", hint="b"),
        UnknownTagError("word", ["near"], where="here"),
        RecipeError("bad", field="seed", hint="x"),
        MissingExtraError("train", "training"),
    ],
)
def test_errors_survive_pickling(error: KaogenError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
