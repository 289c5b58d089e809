import pytest

from pipelines.errors import BadRow
from pipelines.qa.nodes import Node

ROOT = Node("a.json", {"data": [{"name": "one", "size": 3, "open": True}, {"name": None, "size": -1}, 7]})


def test_steps_down_lead_to_values() -> None:
    first = ROOT.items("data")[0]
    assert (first.text("name"), first.number("size"), first.flag("open")) == ("one", 3, True)


def test_what_is_missing_or_null_has_its_default() -> None:
    first, second, _ = ROOT.items("data")
    assert (first.text("colour", "red"), second.text("name", "two"), second.flag("open")) == ("red", "two", False)


@pytest.mark.parametrize(
    ("step", "where", "why"),
    [
        (lambda: ROOT.items("rows"), "a.json", "has no rows"),
        (lambda: ROOT.items("data")[1].text("name"), "a.json, data[1]", "has no name"),
        (lambda: ROOT.items("data")[0].number("name"), "a.json, data[0]", "name is not a whole number from 0"),
        (lambda: ROOT.items("data")[1].number("size"), "a.json, data[1]", "size is not a whole number from 0"),
        (lambda: ROOT.items("data")[0].number("open"), "a.json, data[0]", "open is not a whole number from 0"),
        (lambda: ROOT.items("data")[0].items("name"), "a.json, data[0]", "name is not a list"),
        (lambda: ROOT.items("data")[2].flag("open"), "a.json, data[2]", "not a JSON object"),
    ],
    ids=str,
)
def test_a_step_that_fails_says_where_and_why(step: object, where: str, why: str) -> None:
    with pytest.raises(BadRow) as caught:
        step()  # type: ignore[operator]
    assert (caught.value.where, caught.value.why) == (where, why)
