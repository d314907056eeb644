// The engine is a room of its own, for programs that embed SQLite without HTTP. Whoever serves it declares databases and
// hears of refusals in the engine's words, so what imports the gateway has the engine with it.

@_exported public import FencedSQLite
