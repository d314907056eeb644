// What is to be loaded, as it lies beside the database until it is taken over: an SQLite file or a text of SQL.
//
// Must never touch the database, and never be taken for it: whatever is left of one at the next start is thrown away.

import CSQLite
import Glibc
import Synchronization

package final class StagedFile: Sendable {
  let path: String
  private let descriptor: Int32
  private let isDiscarded = Atomic<Bool>(false)

  private static let suffixes = ["", "-journal", "-wal", "-shm"]

  /// Makes an empty one in the place of whatever was left behind.
  init(besides databasePath: String) throws(RequestFailure) {
    Self.removeLeftovers(of: databasePath)
    path = Self.path(besides: databasePath)
    // What is in it is as private as the database.
    descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw Self.failure("made") }
  }

  deinit { discard() }

  /// Throws it away; whoever loads calls this before the next load may begin, which has the same name. Any number of times.
  func discard() {
    guard !isDiscarded.exchange(true, ordering: .sequentiallyConsistent) else { return }
    close(descriptor)
    for suffix in Self.suffixes { unlink(path + suffix) }
  }

  private static func path(besides databasePath: String) -> String { databasePath + "-gateway.load" }

  static func removeLeftovers(of databasePath: String) {
    for suffix in suffixes { unlink(path(besides: databasePath) + suffix) }
  }

  private static func failure(_ what: String) -> RequestFailure {
    let reason = "the place for what is loaded could not be \(what): \(String(cString: strerror(errno)))"
    return errno == ENOSPC ? .diskFull(reason) : .storage(reason)
  }

  // MARK: Filling it

  /// Writes behind what is there. A thread for each piece: pieces are large, and to start one is cheap against writing it.
  package func append(_ bytes: [UInt8]) async throws(RequestFailure) {
    let result: Result<Void, RequestFailure> = await answer { [self] give in
      let isStarted = DedicatedThread.start { [self] in
        give(
          Result { () throws(RequestFailure) in
            var rest = bytes[...]
            while !rest.isEmpty {
              let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
              guard count > 0 else { throw Self.failure("written") }
              rest = rest.dropFirst(count)
            }
          })
      }
      if !isStarted { give(.failure(.storage("the system has no thread left for a load"))) }
    }
    try result.get()
  }

  /// A piece at a place, or less at the end. Blocks.
  func read(at offset: Int, count: Int) throws(RequestFailure) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    let found = pread(descriptor, &bytes, count, off_t(offset))
    guard found >= 0 else { throw Self.failure("read") }
    bytes.removeSubrange(found...)
    return bytes
  }

  // MARK: An SQLite file

  static let magic = Array("SQLite format 3\0".utf8)

  /// Looks the file through, takes what is the gateway's out of it, and brings it into the form of the database that is to
  /// get its contents. Blocks.
  ///
  /// - Throws: `unloadable` where it is damaged or does not fit.
  func prepare(for databasePath: String, limits: EngineLimits) throws(RequestFailure) {
    // A copy that was made of a database in use says that there is a log beside it; there is none
    // (sqlite.org/fileformat2.html, offsets 18 and 19).
    let header = try read(at: 0, count: 100)
    guard header.count == 100 else { throw .unloadable("The file is shorter than the header of an SQLite file.") }
    if header[18] == 2 || header[19] == 2 {
      guard pwrite(descriptor, [1, 1] as [UInt8], 2, 18) == 2 else { throw Self.failure("written") }
    }
    do throws(SQLiteError) {
      let target = try Connection(path: databasePath, isReadOnly: true, limits: limits)
      let staged = try Connection(path: path, isReadOnly: false, limits: limits)
      // Nothing depends on this file after a crash.
      try staged.runEngine("PRAGMA journal_mode = MEMORY")
      try staged.runEngine("PRAGMA synchronous = OFF")
      try check(staged, target)
      try Self.removeFence(from: staged)
      try Self.fit(staged, to: target)
    } catch {
      switch error.primaryCode {
      case SQLITE_FULL: throw .diskFull("the file could not be prepared: \(error.message)")
      case SQLITE_IOERR, SQLITE_NOMEM: throw .storage("the file could not be prepared: \(error.message)")
      default: throw .unloadable("The file cannot be read as an SQLite database: \(error.message).")
      }
    }
  }

  private func check(_ staged: Connection, _ target: Connection) throws(SQLiteError) {
    var complaint = ""
    try staged.runEngine("PRAGMA quick_check(1)") { complaint = $0.text(0) }
    guard complaint == "ok" else { throw SQLiteError(code: SQLITE_CORRUPT, message: complaint) }
    let (given, wanted) = (try Self.text("PRAGMA encoding", staged), try Self.text("PRAGMA encoding", target))
    guard given == wanted else {
      throw SQLiteError(code: SQLITE_MISMATCH, message: "its texts are in \(given), and the database's in \(wanted)")
    }
    guard try FenceTable.presence(in: staged) != .foreign else {
      throw SQLiteError(
        code: SQLITE_MISMATCH, message: "a table whose name begins with _fence is not the gateway's; rename that table")
    }
  }

  private static func text(_ sql: String, _ connection: Connection) throws(SQLiteError) -> String {
    var text = ""
    try connection.runEngine(sql) { text = $0.text(0) }
    return text
  }

  /// The floors and the answers of another file, or of this one at another time, mean nothing here.
  private static func removeFence(from staged: Connection) throws(SQLiteError) {
    var tables: [String] = []
    try staged.runEngine("SELECT name FROM main.sqlite_schema WHERE type = 'table'") { row in
      if SQLRules.isReserved(row.text(0)) { tables.append(row.text(0)) }
    }
    for table in tables { try staged.runEngine("DROP TABLE main.\(table)") }
  }

  /// A database in WAL mode keeps its size of pages (sqlite.org/c3ref/backup_finish.html).
  private static func fit(_ staged: Connection, to target: Connection) throws(SQLiteError) {
    let (given, wanted) = (try text("PRAGMA page_size", staged), try text("PRAGMA page_size", target))
    guard given != wanted else { return }
    // VACUUM works through an attached file.
    sqlite3_limit(staged.handle, SQLITE_LIMIT_ATTACHED, 1)
    try staged.runEngine("PRAGMA page_size = \(wanted)")
    try staged.runEngine("VACUUM")
    guard try text("PRAGMA page_size", staged) == wanted else {
      throw SQLiteError(code: SQLITE_MISMATCH, message: "its pages cannot be brought to \(wanted) bytes")
    }
  }
}
