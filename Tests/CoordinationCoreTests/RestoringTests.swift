// What becomes of a state when a new cluster begins with it.

import CoordinationCore
import Testing

@Suite("A state with which a new cluster begins")
struct RestoringTests {
  @Test("keeps keys, history and grants, gives leases and clients their full time, and has no node of its own")
  func keeps() throws {
    var machine = Machine()
    machine.apply(.leaseGrant(7, ttlMilliseconds: 60_000))
    machine.put("a", "1", lease: 7)
    machine.put("a", "2", lease: 7)
    let granted = try #require(machine.acquire("scope", by: "anna", lease: 9, ttl: 30_000).grant)
    let waiter = machine.acquire("scope", by: "bob", lease: 7, waits: true)
    guard case .queued = waiter.outcome else {
      Issue.record("bob does not wait: \(waiter.outcome)")
      return
    }
    machine.apply(.openClient(ttlMilliseconds: 5000))
    machine.apply(
      .registerNode(NodeRecord(node: 3, keyID: "key", publicKey: [1, 2], clientURL: "http://a:1", birth: 8)))
    let before = machine.state
    var after = before
    try after.beginAnew(clockMilliseconds: 500_000, leavingOutRevisions: 0, compacting: false)
    #expect(after.revision == before.revision)
    #expect(try after.store.digest(through: 0) == before.store.digest(through: 0))
    #expect(after.leases[7]?.deadlineMilliseconds == 560_000 && after.leases[9]?.deadlineMilliseconds == 530_000)
    #expect(after.leases[7]?.attachedKeys == [Key("a")])
    #expect(after.leases.nextDeadlineMilliseconds == 530_000)
    #expect(after.clients.nextDeadlineMilliseconds == 505_000)
    #expect(after.scopes[Key("scope")]?.holder == granted)
    #expect(after.scopes[Key("scope")]?.waiting.map(\.holder) == ["bob"])
    // The key still verifies old tokens; the id, which the new cluster may give again, is nobody's.
    #expect(
      after.nodes.map(\.keyID) == ["key"] && after.nodes.allSatisfy { $0.isRemoved && $0.node == 0 && $0.birth == 0 })
    #expect(after.node(3) == nil)
    // An expiry that the old cluster's leader proposed does not end a lease of the new one.
    let late = ExpiryCandidate(lease: 9, generation: before.leases[9]?.generation ?? 0)
    let outcome = after.apply(.leaseExpire(late), index: 99, clockMilliseconds: 1_000_000).outcome
    guard case .failed = outcome else {
      Issue.record("an old expiry was carried out: \(outcome)")
      return
    }
    #expect(try read(pieces(of: after)).digest == after.digest)
  }

  @Test("leaves revisions out and forgets its history where it is told to")
  func bump() throws {
    var machine = Machine()
    for step in 0..<6 { machine.put("key \(step % 2)", "\(step)") }
    let before = machine.state
    var after = before
    try after.beginAnew(clockMilliseconds: 0, leavingOutRevisions: 1000, compacting: true)
    #expect(after.revision == before.revision + 1000 && after.store.compactedRevision == after.revision)
    #expect(after.store.current(Key("key 1"))?.modRevision == before.store.current(Key("key 1"))?.modRevision)
    var query = RangeQuery(range: KeyRange(key: [0], rangeEnd: [0]))
    query.revision = before.revision
    #expect(throws: RequestError.compacted(asked: before.revision, compacted: after.revision)) {
      try after.store.range(query)
    }
    #expect(try read(pieces(of: after)).digest == after.digest)
    machine.state = try read(pieces(of: after))
    machine.put("key 0", "new")
    #expect(machine.state.store.current(Key("key 0"))?.modRevision == after.revision + 1)
    // Again, at the revision at which it is compacted already.
    try after.beginAnew(clockMilliseconds: 0, leavingOutRevisions: 0, compacting: true)
    #expect(after.store.compactedRevision == after.revision)
    #expect(throws: StateError.self) {
      try after.beginAnew(clockMilliseconds: 0, leavingOutRevisions: .max, compacting: true)
    }
  }
}

