"""API keys of accounts: made, shown once, known again by an HMAC."""
