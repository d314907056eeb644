// Owns the LMDB environment: opening, transactions, the size of the map, closing. Every call of liblmdb is in this file
// and in Transaction.swift.
//
// It must never run in another mode than LMDB's default one: without the flush of the meta page the last acknowledged
// transaction may be lost in a power cut, and without any flush the file may be corrupt (lmdb.h, MDB_NOMETASYNC and
// MDB_NOSYNC). Readers are not tied to threads (MDB_NOTLS), so that any thread may read.
//
// Invariants: no transaction is open while the map is resized or the environment is closed, since LMDB unmaps the file
// then. A read/write lock, the gate, sees to that: transactions hold it shared, resizing and closing hold it alone.

import CLMDB
import Glibc
import Synchronization

/// `@unchecked Sendable`: `handle` is immutable and LMDB's own calls on it are safe from any thread, save for resizing
/// and closing, which hold the gate alone; `isClosed` is only read or written under the gate; the lock itself is at a
/// fixed address for the object's whole life.
final class Environment: @unchecked Sendable {
  private let handle: OpaquePointer
  let path: String
  private let gate: UnsafeMutablePointer<pthread_rwlock_t>
  private let maximumMapBytes: Int
  private let reserveBytes: Int
  let diskReserveBytes: Int
  let minimumFreeBytes: Int
  let freeSpace: FreeSpace
  let file: PreparedFile?
  let space = Mutex(SpaceState())
  private var isClosed = false

  enum Access {
    case readingAndWriting
    /// Takes no lock file and makes no file. Only while a lock of our own keeps writers out.
    case reading
  }

  init(
    path: String, access: Access, options: LogStorage.Options, freeSpace: FreeSpace = .ofFileSystem
  ) throws(StorageError) {
    var created: OpaquePointer?
    try Self.check(mdb_env_create(&created), "making the environment", path)
    guard let handle = created else { preconditionFailure("LMDB reported success and made no environment") }
    let file: PreparedFile?
    do throws(StorageError) {
      try Self.check(mdb_env_set_mapsize(handle, options.mapBytes), "setting the size of the map", path)
      let flags = MDB_NOTLS | (access == .reading ? MDB_RDONLY | MDB_NOLOCK : 0)
      try Self.check(mdb_env_open(handle, path, UInt32(flags), 0o600), "opening the environment", path)
      try Self.checkFileLength(handle, path)
      file =
        access == .reading
        ? nil
        : try PreparedFile(
          path: path + "/" + LogDirectory.dataFileName, stepBytes: options.fileStepBytes,
          reserveBytes: options.diskReserveBytes)
    } catch {
      mdb_env_close(handle)
      throw error
    }
    self.handle = handle
    self.path = path
    self.file = file
    maximumMapBytes = options.maximumMapBytes
    reserveBytes = options.reserveBytes
    diskReserveBytes = options.diskReserveBytes
    minimumFreeBytes = options.minimumFreeBytes
    self.freeSpace = freeSpace
    gate = Self.makeGate()
  }

  deinit {
    close()
    pthread_rwlock_destroy(gate)
    gate.deallocate()
  }

  /// Waits for the transactions that are open. What was committed is on the disk already. Closing twice does nothing.
  func close() {
    pthread_rwlock_wrlock(gate)
    defer { pthread_rwlock_unlock(gate) }
    guard !isClosed else { return }
    isClosed = true
    mdb_env_close(handle)
  }

  /// Reads one consistent state. A long reader keeps LMDB from reusing pages, so `body` must be bounded.
  func read<Result>(
    _ body: (borrowing Transaction) throws(StorageError) -> Result
  ) throws(StorageError) -> Result {
    try enter()
    defer { pthread_rwlock_unlock(gate) }
    let transaction = try Transaction(on: handle, path: path, writing: false)
    return try body(transaction)
  }

  /// Begins a write transaction, lets `body` fill it and commits it durably, all on the calling thread: LMDB's next
  /// write transaction hangs for ever when one was committed on another thread than it was begun on.
  func write(
    _ body: (borrowing Transaction) throws(StorageError) -> Void, willCommit: () -> Void = {}
  ) throws(StorageError) {
    try enter()
    defer { pthread_rwlock_unlock(gate) }
    let transaction = try Transaction(on: handle, path: path, writing: true)
    try body(transaction)
    willCommit()
    do throws(StorageError) {
      try transaction.commit()
    } catch {
      // A disk that fills in the middle of a write takes a part of it, and LMDB calls that an I/O error.
      if error == .lmdb(operation: Transaction.committing, code: EIO), LogDirectory.freeBytes(in: path) < 1 << 20 {
        throw .diskFull(operation: Transaction.committing)
      }
      throw error
    }
  }

