// The SQLite that loaded this library, as far as it is needed: values in and out, and a few statements.
//
// Owns every call of SQLite's. Must never keep a prepared statement beyond one call: with one left over,
// `sqlite3_close` would refuse to close the connection of a program that knows nothing of it.

import CSQLiteExtension
import Synchronization

/// SQLite's API in this process.
///
/// A function is handed nothing but its context, and only the API can say what belongs to it; so it is kept for the
/// process, as every extension of SQLite's keeps it.
enum HostAPI {
  /// The address of the table; zero before the first load.
  private static let address = Atomic<UInt>(0)

  /// Answers `false` where another copy of SQLite in this process has loaded the library before.
  static func adopt(_ api: UnsafePointer<sqlite3_api_routines>) -> Bool {
    let new = UInt(bitPattern: api)
    let (exchanged, original) = address.compareExchange(expected: 0, desired: new, ordering: .acquiringAndReleasing)
    return exchanged || original == new
  }

  static func userData(of context: OpaquePointer) -> UnsafeMutableRawPointer? {
    UnsafePointer<sqlite3_api_routines>(bitPattern: address.load(ordering: .acquiring))?.pointee.user_data?(context)
  }
}

enum HostValue: Equatable {
  case null
  case integer(Int64)
  case text(String)
}

/// One connection. SQLite calls an extension on the thread that uses the connection, so this is confined to it.
final class Host {
  private let api: UnsafePointer<sqlite3_api_routines>
  private let database: OpaquePointer

  init(api: UnsafePointer<sqlite3_api_routines>, database: OpaquePointer) {
    self.api = api
    self.database = database
  }

  /// Has SQLite copy what it is given.
  private static var transient: sqlite3_destructor_type { unsafeBitCast(-1, to: sqlite3_destructor_type.self) }

  func result(_ value: HostValue, of context: OpaquePointer) {
    switch value {
    case .null: api.pointee.result_null?(context)
    case .integer(let number): api.pointee.result_int64?(context, number)
    case .text(let text): api.pointee.result_text?(context, text, Int32(text.utf8.count), Self.transient)
    }
  }

  func fail(_ text: String, in context: OpaquePointer) {
    api.pointee.result_error?(context, text, Int32(text.utf8.count))
  }

  func value(_ value: OpaquePointer?) -> HostValue {
    guard let value else { return .null }
    switch api.pointee.value_type?(value) {
    case SQLITE_INTEGER: return .integer(api.pointee.value_int64?(value) ?? 0)
    case SQLITE_TEXT:
      guard let bytes = api.pointee.value_text?(value) else { return .null }
      let count = Int(api.pointee.value_bytes?(value) ?? 0)
      return .text(String(decoding: UnsafeBufferPointer(start: bytes, count: count), as: UTF8.self))
    default: return .null
    }
  }

  /// Runs one statement and hands each row to `row`.
  func run(
    _ sql: String, _ values: [HostValue] = [], row: ([HostValue]) -> Void = { _ in }
  ) throws(FenceError) {
    var prepared: OpaquePointer?
    guard let prepare = api.pointee.prepare_v2, let step = api.pointee.step, let finalize = api.pointee.finalize,
      prepare(database, sql, Int32(sql.utf8.count), &prepared, nil) == SQLITE_OK, let statement = prepared
    else { throw lastError() }
    defer { _ = finalize(statement) }
    for (index, value) in values.enumerated() { try bind(value, to: statement, at: Int32(index + 1)) }
    while true {
      switch step(statement) {
      case SQLITE_ROW:
        let count = api.pointee.column_count?(statement) ?? 0
        row((0..<count).map { self.value(api.pointee.column_value?(statement, $0)) })
      case SQLITE_DONE: return
      default: throw lastError()
      }
    }
  }

  private func bind(_ value: HostValue, to statement: OpaquePointer, at index: Int32) throws(FenceError) {
    let code =
      switch value {
      case .null: api.pointee.bind_null?(statement, index)
      case .integer(let number): api.pointee.bind_int64?(statement, index, number)
      case .text(let text):
        api.pointee.bind_text?(statement, index, text, Int32(text.utf8.count), Self.transient)
      }
    guard code == SQLITE_OK else { throw lastError() }
  }

  private func lastError() -> FenceError {
    .sqlite(api.pointee.errmsg?(database).map { String(cString: $0) } ?? "unknown error")
  }

  /// What `body` inserts does not show in the program's `last_insert_rowid()`.
  func keepingLastRow(_ body: () throws(FenceError) -> Void) throws(FenceError) {
    let row = api.pointee.last_insert_rowid?(database) ?? 0
    defer { api.pointee.set_last_insert_rowid?(database, row) }
    try body()
  }
}

/// The arguments of one call.
struct Arguments {
  let host: Host
  let values: UnsafeMutablePointer<OpaquePointer?>

  subscript(index: Int) -> HostValue { host.value(values[index]) }

  func text(_ index: Int) -> String? {
    if case .text(let text) = self[index] { return text }
    return nil
  }

  func integer(_ index: Int) -> Int64? {
    if case .integer(let number) = self[index] { return number }
    return nil
  }
}
