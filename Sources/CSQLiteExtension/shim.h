#pragma once
// The table of functions that SQLite hands to an extension. Nothing is linked: the SQLite that loads the extension is the
// one that it calls, whatever its version.
#include <sqlite3ext.h>

// A macro that Swift cannot read.
static const int portcullis_ok_load_permanently = SQLITE_OK_LOAD_PERMANENTLY;
