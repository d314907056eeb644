// The store against a model that is too simple to be wrong: a dictionary copied at every revision.

import CoordinationCore
import Testing

@Suite("The store agrees with a model")
struct KeyStoreModelTests {
  private struct Item: Equatable {
    var value: Bytes
    var create: Revision
    var mod: Revision
    var version: Int64
  }

  @Test("over thousands of random operations, at every revision that was not compacted", arguments: 1...12)
  func random(seed: UInt64) throws {
    var draw = Draw(state: seed)
    var machine = Machine()
    var history: [Revision: [Bytes: Item]] = [1: [:]]
    var current: [Bytes: Item] = [:]
    let keyCount = UInt64([3, 40, 600][Int(seed % 3)])
    for _ in 0..<1500 {
      let key = Self.key(draw.next(upperBound: keyCount))
      switch draw.next(upperBound: 100 as UInt64) {
      case 0..<60:
        let value = Bytes(
          repeating: UInt8(truncatingIfNeeded: draw.next()), count: Int(draw.next(upperBound: 5 as UInt64)))
        machine.apply(.put(PutRequest(key: Key(key), value: value)))
        let revision = machine.state.revision
        let old = current[key]
        current[key] = Item(
          value: value, create: old?.create ?? revision, mod: revision, version: (old?.version ?? 0) + 1)
        history[revision] = current
      case 60..<85:
        let range = Self.range(&draw, keyCount)
        let before = machine.state.revision
        machine.delete(range)
        let doomed = current.keys.filter { range.contains(Key($0)) }
        for key in doomed { current[key] = nil }
        #expect(machine.state.revision == before + (doomed.isEmpty ? 0 : 1))
        history[machine.state.revision] = current
      case 85..<87:
        let low = max(1, machine.state.store.compactedRevision)
        machine.apply(.compact(Revision.random(in: low...machine.state.revision, using: &draw)))
      default:
        let range = Self.range(&draw, keyCount)
        let low = max(1, machine.state.store.compactedRevision)
        let revision = Revision.random(in: low...machine.state.revision, using: &draw)
        try Self.check(machine.state.store, range, revision, against: history)
      }
    }
    try Self.check(machine.state.store, KeyRange(key: [0], rangeEnd: [0]), machine.state.revision, against: history)
  }

  private static func check(
    _ store: KeyStore, _ range: KeyRange, _ revision: Revision, against history: [Revision: [Bytes: Item]]
  ) throws {
    let model = try #require(history[revision])
    let expected = model.filter { range.contains(Key($0.key)) }.sorted { Key($0.key) < Key($1.key) }
    var query = RangeQuery(range: range)
    query.revision = revision
    let found = try store.range(query)
    #expect(found.versions.map(\.key.bytes) == expected.map(\.key))
    #expect(
      found.versions.map {
        Item(value: $0.value, create: $0.createRevision, mod: $0.modRevision, version: $0.version)
      } == expected.map(\.value))
    #expect(found.count == Int64(expected.count))
    query.limit = 2
    let limited = try store.range(query)
    #expect(limited.versions.count == min(2, expected.count))
    #expect(limited.more == (expected.count > 2))
    #expect(limited.count == Int64(expected.count))
  }

  private static func key(_ number: UInt64) -> Bytes { Bytes("key/\(number % 7)/\(number)".utf8) }

  private static func range(_ draw: inout Draw, _ keyCount: UInt64) -> KeyRange {
    let a = key(draw.next(upperBound: keyCount))
    switch draw.next(upperBound: 4 as UInt64) {
    case 0: return KeyRange(key: a, rangeEnd: [])
    case 1: return KeyRange(prefix: Bytes("key/\(draw.next(upperBound: 7 as UInt64))/".utf8))
    case 2: return KeyRange(key: a, rangeEnd: [0])
    default: return KeyRange(key: a, rangeEnd: key(draw.next(upperBound: keyCount)))
    }
  }

  @Test("a copy taken before a change does not see it")
  func copiesAreStill() throws {
    var machine = Machine()
    for number in 0..<2000 { machine.put("k\(number)", "old") }
    let before = machine.state
    for number in 0..<2000 { machine.put("k\(number)", "new") }
    machine.delete(KeyRange(prefix: Bytes("k1".utf8)))
    let all = try before.store.range(RangeQuery(range: KeyRange(key: [0], rangeEnd: [0])))
    #expect(all.versions.count == 2000)
    #expect(all.versions.allSatisfy { $0.value == Bytes("old".utf8) })
  }

  @Test("a compaction keeps what a key was, though one revision had touched it twice")
  func compactionOfTouchedTwice() throws {
    var machine = Machine()
    var twice = TransactionRequest()
    twice.success = ["1", "2"].map { .put(PutRequest(key: Key("a"), value: Bytes($0.utf8))) }
    machine.apply(.transaction(twice))
    machine.put("a", "3")
    machine.put("a", "4")
    machine.apply(.compact(2))
    var query = RangeQuery(range: KeyRange(start: Key("a"), end: .single))
    query.revision = 2
    #expect(try machine.state.store.range(query).versions.map(\.value) == [Bytes("2".utf8)])
  }

  @Test("the log gives every change once, in order, with what it replaced")
  func revisionLog() {
    var machine = Machine()
    machine.put("a", "1")
    machine.put("a", "2")
    machine.delete(KeyRange(key: Bytes("a".utf8), rangeEnd: []))
    var seen: [String] = []
    machine.state.store.forEachRevision(from: 2, through: 4) { revision, events in
      for event in events {
        let previous = event.previous.map { String(decoding: $0.value, as: UTF8.self) } ?? "-"
        seen.append("\(revision):\(event.version.isTombstone ? "delete" : "put") after \(previous)")
      }
      return true
    }
    #expect(seen == ["2:put after -", "3:put after 1", "4:delete after 2"])
  }
}
