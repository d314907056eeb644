// Tests of what is read of answers without building them, held against the generated messages; and of the requests of gets.

import Foundation
import NIOCore
import Protocol
import SwiftProtobuf
import Testing
import Workloads

@Suite struct AnswersTests {
  @Test("a get from the template is the request that the generated message would be", arguments: [false, true])
  func rangeTemplate(isSerializable: Bool) throws {
    let template = RangeTemplate(keyPrefix: "bench/", keySizeBytes: 10, isSerializable: isSerializable)
    for number in [0, 7, 9_999] as [UInt64] {
      let bytes = Data(template.request(forKey: number).readableBytesView)
      let message = try Etcdserverpb_RangeRequest(serializedBytes: bytes)
      let digits = String(number)
      #expect(message.key == Data("bench/\(String(repeating: "0", count: 4 - digits.count))\(digits)".utf8))
      #expect(message.serializable == isSerializable)
      #expect(try message.serializedData() == bytes, "nothing else is in it")
    }
  }

  @Test("revision and count of a range's answer are those of the generated message", arguments: [0, 1, 300] as [Int64])
  func rangeAnswer(count: Int64) throws {
    var answer = Etcdserverpb_RangeResponse()
    answer.header.revision = 77
    answer.count = count
    answer.kvs = [.with { $0.key = Data("a".utf8) }]
    let read = RangeAnswer(ByteBuffer(bytes: try answer.serializedData()))
    #expect(read.revision == 77)
    #expect(read.count == UInt64(count))
    #expect(RangeAnswer(ByteBuffer(repeating: 0xFF, count: 9)).count == 0)
  }

  @Test(
    "the gateway's time and an error are found in the answer to a write",
    arguments: [
      (#"{"results":[{"last_insert_id":1,"rows_affected":1,"time":0.5}],"time":0.00125}"#, false, 1_250_000),
      (#"{"results":[{"error":"no such table: t"}],"time":1e-05}"#, true, 10_000),
      (#"{"results":[]}"#, false, nil), ("", false, nil), (#"{"time":"soon"}"#, false, nil), (#""time":"#, false, nil),
    ] as [(String, Bool, UInt64?)])
  func writeAnswer(body: String, hasError: Bool, nanoseconds: UInt64?) {
    let read = WriteAnswer(ByteBuffer(string: body))
    #expect(read.hasError == hasError)
    #expect(read.nanoseconds == nanoseconds)
  }
}
