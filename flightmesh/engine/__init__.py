"""Engines: they run only what they are handed, and know no catalogue, no policy and no principal."""
