// Owns the reading of a recording: the system calls by which a program changed files, in the order in which they took
// effect. CallRecorder writes it (include/CallRecorder.h has the form).
//
// It must never guess: bytes that are not a recording are an error.

package enum Call: Sendable, Equatable {
  /// Names are below the recorded directory, "" being the directory itself.
  case open(descriptor: Int32, name: String, OpenFlags)
  case close(descriptor: Int32)
  case write(descriptor: Int32, position: Int, bytes: [UInt8])
  case truncate(descriptor: Int32, length: Int)
  /// Blocks as far as here exist, and the file is at least that long.
  case allocate(descriptor: Int32, end: Int)
  case flush(descriptor: Int32)
  case rename(from: String, to: String)
  case link(from: String, to: String)
  case unlink(name: String)
  case makeDirectory(name: String)
  case removeDirectory(name: String)
  case duplicate(descriptor: Int32, to: Int32)
  /// What the file holds is no longer known from calls.
  case map(descriptor: Int32)
  /// No call, but what the program said between two of them.
  case mark([UInt8])
}

package struct OpenFlags: OptionSet, Sendable, Equatable {
  package let rawValue: UInt8

  package init(rawValue: UInt8) { self.rawValue = rawValue }

  package static let creates = OpenFlags(rawValue: 1)
  package static let truncates = OpenFlags(rawValue: 2)
  /// Each write is durable when it returns.
  package static let isSynchronous = OpenFlags(rawValue: 4)
  package static let isDirectory = OpenFlags(rawValue: 8)
}

package struct RecordingError: Error, Sendable, Equatable, CustomStringConvertible {
  package let description: String
}

package enum Recording {
  private static let magic: UInt32 = 0x4C4C_4143
  private static let headerBytes = 24

  package static func parse(_ bytes: [UInt8]) throws(RecordingError) -> [Call] {
    var calls: [Call] = []
    var offset = 0
    while offset < bytes.count {
      let (call, next) = try call(in: bytes, at: offset)
      calls.append(call)
      offset = next
    }
    return calls
  }

  private static func call(in bytes: [UInt8], at offset: Int) throws(RecordingError) -> (Call, next: Int) {
    func integer<T: FixedWidthInteger>(_ place: Int, _: T.Type) -> T {
      (0..<MemoryLayout<T>.size).reduce(0) { $0 | T(truncatingIfNeeded: bytes[offset + place + $1]) << T(8 * $1) }
    }
    guard offset + headerBytes <= bytes.count, integer(0, UInt32.self) == magic else {
      throw RecordingError(description: "no call begins at byte \(offset) of the recording")
    }
    let nameEnd = offset + headerBytes + Int(integer(6, UInt16.self))
    let end = nameEnd + Int(integer(12, UInt32.self))
    guard end <= bytes.count else {
      throw RecordingError(description: "the recording ends inside the call at byte \(offset)")
    }
    let names = bytes[(offset + headerBytes)..<nameEnd].split(separator: 0, omittingEmptySubsequences: false).map {
      String(decoding: $0, as: UTF8.self)
    }
    let raw = RawCall(
      kind: bytes[offset + 4], flags: OpenFlags(rawValue: bytes[offset + 5]), descriptor: integer(8, Int32.self),
      position: Int(truncatingIfNeeded: integer(16, UInt64.self)), names: names, data: bytes[nameEnd..<end])
    guard let call = raw.call else {
      throw RecordingError(description: "the call at byte \(offset) is of the unknown kind \(raw.kind)")
    }
    return (call, end)
  }
}

private struct RawCall {
  let kind: UInt8
  let flags: OpenFlags
  let descriptor: Int32
  let position: Int
  let names: [String]
  let data: ArraySlice<UInt8>

  private var name: String { names.first ?? "" }
  private var other: String { names.last ?? "" }

  var call: Call? {
    switch kind {
    case 1: .open(descriptor: descriptor, name: name, flags)
    case 2: .close(descriptor: descriptor)
    case 3: .write(descriptor: descriptor, position: position, bytes: Array(data))
    case 4: .truncate(descriptor: descriptor, length: position)
    case 5: .flush(descriptor: descriptor)
    case 6: .rename(from: name, to: other)
    case 7: .unlink(name: name)
    case 8: .makeDirectory(name: name)
    case 9: .removeDirectory(name: name)
    case 10: .link(from: name, to: other)
    case 11: .mark(Array(data))
    case 12: .duplicate(descriptor: descriptor, to: Int32(truncatingIfNeeded: position))
    case 13: .allocate(descriptor: descriptor, end: position)
    case 14: .map(descriptor: descriptor)
    default: nil
    }
  }
}
