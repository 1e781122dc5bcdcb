"""The catalogue's life: models that are asked for, measured, served and retired."""
