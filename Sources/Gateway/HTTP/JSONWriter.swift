// Writes answers as JSON, straight into bytes: it is on the path of every request.
//
// Must never write invalid JSON or round an integer. Floating point is written in the shortest form that reads back
// to the same value.

import FencingCore
import Hummingbird
import Tokens

struct JSONWriter {
  private(set) var bytes: [UInt8] = []
  private var needsComma = false

  init() { bytes.reserveCapacity(256) }

  var body: ResponseBody { ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)) }

  /// Takes what was written so far; what follows goes on from there.
  mutating func take() -> [UInt8] {
    defer { bytes.removeAll(keepingCapacity: true) }
    return bytes
  }

  /// Members that a writer of their own has written, with their commas.
  mutating func members(written: [UInt8]) {
    guard !written.isEmpty else { return }
    separate()
    bytes.append(contentsOf: written)
  }

  // Where an object or array is written in pieces. Each `begin` has its `end`.
  mutating func begin(_ bracket: Unicode.Scalar) {
    separate()
    bytes.append(UInt8(ascii: bracket))
    needsComma = false
  }

  mutating func end(_ bracket: Unicode.Scalar) {
    bytes.append(UInt8(ascii: bracket))
    needsComma = true
  }

  /// Before a member's value.
  mutating func name(_ name: String) {
    separate()
    JSONText.append(name, to: &bytes)
    bytes.append(UInt8(ascii: ":"))
    needsComma = false
  }

  mutating func object(_ members: (inout JSONWriter) -> Void) { nested("{", "}", members) }
  mutating func array(_ elements: (inout JSONWriter) -> Void) { nested("[", "]", elements) }

  private mutating func nested(_ open: Unicode.Scalar, _ close: Unicode.Scalar, _ body: (inout JSONWriter) -> Void) {
    separate()
    bytes.append(UInt8(ascii: open))
    needsComma = false
    body(&self)
    bytes.append(UInt8(ascii: close))
    needsComma = true
  }

  private mutating func separate() {
    if needsComma { bytes.append(UInt8(ascii: ",")) }
    needsComma = true
  }

  mutating func member(_ name: String, _ value: (inout JSONWriter) -> Void) {
    separate()
    JSONText.append(name, to: &bytes)
    bytes.append(UInt8(ascii: ":"))
    needsComma = false
    value(&self)
    needsComma = true
  }

  mutating func member(_ name: String, _ text: String) { member(name) { $0.string(text) } }
  mutating func member(_ name: String, _ number: Int64) { member(name) { $0.integer(number) } }
  mutating func member(_ name: String, _ flag: Bool) { member(name) { $0.bool(flag) } }

  mutating func string(_ text: String) {
    separate()
    JSONText.append(text, to: &bytes)
  }

  mutating func integer(_ number: Int64) {
    separate()
    bytes.append(contentsOf: String(number).utf8)
  }

  mutating func bool(_ flag: Bool) {
    separate()
    bytes.append(contentsOf: (flag ? "true" : "false").utf8)
  }

  mutating func null() {
    separate()
    bytes.append(contentsOf: "null".utf8)
  }

  mutating func real(_ number: Double) {
    // JSON has no infinity. SQLite's own JSON writes a number too large for a double, which reads back as infinity;
    // NaN cannot be stored in SQLite.
    if number.isNaN { return null() }
    separate()
    bytes.append(contentsOf: (number.isInfinite ? (number < 0 ? "-9e999" : "9e999") : number.description).utf8)
  }

  /// A duration in seconds, as rqlite writes it.
  mutating func seconds(nanoseconds: UInt64) { real(Double(nanoseconds) / 1e9) }

  mutating func value(_ value: SQLValue, blobsAsArrays: Bool) {
    switch value {
    case .null: null()
    case .integer(let number): integer(number)
    case .real(let number): real(number)
    case .text(let text): string(text)
    case .blob(let blob):
      if blobsAsArrays {
        array { json in for byte in blob { json.integer(Int64(byte)) } }
      } else {
        string(Base64.encode(blob))
      }
    }
  }

  /// A floor, or claims in the same form.
  mutating func authority(_ floor: Floor, scope: String? = nil) {
    object { json in
      if let scope { json.member("scope", scope) }
      json.member("cluster", ClusterText.format(floor.cluster))
      json.member("incarnation", floor.incarnation.rawValue)
      json.member("number", floor.number.rawValue)
      json.member("holder", floor.holder)
    }
  }
}

/// Base64 with padding (RFC 4648 section 4), rqlite's form of a BLOB.
enum Base64 {
  static func encode(_ bytes: [UInt8]) -> String {
    var text = Base64URL.encode(bytes).utf8.map { character -> UInt8 in
      switch character {
      case UInt8(ascii: "-"): return UInt8(ascii: "+")
      case UInt8(ascii: "_"): return UInt8(ascii: "/")
      default: return character
      }
    }
    while text.count % 4 != 0 { text.append(UInt8(ascii: "=")) }
    return String(decoding: text, as: UTF8.self)
  }
}

/// Indents JSON for people.
enum PrettyJSON {
  static func indent(_ json: [UInt8]) -> [UInt8] {
    var pretty: [UInt8] = []
    var depth = 0
    var isInString = false
    var isEscaped = false
    for (index, byte) in json.enumerated() {
      if isInString {
        pretty.append(byte)
        if isEscaped {
          isEscaped = false
        } else if byte == UInt8(ascii: "\\") {
          isEscaped = true
        } else if byte == UInt8(ascii: "\"") {
          isInString = false
        }
        continue
      }
      switch byte {
      case UInt8(ascii: "\""):
        isInString = true
        pretty.append(byte)
      case UInt8(ascii: "{"), UInt8(ascii: "["):
        pretty.append(byte)
        depth += 1
        let next = index + 1 < json.count ? json[index + 1] : 0
        if next != UInt8(ascii: "}") && next != UInt8(ascii: "]") { breakLine(&pretty, depth) }
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        depth -= 1
        let previous = index > 0 ? json[index - 1] : 0
        if previous != UInt8(ascii: "{") && previous != UInt8(ascii: "[") { breakLine(&pretty, depth) }
        pretty.append(byte)
      case UInt8(ascii: ","):
        pretty.append(byte)
        breakLine(&pretty, depth)
      case UInt8(ascii: ":"):
        pretty.append(byte)
        pretty.append(UInt8(ascii: " "))
      default: pretty.append(byte)
      }
    }
    return pretty
  }

  private static func breakLine(_ bytes: inout [UInt8], _ depth: Int) {
    bytes.append(0x0A)
    for _ in 0..<depth { bytes.append(contentsOf: [0x20, 0x20, 0x20, 0x20]) }
  }
}
