// What an operator does to a file while no gateway serves it: guard it, take the guard off, give it back as a plain file.
//
// Must never do a part of it, and never touch a table of the user's. Each holds the gateway's lock on the file, so it is
// refused while a gateway serves it. Blocks: call it from a thread that may wait.

import CSQLite
import FencingCore
import FoundationEssentials
import Glibc
package import Tokens

package enum FileChangeError: Error, Sendable, Hashable, CustomStringConvertible {
  case open(OpenError)
  case missing(path: String)
  case notGuarded(path: String)
  case notProtected(path: String)
  case noTable(path: String)
  case unknownTable(name: String, path: String)
  case scopeTwice(String)
  case noKeys
  case inUse(path: String)

  package var description: String {
    switch self {
    case .open(let error): return error.description
    case .missing(let path): return "\(path) does not exist."
    case .notGuarded(let path): return "\(path) is not guarded. Nothing was changed."
    case .notProtected(let path):
      return "\(path) was never under a gateway's protection, and is not guarded. Nothing was changed."
    case .noTable(let path):
      return "\(path) has no table that could be guarded. Create its tables first. Nothing was changed."
    case .unknownTable(let name, let path):
      return "\(path) has no table \"\(name)\". Nothing was changed."
    case .scopeTwice(let scope): return "The scope \"\(scope)\" is named twice. Nothing was changed."
    case .noKeys:
      return "The key set holds no Ed25519 key, so no token could ever write to the file. Nothing was changed."
    case .inUse(let path):
      return "\(path) is in use. Close every program that has it open and try again. Nothing was changed."
    }
  }
}

