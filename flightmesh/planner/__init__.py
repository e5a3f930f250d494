"""Decisions on statements: parse, resolve, guard, route. Nothing here executes, reads files or opens connections."""
