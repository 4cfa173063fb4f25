"""What a browser sends of the form of a run's parameters."""

from __future__ import annotations

from api.pages.run_form import FormPart, form_parts

Given = dict[str, list[str]]


def usual_form(analysis: str) -> Given:
    """The fields of a form that nobody changed."""
    given: Given = {}

    def fill(parts: tuple[FormPart, ...]) -> None:
        for part in parts:
            if part.kind != "group":
                given[part.name] = list(part.values)
            fill(part.parts)

    fill(form_parts(analysis, None))
    return given
