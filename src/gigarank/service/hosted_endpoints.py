"""Every endpoint that needs the database of accounts, by its name in hosted_routes.py."""

from gigarank.service.accounts import endpoints as accounts
from gigarank.service.batches import endpoints as batches
from gigarank.service.bodies import endpoints as bodies
from gigarank.service.catalogue import endpoints as catalogue
from gigarank.service.credits import endpoints as credits
from gigarank.service.desk import HostedEndpoints
from gigarank.service.keys import endpoints as keys
from gigarank.service.usage import endpoints as usage

ENDPOINTS: HostedEndpoints = {
    "create_file": batches.create_file,
    "list_files": batches.list_files,
    "show_file": batches.show_file,
    "file_content": batches.file_content,
    "delete_file": batches.delete_file,
    "create_batch": batches.create_batch,
    "list_batches": batches.list_batches,
    "show_batch": batches.show_batch,
    "cancel_batch": batches.cancel_batch,
    "list_catalogue": catalogue.list_catalogue,
    "show_catalogue": catalogue.show_catalogue,
    "ask_for_model": catalogue.ask_for_model,
    "take_back_vote": catalogue.take_back_vote,
    "show_body_terms": bodies.show_terms,
    "set_body_terms": bodies.set_terms,
    "list_logs": bodies.list_logs,
    "show_log": bodies.show_log,
    "delete_log": bodies.delete_log,
    "delete_logs": bodies.delete_logs,
    "show_key": keys.show_key,
    "mint_token": keys.mint_token,
    "show_credits": credits.show_credits,
    "show_account": accounts.show_account,
    "sum_usage": usage.sum_usage,
    "list_requests": usage.list_requests,
}
