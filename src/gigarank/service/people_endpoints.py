"""Every endpoint of people, by its name in people_routes.py."""

from gigarank.service.accounts import limit_endpoints as limits
from gigarank.service.accounts import oidc_endpoints as oidc
from gigarank.service.accounts import operator_endpoints as operators
from gigarank.service.accounts import self_endpoints as own
from gigarank.service.accounts import sign_endpoints as signing
from gigarank.service.accounts.office import PeopleEndpoints
from gigarank.service.keys import own_endpoints as keys

PEOPLE: PeopleEndpoints = {
    "sign_up": signing.sign_up,
    "verify": signing.verify,
    "sign_in": signing.sign_in,
    "forgot": signing.forgot,
    "reset": signing.reset,
    "confirm_email": signing.confirm_email,
    "show_session": signing.show_session,
    "list_sessions": signing.list_sessions,
    "end_session": signing.end_session,
    "sign_out": signing.sign_out,
    "sign_out_everywhere": signing.sign_out_everywhere,
    "show_me": own.show_me,
    "change_password": own.change_password,
    "change_email": own.change_email,
    "list_providers": oidc.list_providers,
    "leave": oidc.leave,
    "come_back": oidc.come_back,
    "redeem": own.redeem,
    "own_credits": own.own_credits,
    "own_limits": limits.own_limits,
    "own_usage": own.own_usage,
    "own_requests": own.own_requests,
    "export_account": own.export_account,
    "delete_me": own.delete_me,
    "list_keys": keys.list_keys,
    "create_key": keys.create_key,
    "change_key": keys.change_key,
    "delete_key": keys.delete_key,
    "list_accounts": operators.list_accounts,
    "show_queues": operators.show_queues,
    "show_any_account": operators.show_account,
}
