"""The dialects of the API: one small module each, all served by one pipeline."""
