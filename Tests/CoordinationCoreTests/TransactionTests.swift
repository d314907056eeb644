// Transactions by etcd's rules.

import CoordinationCore
import Testing

@Suite("Transactions")
struct TransactionTests {
  private func put(_ key: String, _ value: String = "x") -> TransactionRequest.Operation {
    .put(PutRequest(key: Key(key), value: Bytes(value.utf8)))
  }

  private func delete(_ key: String, to end: String = "") -> TransactionRequest.Operation {
    .delete(DeleteRequest(range: KeyRange(key: Bytes(key.utf8), rangeEnd: Bytes(end.utf8)), wantsPrevious: false))
  }

  @Test("the largest limit that can be asked for is no limit, and stops no node")
  func largestLimit() throws {
    var machine = Machine()
    machine.put("a", "1")
    machine.put("b", "2")
    var query = RangeQuery(range: KeyRange(start: Key("a"), end: .unbounded))
    query.limit = .max
    let result = try machine.state.store.range(query)
    #expect(result.versions.count == 2 && !result.more)
  }

  @Test("all operations of the branch that was chosen take one revision")
  func oneRevision() {
    var machine = Machine()
    machine.put("a", "1")
    var request = TransactionRequest()
    request.compares = [
      Compare(range: KeyRange(start: Key("a"), end: .single), target: .value(Bytes("1".utf8)), relation: .equal)
    ]
    request.success = [put("b"), put("c"), delete("a")]
    request.failure = [put("wrong")]
    guard case .transaction(let result) = machine.apply(.transaction(request)).outcome else {
      Issue.record("a transaction must end as one")
      return
    }
    #expect(result.succeeded)
    #expect(machine.state.revision == 3)
    #expect(machine.get("a") == nil && machine.get("b") == "x" && machine.get("wrong") == nil)
  }

  @Test(
    "a key that does not exist has version 0 and no value",
    arguments: [
      (Compare.Target.version(0), Compare.Relation.equal, true),
      (.createRevision(0), .equal, true), (.modRevision(5), .less, true), (.lease(0), .equal, true),
      (.value([]), .equal, false), (.value([1]), .notEqual, false),
    ])
  func absentKey(target: Compare.Target, relation: Compare.Relation, holds: Bool) {
    var machine = Machine()
    var request = TransactionRequest()
    request.compares = [Compare(range: KeyRange(start: Key("no"), end: .single), target: target, relation: relation)]
    request.success = [put("yes")]
    machine.apply(.transaction(request))
    #expect((machine.get("yes") != nil) == holds)
  }

  @Test("a put in a transaction answers with what it replaced only where that was asked for", arguments: [true, false])
  func previous(isWanted: Bool) {
    var machine = Machine()
    machine.put("a", "1")
    var put = PutRequest(key: Key("a"), value: Bytes("2".utf8))
    put.wantsPrevious = isWanted
    var request = TransactionRequest()
    request.success = [.put(put)]
    guard case .transaction(let result) = machine.apply(.transaction(request)).outcome,
      case .put(let previous)? = result.results.first?.result
    else {
      Issue.record("a transaction with one put must end as one")
      return
    }
    #expect((previous != nil) == isWanted)
  }

  @Test("a transaction that fails tells what each comparison met that did not hold, as it was before anything changed")
  func failed() {
    var machine = Machine()
    machine.put("a", "1")
    machine.put("r1", "x")
    machine.put("r2", "y")
    func compare(_ key: String, to end: String = "", _ target: Compare.Target) -> Compare {
      Compare(range: KeyRange(key: Bytes(key.utf8), rangeEnd: Bytes(end.utf8)), target: target, relation: .equal)
    }
    var inner = TransactionRequest()
    inner.compares = [compare("a", .version(9))]
    var request = TransactionRequest()
    request.compares = [
      compare("a", .value(Bytes("1".utf8))), compare("a", .version(7)), compare("none", .modRevision(3)),
      compare("r", to: "s", .value(Bytes("x".utf8))), compare("t", to: "u", .version(1)),
    ]
    request.failure = [put("a", "2"), .transaction(inner)]
    guard case .transaction(let result) = machine.apply(.transaction(request)).outcome,
      case .transaction(let nested)? = result.results.last?.result
    else {
      Issue.record("a transaction must end as one")
      return
    }
    #expect(!result.succeeded && result.failed.map(\.index) == [1, 2, 3, 4])
    #expect(result.failed.map { $0.version?.key } == [Key("a"), nil, Key("r2"), nil])
    #expect(result.failed.first?.version?.value == Bytes("1".utf8) && machine.get("a") == "2")
    #expect(nested.failed.map(\.index) == [0] && nested.failed.first?.version?.version == 1)
    request.compares = [compare("a", .version(2))]
    guard case .transaction(let succeeded) = machine.apply(.transaction(request)).outcome else { return }
    #expect(succeeded.succeeded && succeeded.failed.isEmpty)
  }

