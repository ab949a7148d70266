import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import OSA

from geocoder.spelling import Algorithm, is_close, one_edit_away, similarity, trigrams_after_one_edit

keys = st.text(alphabet="abcdefghij ", min_size=1, max_size=30).map(str.strip).filter(bool)


@given(st.text(alphabet="abcxyz", min_size=1, max_size=6))
def test_edits_of_a_short_key_are_all_one_edit_away(key: str) -> None:
    edits = one_edit_away(key)
    assert key not in edits
    assert all(OSA.distance(key, edit) == 1 for edit in edits)
    assert len(edits) == len(set(edits))


@given(st.text(alphabet="abc", min_size=2, max_size=6), st.data())
def test_every_edit_is_among_them(key: str, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(key) - 1))
    edits = set(one_edit_away(key))
    assert {key[:position] + key[position + 1 :], key[:position] + "z" + key[position:]} - {key} <= edits


def test_finds_a_swap_of_neighbours() -> None:
    assert "paris" in one_edit_away("pairs")


def test_knows_other_alphabets() -> None:
    assert "киев" in one_edit_away("кев")
    assert "東京" in one_edit_away("東京都")


def test_leaves_long_keys_to_trigrams() -> None:
    assert one_edit_away("copenhagn") == []
    assert 0.3 <= trigrams_after_one_edit("copenhagn") <= 0.45


@pytest.mark.parametrize("algorithm", list(Algorithm))
@given(one=keys, other=keys, trigram=st.floats(0, 1))
def test_similarities_are_shares_and_symmetric(algorithm: Algorithm, one: str, other: str, trigram: float) -> None:
    alike = similarity(algorithm, one, other, trigram)
    assert 0 <= alike <= 1
    assert alike == pytest.approx(similarity(algorithm, other, one, trigram))
    assert similarity(algorithm, one, one, 1.0) == 1


def test_similarities_by_the_book() -> None:
    assert similarity(Algorithm.JARO_WINKLER, "martha", "marhta", 0) == pytest.approx(0.9611, abs=1e-4)
    assert similarity(Algorithm.LEVENSHTEIN, "kitten", "sitting", 0) == pytest.approx(4 / 7)
    assert similarity(Algorithm.TRIGRAM, "a", "b", 0.25) == 0.25
    assert similarity(Algorithm.BEST, "martha", "marhta", 0.3) == pytest.approx(0.9611, abs=1e-4)


def test_close_is_one_edit_or_none() -> None:
    assert is_close("paris", "paris")
    assert is_close("pairs", "paris")
    assert not is_close("parish", "pairs")
