"""Accounts: who they are and whether they may ask."""
