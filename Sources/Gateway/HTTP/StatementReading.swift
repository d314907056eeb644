// Reads statements in rqlite's shapes: `["SQL"]`, `[["SQL ?", value]]`, `[["SQL :name", {"name": value}]]`.
//
// Must never round a number or guess at a type, and knows nothing of HTTP.

import Tokens

package struct UnreadableStatements: Error, Sendable {
  package let detail: String

  init(_ detail: String) { self.detail = detail }
}

package enum StatementReading {
  package static func statements(body: [UInt8], limit: Int) throws(UnreadableStatements) -> [SQLStatement] {
    let value: JSONValue
    do throws(JSONError) {
      value = try StrictJSON.parse(body)
    } catch {
      throw UnreadableStatements("The body is not JSON: \(error).")
    }
    guard case .array(let elements) = value else { throw UnreadableStatements("The body is not a JSON array.") }
    guard !elements.isEmpty else { throw UnreadableStatements("The body holds no statement.") }
    guard elements.count <= limit else {
      throw UnreadableStatements("The body holds \(elements.count) statements, the limit is \(limit).")
    }
    var statements: [SQLStatement] = []
    statements.reserveCapacity(elements.count)
    for (index, element) in elements.enumerated() {
      statements.append(try statement(element, position: index + 1))
    }
    return statements
  }

  private static func statement(_ element: JSONValue, position: Int) throws(UnreadableStatements) -> SQLStatement {
    if case .string(let sql) = element { return SQLStatement(sql) }
    guard case .array(let parts) = element, case .string(let sql)? = parts.first else {
      throw UnreadableStatements("Statement \(position) is neither a string nor an array that begins with one.")
    }
    if parts.count == 2, case .object(let members) = parts[1] {
      var named: [String: SQLValue] = [:]
      for member in members { named[member.name] = try parameter(member.value, position: position) }
      return SQLStatement(sql, .named(named))
    }
    var positional: [SQLValue] = []
    for part in parts.dropFirst() { positional.append(try parameter(part, position: position)) }
    return SQLStatement(sql, .positional(positional))
  }

  private static func parameter(_ value: JSONValue, position: Int) throws(UnreadableStatements) -> SQLValue {
    switch value {
    case .null: return .null
    // SQLite has no booleans: TRUE and FALSE are 1 and 0.
    case .bool(let flag): return .integer(flag ? 1 : 0)
    case .integer(let number): return .integer(number)
    case .real(let number): return .real(number)
    case .string(let text): return .text(text)
    case .array(let elements):
      var blob: [UInt8] = []
      for element in elements {
        guard let byte = byte(element) else {
          throw UnreadableStatements(
            "An array as a parameter of statement \(position) is a BLOB: its elements are 0 to 255.")
        }
        blob.append(byte)
      }
      return .blob(blob)
    case .object:
      throw UnreadableStatements("Named parameters of statement \(position) are one object, directly after the SQL.")
    }
  }

  /// JSON has one kind of number: 7.0 is 7.
  private static func byte(_ value: JSONValue) -> UInt8? {
    switch value {
    case .integer(let number): UInt8(exactly: number)
    case .real(let number): UInt8(exactly: number)
    default: nil
    }
  }
}
