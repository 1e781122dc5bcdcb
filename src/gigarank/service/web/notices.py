"""What is said once something is done, by the name that the way there carries. Data."""

from collections.abc import Mapping

NOTICES: Mapping[str, str] = {
    "letter": "A letter is on its way. Follow its link, in this browser or another, within the time that it says.",
    "no-letter": "This server sends no mail: whoever runs it has your link, from `gigarank admin account link`.",
    "welcome": "Welcome. Your address is confirmed, and you are signed in.",
    "password": "Your password is another one now.",
    "email": "Your account has its new address.",
    "key": "The key has its new terms.",
    "key-deleted": "The key is deleted, and refused from now on.",
    "redeemed": "The code is redeemed, and its credit is yours.",
    "mailed": "A letter is on its way to the new address; its link makes the change.",
    "mailed-no-letter": "This server sends no mail, and so nobody can confirm the new address.",
    "logging": "What is kept of your requests is as you said.",
    "session": "The session has ended.",
    "file": "The file is kept. Start a batch with it.",
    "file-deleted": "The file is deleted.",
    "cancelled": "The batch is being cancelled; what runs at this moment is still answered.",
    "granted": "The credit is granted.",
    "state": "The account has its new state.",
    "model": "The model has its new state.",
    "onboarding": "It runs. What each step finds is kept, and is here as soon as it is there.",
    "stopped": "It is stopped. What was found is kept, and the next start goes on there.",
    "log-deleted": "The request and its answer are deleted.",
}
