"""Which of a page's text is its main text, and how text is put together from the tree."""

import pytest

from resources.core.extract import extract_page

SENTENCE = "The harbour crane was lifted on Tuesday, and the town came to watch it for hours. "
PARAGRAPHS = "".join(f"<p>Part {number}. {SENTENCE * 3}</p>" for number in range(5))
OTHER = "Somebody else said something different here, at length and with commas, as people do. "


def text_of(body: str) -> str:
    return extract_page(f"<html><body>{body}</body></html>".encode(), "https://acme.example/").text


@pytest.mark.parametrize(
    "beside",
    [
        "<nav><p>{}</p></nav>",
        "<footer><p>{}</p></footer>",
        "<div class='sidebar'><p>{}</p></div>",
        "<div id='RelatedLinks'><p>{}</p></div>",
        "<div class='post-comments'><p>{}</p></div>",
        "<figure><figcaption>{}</figcaption></figure>",
    ],
)
def test_what_stands_beside_an_article_is_left_out(beside):
    text = text_of(f"<div>{PARAGRAPHS}</div>" + beside.format(OTHER))
    assert text.count("harbour crane") == 15
    assert "Somebody else" not in text


def test_comments_are_left_out_although_they_are_longer_than_the_article():
    comments = f"<div id=comments>{f'<p>{OTHER * 3}</p>' * 40}</div>"
    text = text_of(f"<article>{PARAGRAPHS}</article>{comments}")
    assert "Part 4." in text
    assert "Somebody else" not in text


def test_an_article_in_a_box_with_a_doubtful_mark_is_kept():
    assert "Part 4." in text_of(f"<div class='widget gallery'>{PARAGRAPHS}</div>")


@pytest.mark.parametrize(
    "mark",
    [
        "has-sidebar", "content-sidebar-wrap", "comments-open", "main sidebar-right", "share-box",
        "post format-gallery has-post-thumbnail tag-news", "elementor-widget-container", "promo",
    ],
)  # fmt: skip
def test_a_mark_on_what_is_around_the_article_takes_nothing_away(mark):
    other = f"<div><p>{OTHER * 4}</p><p>{OTHER * 4}</p></div>"
    text = text_of(f"<div class='{mark}'><h1>Crane</h1><div>{PARAGRAPHS}</div></div>{other}")
    assert text.count("harbour crane") == 15


@pytest.mark.parametrize("element", ["video", "object", "canvas", "button", "aside", "nav"])
def test_text_after_an_element_that_is_never_closed_is_kept(element):
    text = text_of(f"<h1>Crane</h1><p>{OTHER}</p><{element}><div>{PARAGRAPHS}</div>")
    assert text.count("harbour crane") == 15


def test_text_after_an_anchor_that_is_never_closed_is_no_link():
    assert "Part 4." in text_of(f"<a name=top><div>{PARAGRAPHS}</div>")


def test_an_article_in_many_layers_of_boxes_is_found_whole():
    layers = "".join(
        f"{'<div>' * 6}<p>Part {number}. {SENTENCE * 3}</p>{'</div>' * 6}" for number in range(8)
    )
    text = text_of(f"<div>{layers}</div><div><p>{OTHER}</p></div>")
    assert all(f"Part {number}." in text for number in range(8))


def test_an_article_in_two_parts_with_something_between_is_found_whole():
    part = f"<div><div><div>{PARAGRAPHS}</div></div></div>"
    text = text_of(f"<div>{part}<div class=ads><p>{OTHER}</p></div>{part}</div>")
    assert text.count("harbour crane") == 30
    assert "Somebody else" not in text


def test_paragraphs_that_look_like_headings_or_links_are_text():
    as_headings = PARAGRAPHS.replace("<p>", "<h4>").replace("</p>", "</h4>")
    assert "Part 4." in text_of(f"<div>{as_headings}</div>")
    assert "Part 4." in text_of(f"<a href=/x><div>{PARAGRAPHS.replace('crane', 'crane ' * 9)}")


def test_the_text_below_the_heading_wins_over_a_longer_one_elsewhere():
    article = f"<div><h1>The crane of the harbour</h1><div>{PARAGRAPHS}</div></div>"
    text = text_of(f"<div>{article}</div><div>{f'<p>{OTHER * 3}</p>' * 8}</div>")
    assert text.count("harbour crane") == 15
    assert "Somebody else" not in text


def test_answers_that_a_click_shows_are_kept():
    answers = "".join(
        f"<div class=toggle style='display:none'><p>Answer {number}. {SENTENCE * 3}</p></div>"
        for number in range(6)
    )
    text = text_of(f"<h1>Questions</h1><div>{answers}</div>")
    assert all(f"Answer {number}." in text for number in range(6))


def test_marks_that_most_of_the_text_has_mean_nothing():
    widgets = "".join(
        f"<div class='widget promo'><p>Part {number}. {SENTENCE * 3}</p></div>"
        for number in range(6)
    )
    text = text_of(f"<div>{widgets}</div><p>{OTHER}</p>")
    assert all(f"Part {number}." in text for number in range(6))


def test_a_page_that_is_all_beside_keeps_its_text():
    assert "Part 4." in text_of(f"<div class=sidebar>{PARAGRAPHS}</div>")


def test_teasers_of_other_pages_do_not_outvote_the_article():
    card = f"<div><h3><a href=/x>Another story altogether</a></h3><p>{OTHER * 4}</p></div>"
    text = text_of(f"<div>{PARAGRAPHS}</div><div>{card * 30}</div>")
    assert "Part 4." in text
    assert "Somebody else" not in text


def test_a_front_page_keeps_all_its_sections():
    sections = "".join(
        f"<section><div><h2>Line {number}</h2><p>{word * 30}</p></div></section>"
        for number, word in enumerate(["pumps ", "valves ", "pipes ", "seals "])
    )
    text = text_of(f"<nav><a href=/a>Products</a></nav>{sections}")
    assert all(word in text for word in ("Line 0", "pumps", "valves", "pipes", "seals"))
    assert "Products" not in text


def test_lists_of_links_and_remarks_inside_an_article_are_dropped():
    inside = (
        "<ul><li><a href=/a>First other thing</a></li></ul><p>Advertisement</p><p>Read more: x</p>"
    )
    text = text_of(f"<article>{PARAGRAPHS}{inside}<p>{SENTENCE}</p></article>")
    assert "First other" not in text
    assert "Advertisement" not in text
    assert "Read more" not in text


def test_a_page_with_hardly_any_text_keeps_all_of_it():
    assert text_of("<nav><a href=/a>Products</a></nav><p>Opening soon</p>") == (
        "Products\nOpening soon"
    )


def test_cells_of_a_row_stay_in_one_line_and_rows_do_not():
    table = "<table><tr><td>Phone</td><td>12</td></tr><tr><td>Fax</td><td>34</td></tr></table>end"
    assert text_of(table) == "Phone\t12\nFax\t34\nend"


def test_inline_elements_do_not_break_words_and_breaks_do():
    assert text_of("<p>Ac<b>me</b> <i>Tools</i><br>Road&nbsp;5</p>") == "Acme Tools\nRoad 5"


def test_scripts_styles_and_templates_are_no_text():
    hidden = "<script>a</script><style>b</style><template>c</template><svg><title>d</title></svg>"
    assert text_of(hidden + "<p>seen</p>") == "seen"


def test_soft_hyphens_and_spaces_without_width_break_no_words():
    assert text_of("<p>Don&shy;au\u200bdampf</p>") == "Donaudampf"
