"""Rules that make new names of old ones: a place always, by the longest rule."""

from hypothesis import given
from hypothesis import strategies as st

from tidegate.registry.reference import place_of
from tidegate_receiver.promotion.rewriting import new_place

PART = st.from_regex(r"[a-z0-9]{1,6}", fullmatch=True)
PATH = st.lists(PART, min_size=1, max_size=3).map("/".join)
HOST = st.sampled_from(["docker.io", "quay.io", "reg.example:5000"])
END = st.one_of(st.just(":1"), st.just(f"@sha256:{'a' * 64}"), st.just(f":sha256-{'b' * 64}.sig"))
NAME = st.builds(lambda host, path, end: f"{host}/{path}{end}", HOST, PATH, END)


@given(NAME, PATH)
def test_without_a_rule_that_fits_the_place_is_that_of_the_stage(name: str, other: str) -> None:
    assert new_place(name, {f"nowhere.example/{other}/": "m/"}) == place_of(name)


@given(HOST, PATH, PATH, END, PATH)
def test_a_rule_replaces_the_beginning_and_nothing_else(host: str, old: str, rest: str, end: str, new: str) -> None:
    assert new_place(f"{host}/{old}/{rest}{end}", {f"{host}/{old}/": f"{new}/"}) == f"{new}/{rest}{end}"


@given(HOST, PATH, PART, END, PATH)
def test_a_rule_without_a_slash_is_for_whole_components(host: str, old: str, more: str, end: str, new: str) -> None:
    assert new_place(f"{host}/{old}{end}", {f"{host}/{old}": new}) == f"{new}{end}"
    longer = f"{host}/{old}{more}{end}"
    assert new_place(longer, {f"{host}/{old}": new}) == place_of(longer)


@given(HOST, PATH, PART, END)
def test_the_longest_rule_counts(host: str, old: str, last: str, end: str) -> None:
    rules = {f"{host}/": "all/", f"{host}/{old}/": "some/"}
    assert new_place(f"{host}/{old}/{last}{end}", rules) == f"some/{last}{end}"


@given(st.lists(NAME, unique=True, max_size=6), PATH)
def test_one_rule_keeps_apart_what_was_apart(names: list[str], new: str) -> None:
    rules = {"docker.io/": f"{new}/docker/", "quay.io/": f"{new}/quay/", "reg.example:5000/": f"{new}/reg/"}
    assert len({new_place(name, rules) for name in names}) == len(names)
