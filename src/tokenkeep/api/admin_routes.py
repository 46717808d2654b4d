"""The route table's rows for administrators: every path under `/admin`. `api.routes` puts them in the table."""

from __future__ import annotations

from typing import Final

from tokenkeep.api import accounts, audit, operations
from tokenkeep.api.endpoint import Endpoint, Guard
from tokenkeep.api.schemas import (
    AuditPage,
    AuditQuery,
    CreatedUser,
    Done,
    NewUserRequest,
    OverviewResponse,
    RoleRequest,
    User,
    UserList,
    UserQuery,
)

_REFUSALS: Final = ("missing_token", "invalid_token", "unavailable", "forbidden")

ADMIN_ROUTES: Final = (
    Endpoint(
        "GET",
        "/admin",
        Guard.ADMIN,
        operations.admin,
        OverviewResponse,
        "Show administrators the state of the system.",
        refusals=_REFUSALS,
    ),
    Endpoint(
        "GET",
        "/admin/users",
        Guard.ADMIN,
        accounts.list_users,
        UserList,
        "List accounts in the order of their names, a page at a time.",
        query=UserQuery,
        refusals=_REFUSALS,
    ),
    Endpoint(
        "POST",
        "/admin/users",
        Guard.ADMIN,
        accounts.create_user,
        CreatedUser,
        "Create an account; its first password is drawn, and shown once.",
        body=NewUserRequest,
        body_required=True,
        creates=True,
        refusals=(*_REFUSALS, "name_taken", "busy"),
    ),
    Endpoint(
        "GET",
        "/admin/users/{user}",
        Guard.ADMIN,
        accounts.view_user,
        User,
        "Show an account.",
        refusals=(*_REFUSALS, "not_found"),
    ),
    Endpoint(
        "DELETE",
        "/admin/users/{user}",
        Guard.ADMIN,
        accounts.delete_user,
        Done,
        "Delete an account for good; its sessions and access tokens end.",
        refusals=(*_REFUSALS, "not_found", "last_administrator"),
    ),
    Endpoint(
        "POST",
        "/admin/users/{user}/disable",
        Guard.ADMIN,
        accounts.disable_user,
        User,
        "Disable an account; its sessions and access tokens end.",
        refusals=(*_REFUSALS, "not_found", "last_administrator"),
    ),
    Endpoint(
        "POST",
        "/admin/users/{user}/enable",
        Guard.ADMIN,
        accounts.enable_user,
        User,
        "Let a disabled account log in again.",
        refusals=(*_REFUSALS, "not_found"),
    ),
    Endpoint(
        "PUT",
        "/admin/users/{user}/role",
        Guard.ADMIN,
        accounts.set_role,
        User,
        "Give an account another role; its access tokens end, its sessions go on with the new one.",
        body=RoleRequest,
        body_required=True,
        refusals=(*_REFUSALS, "not_found", "last_administrator"),
    ),
    Endpoint(
        "DELETE",
        "/admin/users/{user}/sessions",
        Guard.ADMIN,
        accounts.end_user_sessions,
        Done,
        "End all sessions and access tokens of an account.",
        refusals=(*_REFUSALS, "not_found"),
    ),
    Endpoint(
        "GET",
        "/admin/audit",
        Guard.ADMIN,
        audit.search_audit,
        AuditPage,
        "Show what happened, the newest first, a page at a time.",
        query=AuditQuery,
        refusals=_REFUSALS,
    ),
)
"""What administrators may do, each row guarded by `Guard.ADMIN`."""
