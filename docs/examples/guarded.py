#!/usr/bin/env python3
"""Writes to a database that guards itself, under the token in PORTCULLIS_TOKEN.

usage: portcullis acquire orders -- python3 guarded.py orders.db LIBRARY "INSERT INTO t VALUES (1)"
where LIBRARY is libportcullis_fence.so
"""
import os
import sqlite3
import sys

path, library, statement = sys.argv[1:]
database = sqlite3.connect(path)
database.enable_load_extension(True)
database.load_extension(library)
database.enable_load_extension(False)
print(database.execute("SELECT portcullis_present(?)", (os.environ["PORTCULLIS_TOKEN"],)).fetchone()[0])
try:
    with database:  # one transaction: the token is checked in it, and the floor commits with the data
        database.execute(statement)
except sqlite3.OperationalError as error:
    sys.exit(f"refused: {error}")
print("written")
