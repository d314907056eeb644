// Kept answers as bytes: what a repeated request gets is read from here.
//
// Must never be read beyond its end or believed without its version. Numbers are big-endian; lengths are 32 bits.

import FencingCore

/// Appends values, each with what is needed to tell it from every other sequence of values.
struct ByteWriter {
  private(set) var bytes: [UInt8] = []

  mutating func byte(_ byte: UInt8) { bytes.append(byte) }

  mutating func number(_ number: UInt64) { withUnsafeBytes(of: number.bigEndian) { bytes.append(contentsOf: $0) } }

  mutating func count(_ count: Int) {
    withUnsafeBytes(of: UInt32(count).bigEndian) { bytes.append(contentsOf: $0) }
  }

  mutating func text(_ text: String) {
    count(text.utf8.count)
    bytes.append(contentsOf: text.utf8)
  }

  mutating func value(_ value: SQLValue) {
    switch value {
    case .null: byte(0)
    case .integer(let integer):
      byte(1)
      number(UInt64(bitPattern: integer))
    case .real(let real):
      byte(2)
      number(real.bitPattern)
    case .text(let string):
      byte(3)
      text(string)
    case .blob(let blob):
      byte(4)
      count(blob.count)
      bytes.append(contentsOf: blob)
    }
  }
}

struct DamagedAnswer: Error {}

enum AnswerBytes {
  private static let version: UInt8 = 1

  static func encode(_ outcome: WriteOutcome) -> [UInt8] {
    var writer = ByteWriter()
    writer.byte(version)
    writer.number(outcome.commit)
    writer.count(outcome.floors.count)
    for entry in outcome.floors {
      writer.text(entry.scope)
      writer.number(entry.floor.cluster)
      writer.number(UInt64(entry.floor.incarnation.rawValue))
      writer.number(UInt64(entry.floor.number.rawValue))
      writer.text(entry.floor.holder)
    }
    writer.count(outcome.results.count)
    for result in outcome.results {
      switch result {
      case .failure(let reason):
        writer.byte(0)
        writer.text(reason)
      case .success(let result):
        writer.byte(1)
        encode(result, into: &writer)
      }
    }
    return writer.bytes
  }

  private static func encode(_ result: StatementResult, into writer: inout ByteWriter) {
    writer.count(result.columns.count)
    for (column, type) in zip(result.columns, result.types) {
      writer.text(column)
      writer.text(type)
    }
    writer.count(result.rows.count)
    for row in result.rows { for value in row { writer.value(value) } }
    writer.number(UInt64(bitPattern: result.lastInsertID))
    writer.number(UInt64(bitPattern: result.rowsAffected))
    writer.number(result.nanoseconds)
    writer.byte(result.isQuery ? 1 : 0)
  }

  static func decode(_ bytes: [UInt8]) throws(DamagedAnswer) -> WriteOutcome {
    var reader = ByteReader(bytes: bytes)
    guard try reader.byte() == version else { throw DamagedAnswer() }
    let commit = try reader.number()
    var floors: [ScopeFloor] = []
    for _ in 0..<(try reader.count()) {
      let (scope, cluster) = (try reader.text(), try reader.number())
      guard let incarnation = Incarnation(try reader.number()),
        let number = GrantNumber(Int64(bitPattern: try reader.number()))
      else { throw DamagedAnswer() }
      let floor = Floor(cluster: cluster, incarnation: incarnation, number: number, holder: try reader.text())
      floors.append(ScopeFloor(scope: scope, floor: floor))
    }
    var results: [StatementOutcome] = []
    for _ in 0..<(try reader.count()) {
      results.append(try reader.byte() == 0 ? .failure(reader.text()) : .success(decodeResult(&reader)))
    }
    guard reader.isAtEnd else { throw DamagedAnswer() }
    return WriteOutcome(results: results, floors: floors, commit: commit, isRolledBack: false, isRepeated: true)
  }

  private static func decodeResult(_ reader: inout ByteReader) throws(DamagedAnswer) -> StatementResult {
    var result = StatementResult()
    for _ in 0..<(try reader.count()) {
      result.columns.append(try reader.text())
      result.types.append(try reader.text())
    }
    for _ in 0..<(try reader.count()) {
      var row: [SQLValue] = []
      for _ in result.columns { row.append(try reader.value()) }
      result.rows.append(row)
    }
    result.lastInsertID = Int64(bitPattern: try reader.number())
    result.rowsAffected = Int64(bitPattern: try reader.number())
    result.nanoseconds = try reader.number()
    result.isQuery = try reader.byte() == 1
    return result
  }
}

private struct ByteReader {
  let bytes: [UInt8]
  private var offset = 0

  init(bytes: [UInt8]) { self.bytes = bytes }

  var isAtEnd: Bool { offset == bytes.count }

  private mutating func take(_ count: Int) throws(DamagedAnswer) -> ArraySlice<UInt8> {
    guard count <= bytes.count - offset else { throw DamagedAnswer() }
    defer { offset += count }
    return bytes[offset..<offset + count]
  }

  mutating func byte() throws(DamagedAnswer) -> UInt8 {
    let taken = try take(1)
    return taken[taken.startIndex]
  }

  mutating func number() throws(DamagedAnswer) -> UInt64 { try take(8).reduce(0) { $0 << 8 | UInt64($1) } }
  mutating func count() throws(DamagedAnswer) -> Int { Int(try take(4).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }) }
  mutating func text() throws(DamagedAnswer) -> String { String(decoding: try take(try count()), as: UTF8.self) }

  mutating func value() throws(DamagedAnswer) -> SQLValue {
    switch try byte() {
    case 0: return .null
    case 1: return .integer(Int64(bitPattern: try number()))
    case 2: return .real(Double(bitPattern: try number()))
    case 3: return .text(try text())
    case 4: return .blob(Array(try take(try count())))
    default: throw DamagedAnswer()
    }
  }
}
