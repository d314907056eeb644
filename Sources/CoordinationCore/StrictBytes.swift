// Owns the reading of bytes that have exactly one spelling: snapshots and remembered outcomes.
// Must never: trap, allocate what is announced before it is there, or accept two spellings of one value. What is read
// and written again gives the same bytes, so bytes that were damaged cannot pass for the state that they were.

/// Why bytes are not a state.
package enum StateError: Error, Equatable, Sendable {
  /// The bytes end before the state does.
  case cutShort
  /// Written by a version of Portcullis that this one does not know.
  case unknownVersion(UInt8)
  /// What is said at this place of the stream cannot be.
  case malformed(String, offset: UInt64)
}

struct StrictReader {
  private let bytes: UnsafeRawBufferPointer
  private(set) var offset: Int
  /// Where `bytes` begin in the stream.
  private let base: UInt64

  init(_ bytes: UnsafeRawBufferPointer, from offset: Int = 0, base: UInt64 = 0) {
    self.bytes = bytes
    self.offset = offset
    self.base = base
  }

  var left: Int { bytes.count - offset }

  func malformed(_ text: String) -> StateError { .malformed(text, offset: base + UInt64(offset)) }

  mutating func byte() throws(StateError) -> UInt8 {
    guard left >= 1 else { throw .cutShort }
    defer { offset += 1 }
    return bytes[offset]
  }

  mutating func flag() throws(StateError) -> Bool {
    let value = try byte()
    guard value <= 1 else { throw malformed("a flag is 0 or 1, not \(value)") }
    return value == 1
  }

  mutating func fixed() throws(StateError) -> UInt64 {
    guard left >= 8 else { throw .cutShort }
    defer { offset += 8 }
    return UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
  }

  mutating func number() throws(StateError) -> UInt64 {
    var value: UInt64 = 0
    for shift in stride(from: UInt64(0), to: 64, by: 7) {
      let next = try byte()
      if shift == 63, next > 1 { break }
      value |= UInt64(next & 0x7F) << shift
      if next & 0x80 == 0 {
        guard next != 0 || shift == 0 else { throw malformed("a number is longer than it needs to be") }
        return value
      }
    }
    throw malformed("a number is longer than 64 bits")
  }

  mutating func number(atMost limit: UInt64, _ what: StaticString) throws(StateError) -> UInt64 {
    let value = try number()
    guard value <= limit else { throw malformed("\(what) \(value) is above \(limit)") }
    return value
  }

  mutating func signed() throws(StateError) -> Int64 {
    let raw = try number()
    return Int64(bitPattern: raw >> 1) ^ -Int64(bitPattern: raw & 1)
  }

  mutating func revision() throws(StateError) -> Revision {
    Revision(try number(atMost: StateLimits.highestRevision, "a revision of"))
  }

  mutating func data() throws(StateError) -> Bytes {
    let length = Int(try number(atMost: StateLimits.longestBytes, "a length of"))
    guard length <= left else { throw .cutShort }
    defer { offset += length }
    return Bytes(bytes[offset..<(offset + length)])
  }

  /// Text that is not UTF-8 is refused: repairing it would give a second spelling.
  mutating func text() throws(StateError) -> String {
    let data = try data()
    guard let text = String(validating: data, as: UTF8.self) else { throw malformed("text that is not UTF-8") }
    return text
  }

  mutating func range() throws(StateError) -> KeyRange {
    let start = Key(try data())
    switch try byte() {
    case 0: return KeyRange(start: start, end: .single)
    case 1: return KeyRange(start: start, end: .unbounded)
    case 2: return KeyRange(start: start, end: .before(Key(try data())))
    case let end: throw malformed("unknown end of range \(end)")
    }
  }

  mutating func alarm() throws(StateError) -> Alarm {
    let number = try byte()
    guard let kind = Alarm.Kind(rawValue: number) else { throw malformed("unknown kind of alarm \(number)") }
    let member = try self.number()
    return kind == .quota ? Alarm(quotaBytes: try self.number(), member: member) : Alarm(kind, member: member)
  }
}
