// Owns the few figures that are read from the answers to puts and gets.
//
// It must stay cheap, as the requests must: only these figures are looked for, and no message is built.
//
// Invariant: what is read is what SwiftProtobuf would read; tests hold one against the other.

package import NIOCore

/// What the oracle needs of a PutResponse.
package enum PutAnswer {
  /// `header.revision`, or nil when the bytes are no message or hold no such field. Fields 1 (header) and, within it,
  /// 3 (revision), as in etcd's rpc.proto.
  package static func revision(in answer: ByteBuffer) -> Int64? {
    answer.withUnsafeReadableBytes { bytes -> Int64? in
      var outer = FieldReader(bytes)
      while let field = outer.next() {
        guard case .bytes(let header) = field.value, field.number == 1 else { continue }
        var revision: Int64?
        var inner = FieldReader(header)
        while let field = inner.next() {
          if case .varint(let value) = field.value, field.number == 3 { revision = Int64(bitPattern: value) }
        }
        return inner.isWellFormed ? revision : nil
      }
      return nil
    }
  }
}

/// What the oracle needs of a RangeResponse.
package struct RangeAnswer: Equatable {
  /// `header.revision`, or nil where there is none.
  package let revision: Int64?
  /// How many keys were found: field 4 in etcd's rpc.proto.
  package let count: UInt64

  package init(_ answer: ByteBuffer) {
    revision = PutAnswer.revision(in: answer)
    count = answer.withUnsafeReadableBytes { bytes in
      var count: UInt64 = 0
      var fields = FieldReader(bytes)
      while let field = fields.next() {
        if case .varint(let value) = field.value, field.number == 4 { count = value }
      }
      return count
    }
  }
}

/// Goes through the fields of an encoded message without building it.
struct FieldReader {
  enum Value {
    case varint(UInt64)
    case bytes(UnsafeRawBufferPointer)
    case fixed
  }

  private var rest: Slice<UnsafeRawBufferPointer>
  private(set) var isWellFormed = true

  init(_ bytes: UnsafeRawBufferPointer) {
    rest = bytes[...]
  }

  /// Nil at the end, and from the first thing on that is no field.
  mutating func next() -> (number: UInt64, value: Value)? {
    guard !rest.isEmpty else { return nil }
    guard let tag = varint(), let value = value(ofType: tag & 7) else {
      isWellFormed = false
      rest = rest[rest.endIndex...]
      return nil
    }
    return (tag >> 3, value)
  }

  private mutating func value(ofType type: UInt64) -> Value? {
    switch type {
    case 0: varint().map(Value.varint)
    case 1: take(8).map { _ in .fixed }
    case 2: varint().flatMap { take($0) }.map { .bytes(UnsafeRawBufferPointer(rebasing: $0)) }
    case 5: take(4).map { _ in .fixed }
    default: nil
    }
  }

  private mutating func take(_ count: UInt64) -> Slice<UnsafeRawBufferPointer>? {
    guard count <= UInt64(rest.count) else { return nil }
    let taken = rest.prefix(Int(count))
    rest = rest.dropFirst(Int(count))
    return taken
  }

  private mutating func varint() -> UInt64? {
    var result: UInt64 = 0
    for shift in stride(from: UInt64(0), to: 64, by: 7) {
      guard let byte = rest.popFirst() else { return nil }
      result |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return result }
    }
    return nil
  }
}
