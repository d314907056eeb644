// Owns one LMDB transaction and what is done within it. It cannot be copied: a transaction that goes out of scope
// without `commit()` is aborted, whatever happened.
//
// Memory that a transaction hands out is valid until its next update or its end, and is never kept beyond that.

import CLMDB

struct Transaction: ~Copyable {
  static let committing = "committing"

  private let handle: OpaquePointer
  private let tree: MDB_dbi
  private let path: String
  /// Of a page's size, to look at the pages that values lie in. nil in a write transaction, where they may lie
  /// elsewhere.
  private let pageBytes: Int?
  /// LMDB frees a transaction when it commits, whether that succeeds or not.
  private var isOver = false

  /// Begins on the calling thread, and must end there when it writes.
  init(on environment: OpaquePointer, path: String, writing: Bool) throws(StorageError) {
    var begun: OpaquePointer?
    try Environment.check(
      mdb_txn_begin(environment, nil, writing ? 0 : UInt32(MDB_RDONLY), &begun), "beginning a transaction", path)
    guard let handle = begun else { preconditionFailure("LMDB reported success and began no transaction") }
    var tree: MDB_dbi = 0
    let code = mdb_dbi_open(handle, nil, 0, &tree)
    guard code == MDB_SUCCESS else {
      mdb_txn_abort(handle)
      throw .fromLMDB(code, operation: "opening the tree", path: path)
    }
    var statistics = MDB_stat()
    mdb_stat(handle, tree, &statistics)
    self.handle = handle
    self.tree = tree
    self.path = path
    pageBytes = writing ? nil : Int(statistics.ms_psize)
  }

  deinit {
    if !isOver { mdb_txn_abort(handle) }
  }

  /// Returns when everything is on the disk. On an error nothing of the transaction is to be relied on, and nothing
  /// may be written to this environment again.
  consuming func commit() throws(StorageError) {
    isOver = true
    try Environment.check(mdb_txn_commit(handle), Self.committing, path)
  }

  // MARK: The tree as a whole

  func isEmpty() throws(StorageError) -> Bool {
    var statistics = MDB_stat()
    try Environment.check(mdb_stat(handle, tree, &statistics), "reading the tree's state", path)
    return statistics.ms_entries == 0
  }

  func hasIntegerKeys() throws(StorageError) -> Bool {
    var flags: UInt32 = 0
    try Environment.check(mdb_dbi_flags(handle, tree, &flags), "reading the tree's flags", path)
    return flags & UInt32(MDB_INTEGERKEY) != 0
  }

  /// Once, in the transaction that makes the log.
  func setIntegerKeys() throws(StorageError) {
    var same: MDB_dbi = 0
    try Environment.check(mdb_dbi_open(handle, nil, UInt32(MDB_INTEGERKEY), &same), "making the tree", path)
  }

  func depth() throws(StorageError) -> Int {
    var statistics = MDB_stat()
    try Environment.check(mdb_stat(handle, tree, &statistics), "reading the tree's state", path)
    return Int(statistics.ms_depth)
  }

  /// LMDB keeps the pages that it may use again in a tree of its own, number 0: lists that start with their length.
  func freePages() throws(StorageError) -> Int {
    let cursor = try Cursor(in: handle, tree: 0, path: path)
    var pages = 0
    while let list = try cursor.nextValue() {
      pages += list.loadUnaligned(as: Int.self)
    }
    return pages
  }

  // MARK: Records

  func record(at key: UInt64) throws(StorageError) -> UnsafeRawBufferPointer? {
    var key = key
    var value = MDB_val()
    let code = withUnsafeMutableBytes(of: &key) { bytes in
      var keyValue = MDB_val(mv_size: bytes.count, mv_data: bytes.baseAddress)
      return mdb_get(handle, tree, &keyValue, &value)
    }
    if code == MDB_NOTFOUND { return nil }
    try Environment.check(code, "reading a record", path)
    let record = UnsafeRawBufferPointer(start: value.mv_data, count: value.mv_size)
    var pages = pageBytes.map(PageCheck.init)
    try Self.check(record, &pages)
    return record
  }

  private static func check(_ record: UnsafeRawBufferPointer, _ pages: inout PageCheck?) throws(StorageError) {
    if let flaw = pages?.flaw(around: record) { throw .corruptFile(reason: flaw) }
  }

  /// Writes a record of fixed length over what is there, if anything is.
  func put(
    key: UInt64, bytes: Int, _ write: (UnsafeMutableRawBufferPointer) -> Void
  ) throws(StorageError) {
    write(try reserve(key: key, bytes: bytes, .replacing))
  }

  enum Placing {
    /// Behind every other key: LMDB then fills its pages to the brim and searches less.
    case last
    /// A new key anywhere.
    case new
    /// Over what is there, if anything is.
    case replacing

    fileprivate var flags: Int32 {
      switch self {
      case .last: MDB_RESERVE | MDB_APPEND
      case .new: MDB_RESERVE | MDB_NOOVERWRITE
      case .replacing: MDB_RESERVE
      }
    }
  }

