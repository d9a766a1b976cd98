"""What every model of a document shares: unknown fields are refused, names are camelCase, rules report all they find.

A model's own fields are checked by pydantic. What must hold between fields is said by `issues()`: it yields every
violation with its path, so that one answer holds them all. It runs once all fields of that model are sound.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, Self, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Strict, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from ripstop.model.yaml_text import Path

Item = TypeVar("Item")
Items = Annotated[tuple[Item, ...], Strict(False)]
"""A list in a document, kept as a tuple."""


class Issue(NamedTuple):
    """Something wrong at `path`, relative to the model that says so."""

    path: Path
    message: str
    cure: str


class Spec(BaseModel):
    """The base of all that an operator writes."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, alias_generator=to_camel, use_attribute_docstrings=True
    )

    def issues(self) -> Iterator[Issue]:
        """What does not hold between the fields of this model."""
        return iter(())

    @model_validator(mode="after")
    def _holds(self) -> Self:
        issues = tuple(self.issues())
        if issues:
            raise PydanticCustomError("issues", "rules of the kind are broken", {"issues": issues})
        return self

    def given(self, prefix: str = "") -> Iterator[str]:
        """The paths of the fields that were written, leaf by leaf, as a reader of the document names them."""
        for name in sorted(self.model_fields_set):
            value = getattr(self, name)
            path = f"{prefix}{to_camel(name)}"
            if isinstance(value, Spec):
                yield from value.given(f"{path}.")
            elif value is not None:
                yield path


def wrong(message: str, cure: str) -> PydanticCustomError:
    """The error a field's validator raises: what is wrong and what to write."""
    # Braces would be read as a template.
    return PydanticCustomError("ripstop", "{message}", {"message": message, "cure": cure})


def names_at(model: type[BaseModel], path: Path) -> list[str]:
    """The field names that `path` may have, for "did you mean"."""
    found = _models(model)
    for part in path:
        if isinstance(part, str):
            found = [
                inner
                for each in found
                for name, field in each.model_fields.items()
                if part in (name, field.alias)
                for inner in _models(field.annotation)
            ]
    return sorted({field.alias or name for each in found for name, field in each.model_fields.items()})


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models within a type: `tuple[A, ...]`, `A | None`, `Annotated[A, ...]`."""
    if isinstance(annotation, type) and not get_origin(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is Annotated:
        return _models(get_args(annotation)[0])
    if isinstance(annotation, types.GenericAlias | types.UnionType) or get_origin(annotation):
        return [found for inner in get_args(annotation) for found in _models(inner)]
    return []
