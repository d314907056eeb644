// Tests of the bytes that the put load makes and reads, held against the generated messages.

import Foundation
import Measurement
import NIOCore
import Protocol
import SwiftProtobuf
import Testing
import Workloads

@Suite struct PutRequestsTests {
  @Test(
    "a request from the template is the request that the generated message would be",
    arguments: [0, 1, 127, 128, 70_000])
  func template(valueSizeBytes: Int) throws {
    let template = PutTemplate(keyPrefix: "bench/", keySizeBytes: 12, valueSizeBytes: valueSizeBytes, seed: 3)
    for number in [0, 7, 42, 999_999] as [UInt64] {
      let bytes = Data(template.request(forKey: number).readableBytesView)
      let message = try Etcdserverpb_PutRequest(serializedBytes: bytes)
      let digits = String(number)
      let key = "bench/" + String(repeating: "0", count: 6 - digits.count) + digits
      #expect(String(decoding: message.key, as: UTF8.self) == key)
      #expect(message.value.count == valueSizeBytes)
      #expect(try message.serializedData() == bytes, "nothing but the key and the value is in it")
    }
  }

  @Test("a list from the template is the request that the generated message would be", arguments: [1, 500, 100_000])
  func list(limit: Int) throws {
    let template = RangeTemplate(keyPrefix: "bench/", keySizeBytes: 9, limit: limit)
    for number in [0, 42, 999] as [UInt64] {
      let bytes = Data(template.request(forKey: number).readableBytesView)
      let message = try Etcdserverpb_RangeRequest(serializedBytes: bytes)
      #expect(message.limit == Int64(limit))
      #expect(message.rangeEnd == Data("bench0".utf8), "the first key behind all that begin with the prefix")
      #expect(String(decoding: message.key, as: UTF8.self).hasPrefix("bench/0") || number == 999)
      #expect(try message.serializedData() == bytes)
    }
  }

  @Test("a key written over leaves no digit of another behind")
  func independentKeys() {
    let template = PutTemplate(keyPrefix: "", keySizeBytes: 5, valueSizeBytes: 8, seed: 3)
    let before = template.request(forKey: 1)
    #expect(template.request(forKey: 99_999) != before)
    #expect(template.request(forKey: 1) == before)
  }

  @Test("the value follows from the seed and does not compress to a pattern")
  func value() throws {
    func value(_ seed: UInt64) throws -> Data {
      let template = PutTemplate(keyPrefix: "k", keySizeBytes: 4, valueSizeBytes: 4_096, seed: seed)
      return try Etcdserverpb_PutRequest(serializedBytes: Data(template.request(forKey: 0).readableBytesView)).value
    }
    #expect(try value(1) == value(1))
    #expect(try value(1) != value(2))
    #expect(Set(try value(1)).count > 240)
  }

  @Test(
    "the revision is read from any answer that the generated message would make",
    arguments: [
      0, 1, 127, 128, 1 << 40, Int64.max,
    ])
  func revision(revision: Int64) throws {
    var answer = Etcdserverpb_PutResponse()
    answer.header.clusterID = .max
    answer.header.memberID = 1
    answer.header.revision = revision
    answer.header.raftTerm = 77
    answer.prevKv.key = Data("key".utf8)
    answer.prevKv.value = Data(repeating: 0x0A, count: 300)
    let read = PutAnswer.revision(in: ByteBuffer(bytes: try answer.serializedData()))
    // A field that is zero is not on the wire, so it cannot be told from one that is missing.
    #expect(read == (revision == 0 ? nil : revision))
  }

  @Test("bytes that are no answer have no revision, wherever they are cut")
  func damaged() throws {
    #expect(PutAnswer.revision(in: ByteBuffer()) == nil)
    #expect(PutAnswer.revision(in: ByteBuffer(repeating: 0xFF, count: 40)) == nil)
    #expect(PutAnswer.revision(in: ByteBuffer(bytes: [0x0A, 0x7F, 0x18, 0x01])) == nil, "a length beyond the end")
    #expect(PutAnswer.revision(in: ByteBuffer(bytes: [0x0B])) == nil, "a wire type that does not exist any more")
    var answer = Etcdserverpb_PutResponse()
    answer.header.clusterID = 12_345_678_901_234
    answer.header.revision = 1 << 30
    let whole = try answer.serializedData()
    for length in 0..<whole.count {
      #expect(PutAnswer.revision(in: ByteBuffer(bytes: whole.prefix(length))) == nil, "cut to \(length) bytes")
    }
  }

  @Test("a header that is preceded by fields of other kinds is still found")
  func unknownFields() {
    // Field 9 as 8 fixed bytes, field 10 as 4, field 11 as bytes, then the header with a revision of 5.
    let bytes: [UInt8] =
      [0x49, 1, 2, 3, 4, 5, 6, 7, 8] + [0x55, 1, 2, 3, 4] + [0x5A, 2, 0x0A, 0x0A] + [0x0A, 2, 0x18, 5]
    #expect(PutAnswer.revision(in: ByteBuffer(bytes: bytes)) == 5)
  }
}

@Suite struct KeySequenceTests {
  private func keys(_ order: KeyOrder, count: UInt64, loop: Int, loops: Int, take: Int) -> [UInt64] {
    var sequence = KeySequence(order: order, count: count, seed: 1, loop: loop, loops: loops)
    return (0..<take).map { _ in sequence.next() }
  }

  @Test("sequential keys go round, and the loops share them out")
  func sequential() {
    #expect(keys(.sequential, count: 3, loop: 0, loops: 1, take: 7) == [0, 1, 2, 0, 1, 2, 0])
    #expect(keys(.sequential, count: 6, loop: 0, loops: 2, take: 4) == [0, 2, 4, 0])
    #expect(keys(.sequential, count: 6, loop: 1, loops: 2, take: 4) == [1, 3, 5, 1])
    #expect(keys(.sequential, count: 1, loop: 1, loops: 2, take: 3) == [0, 0, 0])
    #expect(keys(.sequential, count: .max, loop: 3, loops: 4, take: 2) == [3, 7])
  }

  @Test("random keys are repeatable, differ between loops and stay below the count")
  func random() {
    let first = keys(.random, count: 100, loop: 0, loops: 2, take: 1_000)
    #expect(first == keys(.random, count: 100, loop: 0, loops: 2, take: 1_000))
    #expect(first != keys(.random, count: 100, loop: 1, loops: 2, take: 1_000))
    #expect(Set(first) == Set(0..<100))
  }
}

@Suite struct MountTests {
  private let table = """
    22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
    23 22 0:21 / /proc rw - proc proc rw
    40 22 254:16 / /data\\040disk rw,noatime - xfs /dev/vdb rw
    41 22 0:40 / /data rw - tmpfs tmpfs rw
    """

  @Test(
    "the file system of a path is that of the longest mount point above it",
    arguments: [
      ("/", "ext4"), ("/home/x", "ext4"), ("/data", "tmpfs"), ("/data/y", "tmpfs"), ("/database", "ext4"),
      ("/data disk/z", "xfs"),
    ])
  func longestWins(path: String, type: String) {
    #expect(Mount.holding(path, mountInfo: table)?.type == type)
  }

  @Test("options of the mount and of the file system are both kept, and nonsense is no mount")
  func parsing() {
    #expect(Mount.holding("/", mountInfo: table)?.options == "rw,relatime,rw,discard")
    #expect(Mount.holding("/", mountInfo: table)?.source == "/dev/vda")
    #expect(Mount(line: "no mount at all") == nil)
    #expect(Mount.holding("/", mountInfo: "") == nil)
  }
}