@Suite("A history from another store")
struct ImportedHistoryTests {
  /// Every version that a state keeps, as etcd's file has them.
  private func changes(of state: Coordination) -> [ImportedChange] {
    var cursor = HistoryCursor(state.store)
    var all: [ImportedChange] = []
    while let item = cursor.next() {
      var change = ImportedChange(key: item.version.key.bytes, revision: item.version.modRevision)
      change.isDeletion = item.version.isTombstone
      change.value = item.version.value
      change.createRevision = item.version.createRevision
      change.version = item.version.version
      change.lease = item.version.lease
      all.append(change)
    }
    return all
  }

  private func leases(of state: Coordination) -> [LeaseID: Int64] {
    Dictionary(uniqueKeysWithValues: state.leases.ids.map { ($0, state.leases[$0]?.ttlMilliseconds ?? 0) })
  }

  @Test("makes the same keys at every revision behind the compaction", arguments: 1...24 as ClosedRange<UInt64>)
  func same(seed: UInt64) throws {
    let state = randomState(seed: seed, steps: 300).state
    var history = try ImportedHistory(
      compactedRevision: state.store.compactedRevision, leases: leases(of: state))
    for change in changes(of: state) { try history.add(change) }
    let made = try history.finish(clockMilliseconds: 77)
    let first = state.store.compactedRevision == 0 ? 1 : state.store.compactedRevision + 1
    // Revisions of grants are in no file, and the last one may be of a grant.
    let last = min(made.revision, state.revision)
    if first <= last {
      for revision in first...last {
        var query = RangeQuery(range: KeyRange(key: [0], rangeEnd: [0]))
        query.revision = revision
        #expect(texts(try made.store.range(query)) == texts(try state.store.range(query)))
      }
    }
    #expect(texts(try made.store.range(all)) == texts(try state.store.range(all)))
    #expect(made.leases.ids == state.leases.ids)
    for id in state.leases.ids {
      #expect(made.leases[id]?.attachedKeys == state.leases[id]?.attachedKeys)
      #expect(made.leases[id]?.ttlMilliseconds == state.leases[id]?.ttlMilliseconds)
    }
    #expect(try read(pieces(of: made)).digest == made.digest)
  }

  private let all = RangeQuery(range: KeyRange(key: [0], rangeEnd: [0]))

  private func texts(_ result: RangeResult) -> [String] {
    result.versions.map { "\($0.key.bytes) \($0.value) \($0.createRevision) \($0.modRevision) \($0.version)" }
  }

  @Test("compacted at its newest revision, it goes on one revision later with nothing lost")
  func compactedAtTheEnd() throws {
    var machine = Machine()
    for step in 0..<5 { machine.put("key", "\(step)") }
    machine.apply(.compact(machine.state.revision))
    var history = try ImportedHistory(compactedRevision: machine.state.revision, leases: [:])
    // Only what etcd keeps: of each key the newest version.
    for change in changes(of: machine.state).suffix(1) { try history.add(change) }
    let made = try history.finish(clockMilliseconds: 0)
    #expect(made.revision == machine.state.revision + 1)
    #expect(made.store.current(Key("key"))?.version == 5)
    #expect(try read(pieces(of: made)).digest == made.digest)
  }

  @Test("a key that the compacted revision itself deleted, or put, is what it was")
  func changedByTheCompacted() throws {
    var machine = Machine()
    machine.put("deleted", "old")
    machine.put("put", "old")
    machine.put("put", "new")
    machine.delete(KeyRange(start: Key("deleted"), end: .single))
    for compacted in [machine.state.revision - 1, machine.state.revision] {
      machine.apply(.compact(compacted))
      machine.put("behind", "it")
      var history = try ImportedHistory(compactedRevision: compacted, leases: [:])
      for change in changes(of: machine.state) { try history.add(change) }
      let made = try history.finish(clockMilliseconds: 0)
      #expect(texts(try made.store.range(all)) == texts(try machine.state.store.range(all)))
      #expect(made.store.current(Key("deleted")) == nil && made.store.current(Key("put"))?.version == 2)
    }
  }

