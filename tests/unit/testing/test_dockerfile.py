import pytest

from sightloop.testing.dockerfile import last_value, lineage_of, parse_dockerfile

TEXT = """
# what it is for
ARG PYTHON=python:3.11.1
FROM ${PYTHON} AS build
COPY a b ./
RUN one \\
 # a comment between
 && two
FROM build AS serve
COPY --from=build --chown=1:1 /x /y
USER 10001:10001
CMD ["serve", "--port", "0"]
FROM scratch
"""


def test_stages_have_names_and_bases_with_arguments_filled_in() -> None:
    stages = parse_dockerfile(TEXT)
    assert [(stage.name, stage.base) for stage in stages] == [
        ("build", "python:3.11.1"),
        ("serve", "build"),
        ("2", "scratch"),
    ]


def test_continued_lines_are_one_instruction() -> None:
    (build, *_) = parse_dockerfile(TEXT)
    assert [one.word for one in build.instructions] == ["COPY", "RUN"]
    assert build.instructions[1].value.split() == ["one", "&&", "two"]


def test_flags_are_apart_from_the_value() -> None:
    copy = parse_dockerfile(TEXT)[1].instructions[0]
    assert copy.flags == {"from": "build", "chown": "1:1"}
    assert copy.value == "/x /y"


def test_lineage_goes_down_to_the_image_and_the_last_word_counts() -> None:
    lineage = lineage_of(parse_dockerfile(TEXT), "serve")
    assert [stage.name for stage in lineage] == ["build", "serve"]
    user = last_value(lineage, "USER")
    assert user is not None
    assert user.value == "10001:10001"
    assert last_value(lineage, "HEALTHCHECK") is None


def test_command_is_a_list_or_refused() -> None:
    stages = parse_dockerfile(TEXT + "CMD serve --port 0\n")
    command = last_value(lineage_of(stages, "serve"), "CMD")
    assert command is not None
    assert command.as_list() == ["serve", "--port", "0"]
    with pytest.raises(ValueError, match="Expecting"):
        stages[2].instructions[0].as_list()