  /// Grows the map until `bytes` more fit with the reserve untouched, or says that they do not; and has the file ready
  /// for them. On the writer's thread, before its transaction.
  func makeRoom(forBytes bytes: Int, use: RoomUse = .entries) throws(StorageError) {
    let wanted = bytes + (use == .entries ? reserveBytes : 0)
    var info = try information()
    try prepareFile(info, forBytes: bytes, use: use)
    guard info.usedBytes + wanted > info.mapBytes else { return }
    if info.mapBytes < maximumMapBytes {
      let enough = max(info.mapBytes * 2, info.usedBytes + wanted)
      try resize(toBytes: min(enough, maximumMapBytes))
      info = try information()
      guard info.usedBytes + wanted > info.mapBytes else { return }
    }
    // At the limit what counts is what is really occupied. Counting free pages is slower, and done only here.
    let usedBytes = info.usedBytes - (try freePages()) * info.pageBytes
    guard use == .recovering || usedBytes + wanted <= info.mapBytes else {
      throw .mapFull(usedBytes: usedBytes, maximumBytes: info.mapBytes)
    }
  }

  struct Information {
    var mapBytes: Int
    var pageBytes: Int
    /// From the start of the file to the last page ever used, free pages in between included.
    var usedPages: Int

    var usedBytes: Int { usedPages * pageBytes }
  }

  func information() throws(StorageError) -> Information {
    try enter()
    defer { pthread_rwlock_unlock(gate) }
    return try Self.information(of: handle, path)
  }

  /// Pages that were given back and not used again.
  func freePages() throws(StorageError) -> Int {
    try read { (transaction) throws(StorageError) in try transaction.freePages() }
  }

  /// Frees the slots of readers that died with an earlier process.
  func clearStaleReaders() throws(StorageError) {
    try enter()
    defer { pthread_rwlock_unlock(gate) }
    var cleared: Int32 = 0
    try Self.check(mdb_reader_check(handle, &cleared), "clearing stale readers", path)
  }

  /// Throws when the environment was closed.
  func checkOpen() throws(StorageError) {
    try enter()
    pthread_rwlock_unlock(gate)
  }

  private func enter() throws(StorageError) {
    let code = pthread_rwlock_rdlock(gate)
    precondition(code == 0, "the log's gate failed: \(StorageError.text(ofSystemError: code))")
    guard !isClosed else {
      pthread_rwlock_unlock(gate)
      throw .closed
    }
  }

  /// Writes a copy without free pages into an empty directory, durably. Readers and the writer may go on meanwhile.
  func copyCompacted(to target: String) throws(StorageError) {
    try enter()
    defer { pthread_rwlock_unlock(gate) }
    try Self.check(mdb_env_copy2(handle, target, UInt32(MDB_CP_COMPACT)), "copying", path)
    let copy = target + "/" + LogDirectory.dataFileName
    let descriptor = open(copy, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .fromSystem(errno, operation: "opening", path: copy) }
    defer { Glibc.close(descriptor) }
    guard fsync(descriptor) == 0 else { throw .fromSystem(errno, operation: "flushing", path: copy) }
  }

  private func resize(toBytes bytes: Int) throws(StorageError) {
    pthread_rwlock_wrlock(gate)
    defer { pthread_rwlock_unlock(gate) }
    guard !isClosed else { throw .closed }
    try Self.check(mdb_env_set_mapsize(handle, bytes), "growing the map", path)
  }

  /// LMDB reads through the map. A page beyond the end of the file would end the process with SIGBUS, so a file that
  /// was cut short is refused here.
  private static func checkFileLength(_ handle: OpaquePointer, _ path: String) throws(StorageError) {
    let information = try information(of: handle, path)
    let fileBytes = try LogDirectory.dataFileBytes(in: path) ?? 0
    // A fresh file has its two meta pages and says so; nothing was written behind them.
    guard fileBytes >= information.usedBytes else {
      throw .corruptFile(
        reason:
          "\(path)/\(LogDirectory.dataFileName) has \(fileBytes) bytes and its pages need \(information.usedBytes)")
    }
  }

  private static func information(of handle: OpaquePointer, _ path: String) throws(StorageError) -> Information {
    var info = MDB_envinfo()
    var statistics = MDB_stat()
    try check(mdb_env_info(handle, &info), "reading the environment's state", path)
    try check(mdb_env_stat(handle, &statistics), "reading the environment's state", path)
    return Information(
      mapBytes: info.me_mapsize, pageBytes: Int(statistics.ms_psize), usedPages: info.me_last_pgno + 1)
  }

  private static func makeGate() -> UnsafeMutablePointer<pthread_rwlock_t> {
    var attributes = pthread_rwlockattr_t()
    pthread_rwlockattr_init(&attributes)
    defer { pthread_rwlockattr_destroy(&attributes) }
    // The default lets readers that overlap keep a resize or a close out for ever.
    pthread_rwlockattr_setkind_np(&attributes, Int32(PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP))
    let gate = UnsafeMutablePointer<pthread_rwlock_t>.allocate(capacity: 1)
    let code = pthread_rwlock_init(gate, &attributes)
    precondition(code == 0, "no lock could be made: \(StorageError.text(ofSystemError: code))")
    return gate
  }

  static func check(_ code: Int32, _ operation: String, _ path: String) throws(StorageError) {
    guard code == MDB_SUCCESS else { throw .fromLMDB(code, operation: operation, path: path) }
  }
}