package enum FileChanges {
  /// Makes a file guard itself, or replaces the scopes and keys of one that does.
  @discardableResult
  package static func guardFile(
    _ path: String, scope: String, tableScopes: [TableScope] = [], keys: KeySet
  ) throws(FileChangeError) -> GuardReport {
    guard !keys.keys.isEmpty else { throw .noKeys }
    let declaration = DatabaseDeclaration(name: scope, path: path, scope: scope, tableScopes: tableScopes)
    var scopes: Set<String> = [scope]
    for part in tableScopes where !scopes.insert(part.scope).inserted { throw .scopeTwice(part.scope) }
    return try change(path) { connection, path, presence throws(FileChangeError) in
      try perform(path) { () throws(SQLiteError) in try begin(connection) }
      let wanted = tableScopes.flatMap(\.tables)
      if let unknown = try perform(path, { () throws(SQLiteError) in try missing(wanted, in: connection) }) {
        throw .unknownTable(name: unknown, path: path)
      }
      let report = try perform(path) { () throws(SQLiteError) in
        let wasGuarded = try FileGuard.isGuarded(connection)
        var madeFence = presence == .absent
        if wasGuarded { madeFence = try FileGuard.remove(from: connection) }
        if presence != .present(isComplete: true, hasIdentity: true) { try FenceTable.create(in: connection) }
        let tables = try FileGuard.install(
          scopes: ScopeMap(declaration), keys: keys, madeFence: madeFence, in: connection)
        return GuardReport(path: path, tables: tables, kids: keys.keys.map(\.kid), wasGuarded: wasGuarded)
      }
      guard !report.tables.isEmpty else { throw .noTable(path: path) }
      try perform(path) { () throws(SQLiteError) in try connection.runEngine("COMMIT") }
      return report
    }
  }

  /// Takes the guard off. The schema is then what it was before; answers whether floors were left for a gateway.
  @discardableResult
  package static func unguard(_ path: String) throws(FileChangeError) -> UnguardReport {
    try change(path) { connection, path, _ throws(FileChangeError) in
      let madeFence = try perform(path) { () throws(SQLiteError) -> Bool? in
        try begin(connection)
        guard try FileGuard.isGuarded(connection) else { return nil }
        let madeFence = try FileGuard.remove(from: connection)
        if madeFence { try FenceTable.drop(in: connection) }
        try connection.runEngine("COMMIT")
        return madeFence
      }
      guard let madeFence else { throw .notGuarded(path: path) }
      return UnguardReport(path: path, keepsFloors: !madeFence)
    }
  }

  /// Gives a file back as one that knows nothing of fences: no tables and triggers of ours, and no log beside it.
  @discardableResult
  package static func release(_ path: String) throws(FileChangeError) -> ReleaseReport {
    try change(path) { connection, path, presence throws(FileChangeError) in
      guard presence != .absent else { throw .notProtected(path: path) }
      // What is left of the lock after the journal's change stays with this connection until it is closed, so nobody
      // reads or writes between the two steps.
      let mode = try perform(path) { () throws(SQLiteError) -> (old: String, new: String) in
        var mode = (old: "", new: "")
        try connection.runEngine("PRAGMA main.locking_mode = EXCLUSIVE")
        try connection.runEngine("PRAGMA main.journal_mode") { mode.old = $0.text(0) }
        try connection.runEngine("PRAGMA main.journal_mode = DELETE") { mode.new = $0.text(0) }
        return mode
      }
      guard mode.new == "delete" else { throw .inUse(path: path) }
      let report = try perform(path) { () throws(SQLiteError) in
        try connection.runEngine("BEGIN EXCLUSIVE")
        let wasGuarded = try FileGuard.isGuarded(connection)
        if wasGuarded { _ = try FileGuard.remove(from: connection) }
        let floors = try FenceTable.floors(in: connection)
        try FenceTable.drop(in: connection)
        try connection.runEngine("COMMIT")
        return ReleaseReport(
          path: path, wasGuarded: wasGuarded, journalMode: mode.old,
          floors: floors.sorted { $0.key < $1.key }.map { ScopeFloor(scope: $0.key, floor: $0.value) },
          removedCopy: false)
      }
      return report.with(removedCopy: unlink(path + FloorFile.suffix) == 0)
    }
  }

  // MARK: The way in

  private static func change<Report>(
    _ path: String,
    _ body: (Connection, _ path: String, FenceTable.Presence) throws(FileChangeError) -> Report
  ) throws(FileChangeError) -> Report {
    let resolved: String
    let lock: FileLock
    do throws(OpenError) {
      resolved = try DatabasePath.resolve(path)
    } catch {
      throw .open(error)
    }
    guard access(resolved, F_OK) == 0 else { throw .missing(path: path) }
    do throws(OpenError) {
      lock = try FileLock(databasePath: resolved)
    } catch {
      throw .open(error)
    }
    defer { lock.release() }
    let connection = try perform(resolved) { () throws(SQLiteError) in
      let connection = try Connection(path: resolved, isReadOnly: false, limits: EngineLimits())
      connection.allowShadowTriggers()
      try connection.runEngine("PRAGMA main.synchronous = FULL")
      return connection
    }
    let presence = try perform(resolved) { () throws(SQLiteError) in try FenceTable.presence(in: connection) }
    if let error = DatabaseOpening.refusal(of: presence, path: resolved) { throw .open(error) }
    return try body(connection, resolved, presence)
  }

  private static func perform<Value>(
    _ path: String, _ body: () throws(SQLiteError) -> Value
  ) throws(FileChangeError) -> Value {
    do throws(SQLiteError) {
      return try body()
    } catch {
      if [SQLITE_BUSY, SQLITE_LOCKED].contains(error.primaryCode) { throw .inUse(path: path) }
      throw .open(DatabaseOpening.describe(error, path: path))
    }
  }

  private static func begin(_ connection: Connection) throws(SQLiteError) {
    try connection.runEngine("BEGIN IMMEDIATE")
  }

  private static func missing(_ tables: [String], in connection: Connection) throws(SQLiteError) -> String? {
    for table in tables {
      var isFound = false
      try connection.runEngine(
        "SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND lower(name) = lower(?1)", [.text(table)]
      ) { _ in isFound = true }
      if !isFound { return table }
    }
    return nil
  }
}

/// What `unguard` has done.
package struct UnguardReport: Sendable, Hashable {
  package let path: String
  /// The floors are a gateway's too, so they stay.
  package let keepsFloors: Bool
}

/// What `release-database` has done.
package struct ReleaseReport: Sendable, Hashable {
  package let path: String
  package let wasGuarded: Bool
  /// The journal mode that the file was in; it is in mode DELETE now.
  package let journalMode: String
  /// The floors that went, by which stale writers were known.
  package let floors: [ScopeFloor]
  /// Whether there was a copy of the floors beside the file, which is gone too.
  package let removedCopy: Bool

  fileprivate func with(removedCopy: Bool) -> Self {
    Self(path: path, wasGuarded: wasGuarded, journalMode: journalMode, floors: floors, removedCopy: removedCopy)
  }
}
