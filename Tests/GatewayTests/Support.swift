// What the gateway's tests share: a folder of their own, a look at the file past the gateway, and claims.

import CSQLite
import FencingCore
import Foundation
import Gateway
import Logging
import Testing

/// A folder that goes with the test.
final class Folder {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.appendingPathComponent("gateway-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func file(_ name: String) -> String { path + "/" + name }
}

/// The file as any other program sees it: no fence, no rules.
enum Raw {
  struct Failure: Error {
    let message: String
  }

  @discardableResult
  static func run(_ path: String, _ sql: String) throws -> [[String]] {
    var database: OpaquePointer?
    defer { sqlite3_close_v2(database) }
    guard sqlite3_open(path, &database) == SQLITE_OK else { throw Failure(message: "cannot open") }
    sqlite3_busy_timeout(database, 5000)
    return try run(on: database, sql)
  }

  /// The same on a connection that is open.
  @discardableResult
  static func run(on database: OpaquePointer?, _ sql: String) throws -> [[String]] {
    var rows: [[String]] = []
    var message: UnsafeMutablePointer<CChar>?
    let code = withUnsafeMutablePointer(to: &rows) { rows in
      sqlite3_exec(
        database, sql,
        { context, count, values, _ in
          guard let context, let values else { return 1 }
          let row = (0..<Int(count)).map { index in values[index].map { String(cString: $0) } ?? "NULL" }
          context.assumingMemoryBound(to: [[String]].self).pointee.append(row)
          return 0
        }, rows, &message)
    }
    guard code == SQLITE_OK else {
      defer { sqlite3_free(message) }
      throw Failure(message: message.map { String(cString: $0) } ?? "error \(code)")
    }
    return rows
  }

  /// Everything that a refusal must leave alone: schema, data, fence and header fields.
  static func contents(_ path: String) throws -> [[String]] {
    var contents = try run(path, "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name")
    for table in try run(path, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name") {
      contents.append(table)
      let name = table[0].replacing("\"", with: "\"\"")
      contents += try run(path, "SELECT * FROM \"\(name)\" ORDER BY 1")
    }
    return try contents + run(path, "PRAGMA user_version") + run(path, "PRAGMA application_id")
  }
}

func claims(
  _ number: Int64, _ holder: String = "a", incarnation: Int64 = 1, cluster: UInt64 = 7, scope: String = "orders"
) throws -> FenceClaims {
  FenceClaims(
    cluster: cluster, incarnation: try #require(Incarnation(incarnation)), scope: scope,
    number: try #require(GrantNumber(number)), holder: holder)
}

var quietLogger: Logger {
  var logger = Logger(label: "gateway-tests") { _ in SwiftLogNoOpLogHandler() }
  logger.logLevel = .critical
  return logger
}

/// A protected database "orders" with one table.
struct Fixture {
  let folder: Folder
  let path: String
  let database: FencedDatabase

  init(
    isOpen: Bool = false, enforcesForeignKeys: Bool = false, limits: EngineLimits = EngineLimits(),
    adoptedCluster: UInt64? = nil, tableScopes: [TableScope] = [], folder: Folder? = nil,
    schema: String = "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT UNIQUE)"
  ) throws {
    self.folder = try folder ?? Folder()
    path = self.folder.file("orders.db")
    if folder == nil { try Raw.run(path, schema) }
    let declaration = DatabaseDeclaration(
      name: "orders", path: path, tableScopes: tableScopes, isOpen: isOpen, enforcesForeignKeys: enforcesForeignKeys,
      adoptedCluster: adoptedCluster)
    database = try FencedDatabase(declaration, limits: limits, logger: quietLogger)
  }

  @discardableResult
  func write(_ claims: FenceClaims?, _ sql: String..., transaction: Bool = false) async throws -> WriteOutcome {
    try await database.execute(
      WriteRequest(statements: sql.map { SQLStatement($0) }, claims: claims, isAllOrNothing: transaction))
  }

  func refusal(_ claims: FenceClaims?, _ sql: String) async -> RequestFailure? {
    do {
      try await write(claims, sql)
      return nil
    } catch {
      return error as? RequestFailure
    }
  }

  /// One statement under several tokens.
  @discardableResult
  func write(_ claims: [FenceClaims], _ sql: String, key: String? = nil) async throws -> WriteOutcome {
    try await database.execute(
      WriteRequest(statements: [SQLStatement(sql)], claims: claims, idempotencyKey: key))
  }

  func failure(_ claims: [FenceClaims], _ sql: String, key: String? = nil) async -> RequestFailure? {
    do {
      try await write(claims, sql, key: key)
      return nil
    } catch {
      return error as? RequestFailure
    }
  }

  func names() throws -> [String] { try Raw.run(path, "SELECT name FROM item ORDER BY id").map { $0[0] } }
}

extension StatementOutcome {
  var reason: String? {
    if case .failure(let reason) = self { return reason }
    return nil
  }

  var result: StatementResult? {
    if case .success(let result) = self { return result }
    return nil
  }
}

/// A connection past the gateway that stays open.
final class RawConnection {
  private var database: OpaquePointer?

  init(_ path: String) throws {
    guard sqlite3_open(path, &database) == SQLITE_OK else { throw Raw.Failure(message: "cannot open") }
  }

  deinit {
    sqlite3_finalize(open)
    sqlite3_close_v2(database)
  }

  /// Steps once and, for a query, leaves the statement open, so that its read lock stays until the next call.
  func run(_ sql: String) throws {
    sqlite3_finalize(open)
    open = nil
    var statement: OpaquePointer?
    guard sqlite3_prepare_v2(database, sql, -1, &statement, nil) == SQLITE_OK else {
      throw Raw.Failure(message: String(cString: sqlite3_errmsg(database)))
    }
    let code = sqlite3_step(statement)
    guard code == SQLITE_ROW || code == SQLITE_DONE else {
      sqlite3_finalize(statement)
      throw Raw.Failure(message: String(cString: sqlite3_errmsg(database)))
    }
    open = statement
  }

  private var open: OpaquePointer?
}
