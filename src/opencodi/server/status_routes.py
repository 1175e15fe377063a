"""How the server is doing, for whoever watches it."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from .service import Service


def status_routes(service: Service) -> APIRouter:
    """The routes of a service."""
    routes = APIRouter(tags=["server"])

    @routes.get("/health")
    async def health() -> JSONResponse:
        """200 while jobs are taken, 503 while the server is stopping."""
        waiting, running = len(service.jobs.waiting), len(service.jobs.running)
        status = "stopping" if service.jobs.draining else "ok"
        return JSONResponse({"status": status, "waiting": waiting, "running": running}, 200 if status == "ok" else 503)

    @routes.get("/metrics")
    async def metrics() -> Response:
        """Counters and gauges for Prometheus."""
        return Response(service.metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return routes
