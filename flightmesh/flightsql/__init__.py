"""Flight SQL without I/O: messages, their bytes, the standard result tables, signed handles.

Nothing here opens a socket, reads a clock or knows a catalog; ``pyarrow`` is used for schemas and tables only.
Follows ``FlightSql.proto`` and ``Flight.proto`` of Apache Arrow. Import the modules; this file exports nothing.
"""
