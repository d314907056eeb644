// Large answers of a watch in pieces.

import CoreNode
import Foundation
import Protocol
import SwiftProtobuf
import Testing

@Suite("A watch's answer in fragments")
struct WatchFragmentsTests {
  private func answer(_ sizes: [Int]) -> Etcdserverpb_WatchResponse {
    var answer = Etcdserverpb_WatchResponse()
    answer.watchID = 7
    answer.header.revision = .max
    answer.header.memberID = .max
    answer.events = sizes.enumerated().map { position, size in
      var event = Mvccpb_Event()
      event.kv.key = Data("key \(position)".utf8)
      event.kv.value = Data(repeating: 1, count: size)
      event.kv.modRevision = .max
      event.kv.createRevision = .max
      event.kv.version = .max
      event.kv.lease = .max
      return event
    }
    return answer
  }

  @Test(
    "no piece is too large, all but the last are marked, and together they are the whole",
    arguments: [
      [10], [10, 20, 30], Array(repeating: 300, count: 50), [999, 1, 999, 1], Array(repeating: 1, count: 500),
    ])
  func pieces(sizes: [Int]) throws {
    let whole = answer(sizes)
    let fragments = whole.fragments(limitBytes: 2000)
    #expect(fragments.flatMap(\.events) == whole.events)
    #expect(fragments.map(\.fragment) == Array(repeating: true, count: fragments.count - 1) + [false])
    for fragment in fragments {
      #expect(fragment.watchID == 7 && fragment.header == whole.header)
      #expect(try fragment.serializedData().count <= 2000)
    }
    #expect(whole.fragments(limitBytes: .max) == [whole])
  }

  @Test("an event that is larger alone goes alone")
  func largeEvent() {
    let fragments = answer([10, 5000, 10]).fragments(limitBytes: 1000)
    #expect(fragments.map(\.events.count) == [1, 1, 1])
  }
}
