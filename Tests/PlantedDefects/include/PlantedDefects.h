// SQLite's names as far as the defects stand in for them. They are declared here, and not taken from its header, since
// whoever is preloaded must bring the symbols and not need the library.
#pragma once

typedef struct sqlite3 sqlite3;
typedef struct sqlite3_stmt sqlite3_stmt;

enum { SQLITE_OK = 0, SQLITE_DONE = 101 };