  /// Space for a record, to be written in place before the next call.
  func reserve(key: UInt64, bytes count: Int, _ placing: Placing) throws(StorageError) -> UnsafeMutableRawBufferPointer
  {
    var key = key
    var value = MDB_val(mv_size: count, mv_data: nil)
    let code = withUnsafeMutableBytes(of: &key) { bytes in
      var keyValue = MDB_val(mv_size: bytes.count, mv_data: bytes.baseAddress)
      return mdb_put(handle, tree, &keyValue, &value, UInt32(placing.flags))
    }
    // MDB_KEYEXIST would mean that the tree holds entries which this room does not know of. It must not be papered
    // over by an ordinary put.
    try Environment.check(code, "writing a record", path)
    return UnsafeMutableRawBufferPointer(start: value.mv_data, count: value.mv_size)
  }

  /// Removes a record. Returns false when there was none.
  func remove(key: UInt64) throws(StorageError) -> Bool {
    var key = key
    let code = withUnsafeMutableBytes(of: &key) { bytes in
      var keyValue = MDB_val(mv_size: bytes.count, mv_data: bytes.baseAddress)
      return mdb_del(handle, tree, &keyValue, nil)
    }
    if code == MDB_NOTFOUND { return false }
    try Environment.check(code, "removing a record", path)
    return true
  }

  /// Calls `body` with each record from `key` on, in order, until it returns false.
  func forEachRecord(
    from key: UInt64, _ body: (_ key: UInt64, _ record: UnsafeRawBufferPointer) throws(StorageError) -> Bool
  ) throws(StorageError) {
    let cursor = try Cursor(in: handle, tree: tree, path: path)
    var pages = pageBytes.map(PageCheck.init)
    var next = try cursor.seek(key)
    while let (key, record) = next {
      try Self.check(record, &pages)
      guard try body(key, record) else { return }
      next = try cursor.next()
    }
  }
}

extension Transaction {
  /// The last key at or before `key`, or nil when every key is behind it.
  func lastKey(atMost key: UInt64) throws(StorageError) -> UInt64? {
    let cursor = try Cursor(in: handle, tree: tree, path: path)
    guard let found = try cursor.seek(key) else { return try cursor.last()?.key }
    return found.key == key ? key : try cursor.previous()?.key
  }
}

/// A position in a tree. Only for reading: a cursor that lives on in a write transaction is closed with it.
private struct Cursor: ~Copyable {
  private let handle: OpaquePointer
  private let path: String

  init(in transaction: OpaquePointer, tree: MDB_dbi, path: String) throws(StorageError) {
    var opened: OpaquePointer?
    try Environment.check(mdb_cursor_open(transaction, tree, &opened), "opening a cursor", path)
    guard let handle = opened else { preconditionFailure("LMDB reported success and opened no cursor") }
    self.handle = handle
    self.path = path
  }

  deinit {
    mdb_cursor_close(handle)
  }

  /// The first record at or behind `key`.
  func seek(_ key: UInt64) throws(StorageError) -> (key: UInt64, record: UnsafeRawBufferPointer)? {
    var key = key
    var found = MDB_val()
    var value = MDB_val()
    let code = withUnsafeMutableBytes(of: &key) { bytes in
      found = MDB_val(mv_size: bytes.count, mv_data: bytes.baseAddress)
      return mdb_cursor_get(handle, &found, &value, MDB_SET_RANGE)
    }
    return try result(code, found, value)
  }

  func previous() throws(StorageError) -> (key: UInt64, record: UnsafeRawBufferPointer)? {
    var found = MDB_val()
    var value = MDB_val()
    return try result(mdb_cursor_get(handle, &found, &value, MDB_PREV), found, value)
  }

  func last() throws(StorageError) -> (key: UInt64, record: UnsafeRawBufferPointer)? {
    var found = MDB_val()
    var value = MDB_val()
    return try result(mdb_cursor_get(handle, &found, &value, MDB_LAST), found, value)
  }

  func next() throws(StorageError) -> (key: UInt64, record: UnsafeRawBufferPointer)? {
    var found = MDB_val()
    var value = MDB_val()
    return try result(mdb_cursor_get(handle, &found, &value, MDB_NEXT), found, value)
  }

  /// The values alone, from the first on.
  func nextValue() throws(StorageError) -> UnsafeRawBufferPointer? {
    var found = MDB_val()
    var value = MDB_val()
    // On a cursor without a position MDB_NEXT is MDB_FIRST.
    let code = mdb_cursor_get(handle, &found, &value, MDB_NEXT)
    if code == MDB_NOTFOUND { return nil }
    try Environment.check(code, "reading the free pages", path)
    return UnsafeRawBufferPointer(start: value.mv_data, count: value.mv_size)
  }

  private func result(
    _ code: Int32, _ key: MDB_val, _ value: MDB_val
  ) throws(StorageError) -> (key: UInt64, record: UnsafeRawBufferPointer)? {
    if code == MDB_NOTFOUND { return nil }
    try Environment.check(code, "reading a record", path)
    guard key.mv_size == MemoryLayout<UInt64>.size else {
      throw .corruptFile(reason: "a key has \(key.mv_size) bytes where 8 were written")
    }
    return (
      key.mv_data.loadUnaligned(as: UInt64.self), UnsafeRawBufferPointer(start: value.mv_data, count: value.mv_size)
    )
  }
}
