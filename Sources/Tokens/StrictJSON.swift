// A strict JSON reader (RFC 8259) over bytes, shared by tokens, key sets and the gateway's request bodies.
//
// It exists because two readers that disagree about a document are a way around a check: duplicate names, numbers
// that are rounded and invalid UTF-8 are refused here, where most readers pick, round or repair.
// Must never guess. Invariants: nesting is bounded; an integer is exact in 64 bits or the document is refused.

/// A JSON value. Members keep the order of the document; names within an object are distinct.
package enum JSONValue: Sendable, Hashable {
  case null
  case bool(Bool)
  case integer(Int64)
  case real(Double)
  case string(String)
  case array([JSONValue])
  case object([Member])

  package struct Member: Sendable, Hashable {
    package let name: String
    package let value: JSONValue
  }

  /// The member of an object, or `nil` where there is none or this is not an object.
  package subscript(name: String) -> JSONValue? {
    guard case .object(let members) = self else { return nil }
    return members.first { $0.name == name }?.value
  }

  package var string: String? {
    guard case .string(let text) = self else { return nil }
    return text
  }

  package var integer: Int64? {
    guard case .integer(let number) = self else { return nil }
    return number
  }
}

/// What was wrong with a document, and at which byte.
package struct JSONError: Error, Sendable, Hashable, CustomStringConvertible {
  package let reason: String
  package let offset: Int

  package var description: String { "\(reason) at byte \(offset)" }
}

package enum StrictJSON {
  /// Deep enough for every body that is taken anywhere here, shallow enough for any thread's stack.
  package static let maximumDepth = 32

  package static func parse(_ bytes: [UInt8]) throws(JSONError) -> JSONValue {
    var reader = Reader(bytes: bytes)
    return try reader.document()
  }
}

private struct Reader {
  let bytes: [UInt8]
  var offset = 0

  init(bytes: [UInt8]) { self.bytes = bytes }

  mutating func document() throws(JSONError) -> JSONValue {
    let value = try value(depth: 0)
    skipWhitespace()
    guard offset == bytes.count else { throw failure("unexpected bytes after the JSON value") }
    return value
  }

  private func failure(_ reason: String) -> JSONError { JSONError(reason: reason, offset: offset) }

  private var current: UInt8? { offset < bytes.count ? bytes[offset] : nil }

  private mutating func skipWhitespace() {
    while let byte = current, byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D { offset += 1 }
  }

  private mutating func value(depth: Int) throws(JSONError) -> JSONValue {
    guard depth < StrictJSON.maximumDepth else { throw failure("JSON is nested too deeply") }
    skipWhitespace()
    switch current {
    case UInt8(ascii: "{"): return try object(depth: depth)
    case UInt8(ascii: "["): return try array(depth: depth)
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try literal("true", .bool(true))
    case UInt8(ascii: "f"): return try literal("false", .bool(false))
    case UInt8(ascii: "n"): return try literal("null", .null)
    case (UInt8(ascii: "0")...UInt8(ascii: "9"))?: return try number()
    case UInt8(ascii: "-"): return try number()
    case nil: throw failure("JSON ends early")
    default: throw failure("unexpected byte in JSON")
    }
  }

  private mutating func literal(_ text: StaticString, _ value: JSONValue) throws(JSONError) -> JSONValue {
    for index in 0..<text.utf8CodeUnitCount {
      guard current == text.utf8Start[index] else { throw failure("unknown JSON literal") }
      offset += 1
    }
    return value
  }

  private mutating func array(depth: Int) throws(JSONError) -> JSONValue {
    offset += 1
    var elements: [JSONValue] = []
    skipWhitespace()
    if current == UInt8(ascii: "]") {
      offset += 1
      return .array(elements)
    }
    while true {
      elements.append(try value(depth: depth + 1))
      if try endsAfterElement(UInt8(ascii: "]")) { return .array(elements) }
    }
  }

