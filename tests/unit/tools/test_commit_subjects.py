"""Which subjects of commits `make lint` takes."""

import pytest

from tools.commit_subjects import SUBJECT_MAX, problem


@pytest.mark.parametrize(
    "subject",
    [
        "source: a recreated topic is noticed by its id",
        "client, daemon: one table of options",
        "a: " + "b" * (SUBJECT_MAX - 3),
    ],
)
def test_a_subject_of_the_house_s_form_is_taken(subject: str):
    assert problem(subject) is None


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ("a: " + "b" * (SUBJECT_MAX - 2), "73 characters"),
        ("Fix the thing", "area: main effect"),
        ("source:", "area: main effect"),
        ("source: a recreated topic is noticed.", "full stop"),
    ],
)
def test_what_is_wrong_with_a_subject_is_said(subject: str, said: str):
    assert said in str(problem(subject))