  @Test("a lease that is gone is not named, and what contradicts itself is refused")
  func refuses() throws {
    var put = ImportedChange(key: [1], revision: 2)
    (put.createRevision, put.version, put.lease) = (2, 1, 99)
    var history = try ImportedHistory(compactedRevision: 0, leases: [:])
    try history.add(put)
    #expect(history.leaselessPuts == 1)
    var gap = put
    (gap.revision, gap.version) = (3, 7)
    #expect(throws: ImportError.self) { try history.add(gap) }
    var backwards = put
    backwards.revision = 1
    #expect(throws: ImportError.self) { try history.add(backwards) }
    #expect(throws: ImportError.self) { _ = try ImportedHistory(compactedRevision: -1, leases: [:]) }
    #expect(throws: ImportError.self) { _ = try ImportedHistory(compactedRevision: .max, leases: [:]) }
  }
}

@Suite("A range that is read in pages")
struct RangeCursorTests {
  @Test("is that of one read, at every revision and with every size of page", arguments: 1...12 as ClosedRange<UInt64>)
  func same(seed: UInt64) throws {
    let state = randomState(seed: seed, steps: 250).state
    var draw = Draw(state: seed)
    for revision in max(1, state.store.compactedRevision)...state.revision {
      var query = RangeQuery(range: KeyRange(key: [UInt8.random(in: 0...90, using: &draw)], rangeEnd: [0]))
      query.revision = Bool.random(using: &draw) ? revision : 0
      if Bool.random(using: &draw) { query.minModRevision = revision / 2 }
      let expected = try state.store.range(query).versions
      var cursor = try RangeCursor(state.store, query)
      var found: [KeyVersion] = []
      let (bytes, visited) = (Int.random(in: 1...500, using: &draw), Int.random(in: 1...9, using: &draw))
      while let page = cursor.next(maxBytes: bytes, maxVisited: visited) {
        #expect(page.count <= visited)
        found += page
      }
      let isSame = found.elementsEqual(expected) { $0 === $1 }
      #expect(isSame)
    }
  }

  @Test("sees one revision, whatever is written and compacted meanwhile")
  func pinned() throws {
    var machine = Machine()
    for step in 0..<50 { machine.put("key \(step + 10)", "old") }
    var cursor = try RangeCursor(machine.state.store, RangeQuery(range: KeyRange(key: [0], rangeEnd: [0])))
    let revision = machine.state.revision
    var found = cursor.next(maxBytes: 300, maxVisited: 100) ?? []
    machine.delete(KeyRange(prefix: Bytes("key".utf8)))
    machine.put("key 99", "new")
    machine.apply(.compact(machine.state.revision))
    while let page = cursor.next(maxBytes: 300, maxVisited: 100) { found += page }
    #expect(found.count == 50 && found.allSatisfy { $0.value == Bytes("old".utf8) } && cursor.revision == revision)
  }

  @Test("is refused where a read at that revision is, and ends at once where there is nothing")
  func edges() throws {
    var machine = Machine()
    for step in 0..<5 { machine.put("key", "\(step)") }
    machine.apply(.compact(4))
    var query = RangeQuery(range: KeyRange(start: Key("key"), end: .single))
    query.revision = 3
    #expect(throws: RequestError.compacted(asked: 3, compacted: 4)) { try RangeCursor(machine.state.store, query) }
    query.revision = 99
    #expect(throws: RequestError.futureRevision(asked: 99, current: machine.state.revision)) {
      try RangeCursor(machine.state.store, query)
    }
    query.revision = 5
    var cursor = try RangeCursor(machine.state.store, query)
    #expect(cursor.next(maxBytes: 1, maxVisited: 1)?.map(\.modRevision) == [5])
    #expect(cursor.next(maxBytes: 1, maxVisited: 1) == nil)
    var empty = try RangeCursor(
      machine.state.store, RangeQuery(range: KeyRange(key: Bytes("z".utf8), rangeEnd: Bytes("a".utf8))))
    #expect(empty.next(maxBytes: 1, maxVisited: 1) == nil)
  }
}
