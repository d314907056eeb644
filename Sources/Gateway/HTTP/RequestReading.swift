// Reads requests in rqlite's shapes: `["SQL"]`, `[["SQL ?", value]]`, `[["SQL :name", {"name": value}]]`.
//
// Must never round a number or guess at a type. Flags are set by their presence; `=false` and `=0` unset them.

import FencingCore
import Hummingbird
import Tokens

/// The query part of a request's URI.
struct QueryItems {
  private let items: [(name: String, value: String)]

  init(_ query: String?) {
    items = (query ?? "").split(separator: "&").map { item in
      let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      return (Self.decode(parts[0]), parts.count > 1 ? Self.decode(parts[1]) : "")
    }
  }

  func has(_ flag: String) -> Bool {
    items.contains { $0.name == flag && $0.value != "false" && $0.value != "0" }
  }

  func values(_ name: String) -> [String] { items.filter { $0.name == name }.map(\.value) }

  /// Percent escapes, and `+` for a space as forms write it. What is no escape stays as it is.
  private static func decode(_ text: Substring) -> String {
    var bytes: [UInt8] = []
    var rest = text.utf8[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "%"), rest.count >= 2,
        let escaped = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
      {
        bytes.append(escaped)
        rest = rest.dropFirst(2)
      } else {
        bytes.append(byte == UInt8(ascii: "+") ? 0x20 : byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}

/// How an answer is to be written.
struct AnswerForm {
  let hasTimings: Bool
  let isPretty: Bool
  let isAssociative: Bool
  let blobsAsArrays: Bool

  init(_ query: QueryItems) {
    hasTimings = query.has("timings")
    isPretty = query.has("pretty")
    isAssociative = query.has("associative")
    blobsAsArrays = query.has("blob_array")
  }
}

enum StatementReading {
  static func statements(body: [UInt8], limit: Int) throws(Problem) -> [SQLStatement] {
    let value: JSONValue
    do throws(JSONError) {
      value = try StrictJSON.parse(body)
    } catch {
      throw .badRequest("The body is not JSON: \(error).")
    }
    guard case .array(let elements) = value else { throw .badRequest("The body is not a JSON array.") }
    guard !elements.isEmpty else { throw .badRequest("The body holds no statement.") }
    guard elements.count <= limit else {
      throw .badRequest("The body holds \(elements.count) statements, the limit is \(limit).")
    }
    var statements: [SQLStatement] = []
    statements.reserveCapacity(elements.count)
    for (index, element) in elements.enumerated() {
      statements.append(try statement(element, position: index + 1))
    }
    return statements
  }

  private static func statement(_ element: JSONValue, position: Int) throws(Problem) -> SQLStatement {
    if case .string(let sql) = element { return SQLStatement(sql) }
    guard case .array(let parts) = element, case .string(let sql)? = parts.first else {
      throw .badRequest("Statement \(position) is neither a string nor an array that begins with one.")
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

  private static func parameter(_ value: JSONValue, position: Int) throws(Problem) -> SQLValue {
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
        guard let number = element.integer, let byte = UInt8(exactly: number) else {
          throw .badRequest("An array as a parameter of statement \(position) is a BLOB: its elements are 0 to 255.")
        }
        blob.append(byte)
      }
      return .blob(blob)
    case .object:
      throw .badRequest("Named parameters of statement \(position) are one object, directly after the SQL.")
    }
  }
}

enum TokenReading {
  private static let bearer = "bearer "

  /// The token's text, from `Fencing-Token` or `Authorization: Bearer`. Two different ones are refused: whoever
  /// checked one of them on the way may have checked the other.
  static func token(in headers: HTTPFields, scope: String) throws(Problem) -> String? {
    var tokens: Set<String> = []
    for field in headers[values: .fencingToken] { tokens.insert(field) }
    for field in headers[values: .authorization] where field.lowercased().hasPrefix(bearer) {
      tokens.insert(String(field.dropFirst(bearer.count)))
    }
    guard tokens.count <= 1 else {
      throw Problem(
        status: .unauthorized, type: "unverifiable-token", title: "The token cannot be verified",
        detail: "The request carries different tokens.", recovery: "Send one token.", scope: scope)
    }
    return tokens.first
  }
}
