"""split_sentences: where Chinese and English paragraphs are cut, and that nothing is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clean import clean_text
from pipeline.sentences import sentence_bounds, split_sentences
from shards.errors import UsageError
from tests.helpers.reference_sentences import split_sentences as one_by_one

TEXTS = st.text(
    st.one_of(st.sampled_from(list('。！？；…!?;."”’」)） \n\u3000中文aBDr.3S')), st.characters(exclude_categories=("Cs",))),
    max_size=80,
)


@pytest.mark.parametrize(
    "sentences",
    [
        ["今天天气很好。", "我们去公园吧！", "你来吗？"],
        ["他说：“你好。”", "然后走了……", "真的吗？！", "（是的。）", "「好！」", "完"],
        ["第一；", "第二；", "第三。"],
        ["等等……", "不对…", "好吧"],
        ["共1；2；3个。", "价格是3.14元。", "2020年。", "2021年"],
        ["好!", "真的?", "是;", "不是。"],
        ["看 a;b 和 x!=y 吧。", "好"],
        ["“走！”，他说。", "“是吗？”：问。"],
        ["他走了。", '"你好。"', "他说。"],
        ["。。。", "好。"],
        ["没有标点的一句话"],
        ["《怎么办？》是书。", "他看了《怎么办？》。", "（甲。）", "【乙。】』", "“丙！”。", "丁"],
    ],
)
def test_chinese(sentences: list[str]) -> None:
    assert split_sentences("".join(sentences), "zh") == sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["Hello world.", "This is it!", "Is it?", "Yes"],
        ["Dr. Smith met Mr. and Mrs. Jones.", "They left."],
        ["J. R. R. Tolkien wrote it.", "C. S. Lewis read it."],
        ["Pi is 3.14 and e is 2.718.", "Fine."],
        ["See No. 5, vol. 2, p. 10 and Fig. 3.", "Done."],
        ["Is it so?", "No.", "It is not."],
        ["Bring fruit, e.g. apples, i.e. food.", "Now."],
        ["The U.S. Army left the U.S.", "The war ended at 5 p.m.", "He slept."],
        ["Apple Inc. and Acme Ltd. Germany agreed.", "Good."],
        ['He said "Stop."', '"Why?"', "(She left.)", "Then he left too."],
        ["He said ‘No!’", "“Really?”", "Yes..."],
        ["It ended... and went on.", "1999 came.", "Élan too."],
        ["Visit www.example.com.", "Today?"],
        ["I did it, not I.", "We know."],
        ["Jan. 3 was cold.", "May 4 was not."],
    ],
)
def test_english(sentences: list[str]) -> None:
    assert split_sentences(" ".join(sentences), "en") == sentences


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("text", ["", " ", "\u3000 \n"])
def test_white_space_gives_no_sentence(text: str, lang: str) -> None:
    assert split_sentences(text, lang) == []


@pytest.mark.parametrize("lang", ["zh", "en"])
@given(text=TEXTS)
def test_nothing_is_lost(lang: str, text: str) -> None:
    sentences = split_sentences(text, lang)
    assert "".join("".join(sentences).split()) == "".join(text.split())
    assert all(sentence and sentence == sentence.strip() for sentence in sentences)
    at = 0
    for sentence in sentences:  # white space inside a sentence stays as it is
        found = text.index(sentence, at)
        assert not text[at:found].strip()
        at = found + len(sentence)
    assert not text[at:].strip()


@pytest.mark.parametrize(("lang", "unit"), [("zh", "。"), ("zh", "；1"), ("zh", '。"'), ("en", ". A"), ("en", "A."), ("en", ".")])
def test_hostile_repetition_is_linear(lang: str, unit: str) -> None:
    """A quadratic pattern would run into the time limit of the test run."""
    text = unit * 200_000
    assert "".join("".join(split_sentences(text, lang)).split()) == "".join(text.split())


def test_unknown_language_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"unknown language 'fr'.*en, zh"):
        split_sentences("Bonjour.", "fr")


@pytest.mark.parametrize(
    ("lang", "alphabet"),
    [("zh", "甲。！？；…!?;\"'”’」》〉）)，：:1 乙“A𠮷\n"), ("en", ".!?…\"')] \nAbIi1Dr Mr no U.S.e.g. Inc. é“the The𠮷")],
)
@given(data=st.data())
def test_a_block_is_cut_as_its_lines_one_by_one(lang: str, alphabet: str, data: st.DataObject) -> None:
    text = data.draw(st.text(alphabet, max_size=60))
    lines = [line for raw in text.split("\n") if (line := clean_text(raw))]
    assert split_sentences("\n".join(lines), lang) == [s for line in lines for s in one_by_one(line, lang)]


@pytest.mark.parametrize("lang", ["zh", "en"])
@given(text=TEXTS)
def test_bounds_cover_the_text(lang: str, text: str) -> None:
    text = clean_text(text)
    bounds = sentence_bounds(text, lang).tolist()
    assert bounds[0] == 0 and bounds[-1] == len(text) and bounds == sorted(set(bounds))