  @Test("of a put that lacks both, a lone one is told of its lease, and one in a transaction of its key")
  func lacksBoth() {
    var machine = Machine()
    var put = PutRequest(key: Key("a"), value: [])
    put.ignoresValue = true
    put.lease = 9
    var request = TransactionRequest()
    request.success = [.put(put)]
    #expect(machine.apply(.put(put)).error == .leaseNotFound(9))
    #expect(machine.apply(.transaction(request)).error == .keyNotFound)
  }

  @Test("what its puts lack is told before what its ranges do, and a negative revision is long gone")
  func checks() {
    var machine = Machine()
    var range = RangeQuery(range: KeyRange(start: Key("a"), end: .single))
    range.revision = 99
    var put = PutRequest(key: Key("a"), value: [])
    put.lease = 9
    func error(_ operations: TransactionRequest.Operation...) -> RequestError? {
      var request = TransactionRequest()
      request.success = operations
      return machine.apply(.transaction(request)).error
    }
    #expect(error(.range(range), .put(put)) == .leaseNotFound(9))
    put.lease = 0
    #expect(error(.range(range), .put(put)) == .futureRevision(asked: 99, current: 1))
    range.revision = -1
    #expect(error(.range(range), .put(put)) == .compacted(asked: -1, compacted: 0))
    #expect(throws: Never.self) { try machine.state.store.range(range) }
  }

  @Test("a comparison over a range must hold of every key in it")
  func rangeCompare() {
    var machine = Machine()
    machine.put("k1", "same")
    machine.put("k2", "same")
    var request = TransactionRequest()
    request.compares = [
      Compare(range: KeyRange(prefix: Bytes("k".utf8)), target: .value(Bytes("same".utf8)), relation: .equal)
    ]
    request.success = [put("all")]
    machine.apply(.transaction(request))
    #expect(machine.get("all") != nil)
    machine.put("k3", "other")
    request.success = [put("again")]
    machine.apply(.transaction(request))
    #expect(machine.get("again") == nil)
  }

  @Test("a refused transaction changes nothing, though an earlier operation could have run")
  func nothingHalfDone() {
    var machine = Machine()
    var leased = PutRequest(key: Key("b"), value: [])
    leased.lease = 77
    var request = TransactionRequest()
    request.success = [put("a"), .put(leased)]
    #expect(machine.apply(.transaction(request)).error == .leaseNotFound(77))
    #expect(machine.get("a") == nil && machine.state.revision == 1)
  }

  @Test("touching a key twice is refused, but not from branches of which only one runs")
  func duplicates() throws {
    var twice = TransactionRequest()
    twice.success = [put("a"), put("a")]
    #expect(throws: RequestError.duplicateKey) { try twice.validate(limit: 128) }
    twice.success = [delete("a", to: "c"), put("b")]
    #expect(throws: RequestError.duplicateKey) { try twice.validate(limit: 128) }
    var branches = TransactionRequest()
    branches.success = [put("a")]
    branches.failure = [put("a")]
    try branches.validate(limit: 128)
    var nested = TransactionRequest()
    nested.success = [.transaction(branches), put("b")]
    try nested.validate(limit: 128)
    nested.success = [.transaction(branches), put("a")]
    #expect(throws: RequestError.duplicateKey) { try nested.validate(limit: 128) }
  }

  @Test("the longest list counts against the limit, and what is nested has what is left")
  func limits() throws {
    var inner = TransactionRequest()
    inner.success = (0..<3).map { put("i\($0)") }
    var outer = TransactionRequest()
    outer.success = [.transaction(inner), put("o")]
    try outer.validate(limit: 5)
    #expect(throws: RequestError.tooManyOperations(limit: 2)) { try outer.validate(limit: 4) }
  }

  @Test("operations see what earlier ones of the same transaction wrote, and their headers the new revision")
  func seesItsOwnWrites() {
    var machine = Machine()
    var request = TransactionRequest()
    request.success = [
      .range(RangeQuery(range: KeyRange(start: Key("a"), end: .single))), put("a", "new"),
      .range(RangeQuery(range: KeyRange(start: Key("a"), end: .single))),
    ]
    guard case .transaction(let result) = machine.apply(.transaction(request)).outcome,
      case .range(let before, _) = result.results[0].result, case .range(let after, _) = result.results[2].result
    else {
      Issue.record("three results were expected")
      return
    }
    #expect(before.versions.isEmpty && after.versions.map(\.value) == [Bytes("new".utf8)])
    #expect(result.results.map(\.revision) == [1, 2, 2])
  }
}
