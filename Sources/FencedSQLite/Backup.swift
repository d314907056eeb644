// A copy of the whole file while it is in use: one snapshot, taken with SQLite's backup interface
// (sqlite.org/backup.html), then sent as it is read from a file of its own.
//
// Must never write to the database or hold up its writer: the source is a read-only connection in one read transaction.
// The copy has the fence tables, so a file that is restored from it knows its floors; see `FloorCopy` for what becomes of
// one that is older than what has been acknowledged since.

import CSQLite
import Glibc

enum Backup {
  private static let chunkBytes = 64 << 10
  private static let pagesPerStep: Int32 = 256

  /// Makes the copy on this thread. Answers a descriptor of it; the file has no name any more.
  static func copy(_ path: String, limits: EngineLimits) throws(SQLiteError) -> Int32 {
    let temporary = path + "-gateway.backup"
    unlink(temporary)
    let source = try Connection(path: path, isReadOnly: true, limits: limits)
    try source.runEngine("BEGIN")
    try source.runEngine("SELECT count(*) FROM main.sqlite_schema")
    defer { unlink(temporary) }
    try write(source, to: temporary)
    try source.runEngine("ROLLBACK")
    let descriptor = open(temporary, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw SQLiteError(code: SQLITE_CANTOPEN, message: "the copy cannot be read: \(String(cString: strerror(errno)))")
    }
    return descriptor
  }

  private static func write(_ source: Connection, to temporary: String) throws(SQLiteError) {
    var target: OpaquePointer?
    defer { sqlite3_close_v2(target) }
    guard sqlite3_open_v2(temporary, &target, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nil) == SQLITE_OK else {
      throw error(of: target)
    }
    // Nothing depends on this file after a crash.
    sqlite3_exec(target, "PRAGMA synchronous = OFF", nil, nil, nil)
    guard let backup = sqlite3_backup_init(target, "main", source.handle, "main") else { throw error(of: target) }
    var code = SQLITE_OK
    while code == SQLITE_OK { code = sqlite3_backup_step(backup, pagesPerStep) }
    let finished = sqlite3_backup_finish(backup)
    guard code == SQLITE_DONE, finished == SQLITE_OK else { throw error(of: target) }
  }

  private static func error(of database: OpaquePointer?) -> SQLiteError {
    guard let database else { return SQLiteError(code: SQLITE_NOMEM, message: "out of memory") }
    return SQLiteError(code: sqlite3_extended_errcode(database), message: String(cString: sqlite3_errmsg(database)))
  }

  /// Sends the copy and closes its descriptor.
  static func send(_ descriptor: Int32, to stream: ByteStream) {
    defer { close(descriptor) }
    var isFirst = true
    while true {
      var chunk = [UInt8](repeating: 0, count: chunkBytes)
      let count = read(descriptor, &chunk, chunkBytes)
      guard count >= 0 else { return stream.cut() }
      guard count > 0 else { return stream.finish() }
      chunk.removeSubrange(count...)
      if isFirst { leaveWAL(&chunk) }
      isFirst = false
      guard stream.send(chunk) else { return }
    }
  }

  /// The copy is one file with no log beside it, so its header says so (sqlite.org/fileformat2.html, offsets 18 and 19).
  private static func leaveWAL(_ chunk: inout [UInt8]) {
    guard chunk.count > 19, chunk[18] == 2, chunk[19] == 2 else { return }
    (chunk[18], chunk[19]) = (1, 1)
  }
}

extension FencedDatabase {
  /// Makes a copy and begins to send it. Throws only before the first byte.
  package func backup(to stream: ByteStream) async throws(RequestFailure) {
    let (path, limits, backups) = (path, limits, backups)
    try await answer { (give: @escaping @Sendable (Result<Void, RequestFailure>) -> Void) in
      let isStarted = DedicatedThread.start {
        let descriptor: Int32
        do throws(SQLiteError) {
          // One after another: they are made under one name.
          descriptor = try backups.withLock { _ in
            Result { () throws(SQLiteError) in try Backup.copy(path, limits: limits) }
          }.get()
        } catch {
          return give(.failure(.storage("the copy could not be made: \(error.message)")))
        }
        give(.success(()))
        Backup.send(descriptor, to: stream)
      }
      if !isStarted { give(.failure(.storage("the system has no thread left for a backup"))) }
    }.get()
  }
}