  private mutating func object(depth: Int) throws(JSONError) -> JSONValue {
    offset += 1
    var members: [JSONValue.Member] = []
    var names: Set<String> = []
    skipWhitespace()
    if current == UInt8(ascii: "}") {
      offset += 1
      return .object(members)
    }
    while true {
      skipWhitespace()
      guard current == UInt8(ascii: "\"") else { throw failure("a member's name must be a string") }
      let name = try string()
      guard names.insert(name).inserted else { throw failure("the name \"\(name)\" occurs twice in one object") }
      skipWhitespace()
      guard current == UInt8(ascii: ":") else { throw failure("a colon is missing after a member's name") }
      offset += 1
      members.append(JSONValue.Member(name: name, value: try value(depth: depth + 1)))
      if try endsAfterElement(UInt8(ascii: "}")) { return .object(members) }
    }
  }

  private mutating func endsAfterElement(_ end: UInt8) throws(JSONError) -> Bool {
    skipWhitespace()
    guard let byte = current, byte == end || byte == UInt8(ascii: ",") else {
      throw failure("a comma or an end is missing")
    }
    offset += 1
    return byte == end
  }

  private mutating func digits() throws(JSONError) {
    let start = offset
    while let byte = current, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { offset += 1 }
    guard offset > start else { throw failure("a digit is missing in a number") }
  }

  private mutating func number() throws(JSONError) -> JSONValue {
    let start = offset
    if current == UInt8(ascii: "-") { offset += 1 }
    let firstDigit = offset
    try digits()
    guard bytes[firstDigit] != UInt8(ascii: "0") || offset == firstDigit + 1 else {
      throw failure("a number must not start with a zero")
    }
    var isInteger = true
    if current == UInt8(ascii: ".") {
      isInteger = false
      offset += 1
      try digits()
    }
    if current == UInt8(ascii: "e") || current == UInt8(ascii: "E") {
      isInteger = false
      offset += 1
      if current == UInt8(ascii: "+") || current == UInt8(ascii: "-") { offset += 1 }
      try digits()
    }
    let text = String(decoding: bytes[start..<offset], as: UTF8.self)
    if isInteger {
      guard let integer = Int64(text) else { throw failure("the integer \(text) does not fit in signed 64 bits") }
      return .integer(integer)
    }
    guard let real = Double(text), real.isFinite else { throw failure("the number \(text) does not fit in a double") }
    return .real(real)
  }

  private mutating func string() throws(JSONError) -> String {
    offset += 1
    var text: [UInt8] = []
    while let byte = current {
      switch byte {
      case UInt8(ascii: "\""):
        offset += 1
        guard let string = String(validating: text, as: UTF8.self) else {
          throw failure("a string is not valid UTF-8")
        }
        return string
      case UInt8(ascii: "\\"):
        offset += 1
        try escape(into: &text)
      case 0..<0x20:
        throw failure("a control character in a string must be escaped")
      default:
        text.append(byte)
        offset += 1
      }
    }
    throw failure("a string does not end")
  }

  private mutating func escape(into text: inout [UInt8]) throws(JSONError) {
    guard let byte = current else { throw failure("a string does not end") }
    offset += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
    case UInt8(ascii: "b"): text.append(0x08)
    case UInt8(ascii: "f"): text.append(0x0C)
    case UInt8(ascii: "n"): text.append(0x0A)
    case UInt8(ascii: "r"): text.append(0x0D)
    case UInt8(ascii: "t"): text.append(0x09)
    case UInt8(ascii: "u"): text.append(contentsOf: String(Character(try escapedScalar())).utf8)
    default: throw failure("unknown escape in a string")
    }
  }

  private mutating func escapedScalar() throws(JSONError) -> Unicode.Scalar {
    let first = try codeUnit()
    guard first >= 0xD800, first <= 0xDFFF else {
      guard let scalar = Unicode.Scalar(first) else { throw failure("invalid escape in a string") }
      return scalar
    }
    guard first < 0xDC00, current == UInt8(ascii: "\\") else { throw failure("half a surrogate pair") }
    offset += 1
    guard current == UInt8(ascii: "u") else { throw failure("half a surrogate pair") }
    offset += 1
    let second = try codeUnit()
    guard second >= 0xDC00, second <= 0xDFFF,
      let scalar = Unicode.Scalar(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))
    else { throw failure("half a surrogate pair") }
    return scalar
  }

  private mutating func codeUnit() throws(JSONError) -> UInt32 {
    var unit: UInt32 = 0
    for _ in 0..<4 {
      guard let byte = current, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
        throw failure("an escape needs four hexadecimal digits")
      }
      unit = unit << 4 | UInt32(digit)
      offset += 1
    }
    return unit
  }
}
