"""Mail: an outbox in the database, and who delivers what is in it."""
