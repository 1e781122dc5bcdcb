"""One file a dialect. A file's DIALECT is found by its name, so that nothing else changes when one is added."""
