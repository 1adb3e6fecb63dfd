"""The pure money core, by example, by property, and against a second model."""
