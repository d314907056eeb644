// The model of the disk, on recordings that are small enough to say what must come out of them.

import CrashStates
import Testing

@Suite("What a power cut leaves of a few calls")
struct DiskModelTests {
  private let file = DiskImage(files: [DiskImage.File(name: "f", bytes: [1, 1, 1, 1])])

  /// All states, each as the bytes of `f`, or nil where there is no such file.
  private func states(
    of calls: [Call], from image: DiskImage? = nil, bounds: CrashStates.Bounds = CrashStates.Bounds(exhaustiveParts: 12)
  ) throws -> [(bytes: [UInt8]?, marks: Int)] {
    var all: [(bytes: [UInt8]?, marks: Int)] = []
    var states = CrashStates(bounds: bounds, seed: 1)
    try states.enumerate(calls, from: image ?? file) {
      all.append(($0.image["f"], $0.marks))
      return true
    }
    return all
  }

  private func open(_ flags: OpenFlags = []) -> Call { .open(descriptor: 3, name: "f", flags) }
  private func write(_ position: Int, _ bytes: [UInt8]) -> Call {
    .write(descriptor: 3, position: position, bytes: bytes)
  }
  private let mark = Call.mark([])

  @Test("a write that was not flushed may be there or not, and a flushed one is")
  func flush() throws {
    let found = try states(of: [open(), write(1, [2, 2]), mark, .flush(descriptor: 3), mark])
    #expect(found.filter { $0.marks == 1 }.map(\.bytes) == [[1, 1, 1, 1], [1, 2, 2, 1]])
    #expect(found.filter { $0.marks == 2 }.map(\.bytes) == [[1, 2, 2, 1]])
  }

  @Test("a write to a synchronous descriptor may be torn while it is made, and is there when it has returned")
  func synchronous() throws {
    let found = try states(of: [open(.isSynchronous), write(0, [2]), mark])
    #expect(found.filter { $0.marks == 0 }.map(\.bytes) == [[1, 1, 1, 1], [2, 1, 1, 1]])
    #expect(found.filter { $0.marks == 1 }.map(\.bytes) == [[2, 1, 1, 1]])
  }

  @Test("a synchronous write makes no other write durable, and no lost write comes up over it")
  func synchronousOverOthers() throws {
    let other = Call.open(descriptor: 4, name: "f", .isSynchronous)
    let found = try states(
      of: [open(), other, write(0, [2, 2]), .write(descriptor: 4, position: 1, bytes: [3]), mark])
    #expect(Set(found.filter { $0.marks == 1 }.map(\.bytes)) == [[1, 3, 1, 1], [2, 3, 1, 1]])
  }

  @Test("each sector of a write is kept or lost by itself")
  func sectors() throws {
    let image = DiskImage(files: [DiskImage.File(name: "f", bytes: [UInt8](repeating: 1, count: 1536))])
    let found = try states(of: [open(), write(256, [UInt8](repeating: 2, count: 1024)), mark], from: image)
    let kept = Set(found.compactMap { state in state.bytes.map { [$0[300], $0[600], $0[1100]] } })
    #expect(kept.count == 8, "three sectors are touched: \(kept)")
  }

  @Test("a longer file may be longer without the data")
  func length() throws {
    let found = try states(of: [open(), write(4, [2]), mark])
    #expect(Set(found.map(\.bytes)) == [[1, 1, 1, 1], [1, 1, 1, 1, 0], [1, 1, 1, 1, 2]])
  }

  @Test("a new name is not durable until its directory is flushed, whatever was flushed of the file")
  func names() throws {
    let made: [Call] = [open(.creates), write(0, [7]), .flush(descriptor: 3), mark]
    let directory: [Call] = [.open(descriptor: 4, name: "", .isDirectory), .flush(descriptor: 4), mark]
    let found = try states(of: made + directory, from: DiskImage())
    #expect(Set(found.filter { $0.marks == 1 }.map(\.bytes)) == [nil, [7]])
    #expect(Set(found.filter { $0.marks == 2 }.map(\.bytes)) == [[7]])
  }

  @Test("a file that takes another's name leaves the old one or the new one, never none")
  func rename() throws {
    let calls: [Call] = [
      .open(descriptor: 3, name: "g", .creates), write(0, [7]), .flush(descriptor: 3), .rename(from: "g", to: "f"),
      mark,
    ]
    #expect(Set(try states(of: calls).filter { $0.marks == 1 }.map(\.bytes)) == [[1, 1, 1, 1], [7]])
  }

  @Test("a removed file may come back until its directory is flushed")
  func unlink() throws {
    #expect(
      Set(try states(of: [.unlink(name: "f"), mark]).filter { $0.marks == 1 }.map(\.bytes)) == [nil, [1, 1, 1, 1]])
  }

  @Test("a sample of what cannot be taken whole still has everything, nothing and torn writes")
  func samples() throws {
    let image = DiskImage(files: [DiskImage.File(name: "f", bytes: [UInt8](repeating: 1, count: 64 * 512))])
    let bounds = CrashStates.Bounds(exhaustiveParts: 4, sampledSubsets: 64)
    let calls = [open(), write(0, [UInt8](repeating: 2, count: 64 * 512)), mark]
    let kept = try states(of: calls, from: image, bounds: bounds).compactMap { state in
      state.bytes.map { bytes in stride(from: 0, to: bytes.count, by: 512).count { bytes[$0] == 2 } }
    }
    #expect(kept.contains(0) && kept.contains(64) && kept.contains { $0 > 8 && $0 < 56 })
    #expect(kept.count > 30)
  }

  @Test("the same seed gives the same states")
  func determinism() throws {
    func digests(_ seed: UInt64) throws -> [UInt64] {
      var digests: [UInt64] = []
      var states = CrashStates(bounds: CrashStates.Bounds(exhaustiveParts: 2, sampledSubsets: 20), seed: seed)
      try states.enumerate([
        open(.creates), write(0, (0..<200).map { UInt8($0) }), write(700, [UInt8](repeating: 3, count: 4000)),
      ]) {
        digests.append($0.image.digest)
        return true
      }
      return digests
    }
    #expect(try digests(5) == digests(5))
  }

  @Test("bytes that are no recording are an error")
  func unreadable() throws {
    #expect(throws: RecordingError.self) { try Recording.parse([1, 2, 3]) }
    #expect(throws: RecordingError.self) { try Recording.parse([UInt8](repeating: 0, count: 64)) }
    #expect(try Recording.parse([]) == [])
  }

  @Test("a call on a descriptor that nobody opened is an error")
  func unknownDescriptor() {
    var disk = Disk()
    #expect(throws: RecordingError.self) { try disk.take(.flush(descriptor: 9)) }
  }
}
