"""A page of a list."""

from collections.abc import Iterable
from typing import Generic, Literal, Self, TypeVar

from pydantic import BaseModel


class Item(BaseModel):
    """What lists hold."""

    id: str


T = TypeVar("T", bound=Item)


class Page(BaseModel, Generic[T]):
    """`after` of the next page is the last item's id."""

    object: Literal["list"] = "list"
    data: list[T]
    has_more: bool = False
    first_id: str | None = None
    last_id: str | None = None

    @classmethod
    def of(cls, items: Iterable[T], has_more: bool) -> Self:
        data = list(items)
        ends = (data[0].id, data[-1].id) if data else (None, None)
        return cls(data=data, has_more=has_more, first_id=ends[0], last_id=ends[1])


class Deleted(BaseModel):
    id: str
    object: str
    deleted: Literal[True] = True
