"""The Quart app: all endpoints, wrapped in the meter.

Owns which endpoints there are. Runs on whatever event loop serves it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from quart import Quart

from daemon.api import auth, chat, completions, cors, health, models, openapi, responses, tokens
from daemon.api.http import register_errors
from daemon.api.meter import RequestMeter

if TYPE_CHECKING:
    from daemon.api.context import ApiContext


BODY_TIMEOUT_S = 60.0
"""For the whole body of a request: one that comes byte by byte is given up."""


def make_app(context: ApiContext) -> RequestMeter:
    """The ASGI app of one API process."""
    app = Quart(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = context.settings.api.max_body_bytes
    app.config["BODY_TIMEOUT"] = BODY_TIMEOUT_S
    app.config["RESPONSE_TIMEOUT"] = None
    # `//` is no other way to write `/`: an API answers, it does not redirect.
    app.url_map.merge_slashes = False
    register_errors(app)
    cors.register(app, context.settings.api.cors_origin)
    auth.register(app, context.key_digests)
    for part in (models, chat, completions, responses, tokens, health, openapi):
        part.register(app, context)
    return RequestMeter(cast("Any", app), context.metrics)
