// Putting a file under protection: what is looked at, and what is changed, before the first request.
//
// Must never change a file that it then refuses, and never a table of the user's. It runs on the writer's thread.

import CSQLite
import FencingCore

/// A file that is under protection, ready for its writer.
struct OpenedDatabase {
  let connection: Connection
  /// An open database gets its fence tables with its first token.
  let hasFenceTable: Bool
  let floorFile: FloorFile
  let closedScopes: [String: ClosedScope]
}

enum DatabaseOpening {
  /// Opens the writer's connection. The lock on the file is held by the caller.
  static func openWriter(
    _ declaration: DatabaseDeclaration, path: String, limits: EngineLimits
  ) throws(OpenError) -> OpenedDatabase {
    do {
      StagedFile.removeLeftovers(of: path)
      let connection = try Connection(path: path, isReadOnly: false, limits: limits)
      // The first read is what finds out that a file is no database, or is in somebody's hands.
      try connection.runEngine("SELECT count(*) FROM main.sqlite_schema")
      guard sqlite3_db_readonly(connection.handle, "main") == 0 else {
        throw OpenError.notWritable(path: declaration.path)
      }
      let presence = try FenceTable.presence(in: connection)
      if let error = refusal(of: presence, path: declaration.path) { throw error }
      try enterWAL(connection, path: declaration.path)
      try setUp(connection, declaration)
      let isTakenOver = try FileGuard.takeOver(connection)
      connection.protect()
      return try protect(connection, presence, declaration, isNew: isTakenOver, path: path)
    } catch let error as OpenError {
      throw error
    } catch let error as SQLiteError {
      throw describe(error, path: declaration.path)
    } catch {
      throw .storage(path: declaration.path, reason: "\(error)")
    }
  }

  /// Why a file with such tables is left as it is.
  static func refusal(of presence: FenceTable.Presence, path: String) -> OpenError? {
    switch presence {
    case .absent, .present: return nil
    case .foreign: return .foreignFenceTable(path: path)
    case .newer(let format): return .newerFormat(path: path, format: format, known: FenceTable.format)
    }
  }

  /// Makes the fence tables where they are missing, and compares the floors with their copy. One that guarded itself, with
  /// no gateway so far, is as new: it has floors and can have no copy.
  private static func protect(
    _ connection: Connection, _ presence: FenceTable.Presence, _ declaration: DatabaseDeclaration, isNew: Bool,
    path: String
  ) throws(SQLiteError) -> OpenedDatabase {
    var (isComplete, hadIdentity) = (false, false)
    if case .present(let complete, let identity) = presence { (isComplete, hadIdentity) = (complete, identity) }
    let hasFenceTable = presence != .absent || !declaration.isOpen
    if hasFenceTable && !isComplete { try createFenceTables(in: connection) }
    let identity = hasFenceTable ? try FenceTable.identity(in: connection) : nil
    let floors = hasFenceTable ? try FenceTable.floors(in: connection) : [:]
    let file = FloorFile(path: declaration.floorCopyPath ?? path + FloorFile.suffix)
    let closed = FloorCopy.disagreements(
      identity: identity, isNew: !hadIdentity || isNew, floors: floors, kept: file.read(),
      scopes: ScopeMap(declaration).all)
    if closed.isEmpty, let identity { try file.write(FloorCopy(identity: identity, floors: floors)) }
    return OpenedDatabase(
      connection: connection, hasFenceTable: hasFenceTable, floorFile: file, closedScopes: closed)
  }

  /// A file in any of the rollback-journal modes is switched over; the mode is kept in the file.
  private static func enterWAL(_ connection: Connection, path: String) throws {
    var mode = ""
    do throws(SQLiteError) {
      try connection.runEngine("PRAGMA main.journal_mode = WAL") { mode = $0.text(0) }
    } catch {
      throw OpenError.cannotUseWAL(path: path, reason: error.message)
    }
    guard mode == "wal" else { throw OpenError.cannotUseWAL(path: path, reason: "it stays in mode \"\(mode)\"") }
  }

  static func describe(_ error: SQLiteError, path: String) -> OpenError {
    switch error.primaryCode {
    case SQLITE_NOTADB: return .notADatabase(path: path)
    case SQLITE_READONLY, SQLITE_PERM: return .notWritable(path: path)
    default: return .storage(path: path, reason: error.message)
    }
  }

  private static func setUp(_ connection: Connection, _ declaration: DatabaseDeclaration) throws(SQLiteError) {
    // NORMAL would flush the log at checkpoints only: a power cut could undo a floor and let an old token in
    // (sqlite.org/pragma.html#pragma_synchronous).
    try connection.runEngine("PRAGMA main.synchronous = FULL")
    try connection.runEngine("PRAGMA foreign_keys = \(declaration.enforcesForeignKeys ? "ON" : "OFF")")
    // The log shrinks back after a burst, when it starts over.
    try connection.runEngine("PRAGMA main.journal_size_limit = 67108864")
    var synchronous: Int64 = -1
    try connection.runEngine("PRAGMA main.synchronous") { synchronous = $0.integer(0) }
    precondition(synchronous == 2, "a floor that is not flushed with each commit is no floor")
    // Leftovers of an unclean end are brought into the file before the log grows on.
    sqlite3_wal_checkpoint_v2(connection.handle, nil, SQLITE_CHECKPOINT_PASSIVE, nil, nil)
  }

  private static func createFenceTables(in connection: Connection) throws(SQLiteError) {
    try connection.runEngine("BEGIN IMMEDIATE")
    try FenceTable.create(in: connection)
    connection.guardian.isCommitting = true
    defer { connection.guardian.isCommitting = false }
    try connection.runEngine("COMMIT")
  }
}
