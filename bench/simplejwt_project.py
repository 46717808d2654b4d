"""The peer: djangorestframework-simplejwt as its documentation sets it up, with rotation and blacklist, as one module.

Run by gunicorn as `simplejwt_project:application`; `SIMPLEJWT_DATABASE` names the SQLite file, or is the address of a
PostgreSQL database. SQLite is as durable as Tokenkeep's: a write-ahead log, synchronised at every commit, transactions
that take the lock at once. Connections are kept.
"""

import os
import sys
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import path


def database(place: str) -> dict[str, Any]:
    """Return Django's settings of a database."""
    if not place.startswith("postgresql://"):
        options = {
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON",
        }
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": place, "CONN_MAX_AGE": None, "OPTIONS": options}
    parts = urlsplit(place)
    socket = dict(parse_qsl(parts.query)).get("host", "")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.removeprefix("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or socket,
        "PORT": str(parts.port or ""),
        "CONN_MAX_AGE": None,
    }


settings.configure(
    SECRET_KEY="a secret that only this benchmark uses, 0123456789",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "rest_framework",
        "rest_framework_simplejwt",
        "rest_framework_simplejwt.token_blacklist",
    ],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],  # sets Content-Length, so that connections are kept
    DATABASES={"default": database(os.environ["SIMPLEJWT_DATABASE"])},
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    },
    SIMPLE_JWT={
        "ACCESS_TOKEN_LIFETIME": timedelta(minutes=15),
        "REFRESH_TOKEN_LIFETIME": timedelta(days=7),
        "ROTATE_REFRESH_TOKENS": True,
        "BLACKLIST_AFTER_ROTATION": True,
        "UPDATE_LAST_LOGIN": False,
    },
)
django.setup()

from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView  # noqa: E402 - needs the settings

urlpatterns = [
    path("login", TokenObtainPairView.as_view()),
    path("refresh", TokenRefreshView.as_view()),
]
application = get_wsgi_application()

if __name__ == "__main__":
    from django.contrib.auth.models import User
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    User.objects.create_user(sys.argv[1], password=sys.argv[2])
