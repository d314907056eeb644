// Owns the same for SQLite: a program that writes a token's floor and data in one transaction, as the gateway does, with
// WAL and synchronous=FULL; and what must hold of the database after a power cut. It is not the gateway itself, whose
// engine stands on the same calls: it shows what SQLite promises on the disk that is modelled here.
//
// The -shm file is written through a mapping and is not in any crash state: SQLite makes it anew from the log.

import CSQLite
import CrashStates
import Glibc

/// One connection. All on one thread.
final class Database {
  private let handle: OpaquePointer

  init(path: String, synchronous: String) throws(Failure) {
    var opened: OpaquePointer?
    let code = sqlite3_open_v2(path, &opened, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nil)
    guard code == SQLITE_OK, let opened else {
      sqlite3_close(opened)
      throw Failure("\(path) does not open: \(String(cString: sqlite3_errstr(code)))")
    }
    handle = opened
    try run("PRAGMA journal_mode=WAL; PRAGMA synchronous=\(synchronous); PRAGMA wal_autocheckpoint=24")
  }

  deinit { sqlite3_close(handle) }

  func run(_ sql: String) throws(Failure) {
    guard sqlite3_exec(handle, sql, nil, nil, nil) == SQLITE_OK else { throw problem(sql) }
  }

  /// The first column of each row, as text.
  func texts(_ sql: String) throws(Failure) -> [String] {
    var statement: OpaquePointer?
    guard sqlite3_prepare_v2(handle, sql, -1, &statement, nil) == SQLITE_OK else { throw problem(sql) }
    defer { sqlite3_finalize(statement) }
    var found: [String] = []
    while true {
      switch sqlite3_step(statement) {
      case SQLITE_ROW: found.append(sqlite3_column_text(statement, 0).map { String(cString: $0) } ?? "")
      case SQLITE_DONE: return found
      default: throw problem(sql)
      }
    }
  }

  private func problem(_ sql: String) -> Failure {
    Failure("\(String(cString: sqlite3_errmsg(handle))) at \(sql.prefix(60))")
  }
}

struct SQLitePlan {
  static let name = "fenced.db"

  /// What each transaction writes beside the floor, the first one having number 1.
  let values: [String]

  init(seed: UInt64, transactions: Int) {
    var choosing = Choosing(seed: seed)
    values = (0..<transactions).map { _ in
      let count = choosing.below(5) == 0 ? choosing.below(6000) : choosing.below(120)
      return (0..<count).map { _ in String(choosing.next(), radix: 36).prefix(1) }.joined()
    }
  }

  func run(in directory: String, synchronous: String, marks: Marks) throws {
    let database = try Database(path: directory + "/" + Self.name, synchronous: synchronous)
    try database.run(
      "BEGIN; CREATE TABLE fence (number INTEGER); INSERT INTO fence VALUES (0); "
        + "CREATE TABLE data (number INTEGER PRIMARY KEY, value TEXT); COMMIT")
    marks.set("o")
    for (place, value) in values.enumerated() {
      let number = place + 1
      marks.set("b\(number)")
      try database.run(
        "BEGIN IMMEDIATE; UPDATE fence SET number = \(number); INSERT INTO data VALUES (\(number), '\(value)'); COMMIT")
      marks.set("d\(number)")
    }
  }

  /// Why the database is not what it must be, or nil.
  func problem(in directory: String, _ progress: Progress) -> String? {
    do throws(Failure) {
      let database = try Database(path: directory + "/" + Self.name, synchronous: "FULL")
      guard try database.texts("PRAGMA quick_check") == ["ok"] else { return "its pages contradict each other" }
      guard try !database.texts("SELECT name FROM sqlite_master WHERE name = 'data'").isEmpty else {
        return progress.isMade ? "its tables are gone" : nil
      }
      let floor = try database.texts("SELECT number FROM fence").first.flatMap { Int($0) } ?? -1
      let found = try database.texts("SELECT value FROM data ORDER BY number")
      guard floor == found.count else { return "the floor is \(floor), and \(found.count) writes are there" }
      guard found.elementsEqual(values.prefix(found.count)) else { return "a value is not the one that was written" }
      guard (progress.done...progress.begun).contains(floor) else {
        return "the floor is \(floor), and \(progress.done) were acknowledged, \(progress.begun) handed over"
      }
      return nil
    } catch {
      return "it does not open: \(error)"
    }
  }
}
