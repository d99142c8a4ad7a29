"""The query parameters of lists."""

from typing import Annotated

from fastapi import Query

After = Annotated[str | None, Query(max_length=256, description="The id of the last item of the page before.")]
Limit = Annotated[int, Query(ge=1, le=100)]
