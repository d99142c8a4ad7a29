"""/v1/fine_tuning/plan"""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from api import forecasts
from api.answers import SECONDS
from api.deps import CallerDep, JsonBodyDep, ServicesDep
from api.routes.jobs import BODY_SCHEMA
from api.schemas.report import PlanComputing
from api.submission import job_spec
from core.db.engine import after_commit, transaction
from planning.plan import Plan

router = APIRouter(prefix="/fine_tuning/plan", tags=["fine-tuning"])

AGAIN_SECONDS = 1
COMPUTING: dict[str, Any] = {
    "description": "Not known yet: ask again after `Retry-After` seconds.",
    "model": PlanComputing,
    "headers": {"Retry-After": SECONDS},
}


@router.post("", openapi_extra={"requestBody": BODY_SCHEMA}, response_model=Plan, responses={202: COMPUTING})
def plan(body: JsonBodyDep, services: ServicesDep, caller: CallerDep) -> Plan | Response:
    """What POST /v1/fine_tuning/jobs with this body would do: settings, steps, tokens, memory, time. No job is made."""
    spec = job_spec(body.value)
    with transaction() as session:
        found = forecasts.plan(session, caller.project_id, spec)
        if found is None:
            after_commit(session, services.bell.ring)
    if found is not None:
        return found
    computing = {"object": "fine_tuning.plan", "status": "computing", "message": forecasts.NOT_YET}
    return JSONResponse(computing, status_code=202, headers={"retry-after": str(AGAIN_SECONDS)})
