// The bytes of commands: everything comes back as it went, and nothing else is taken.

import CoordinationCore
import Testing

@Suite("Commands as bytes")
struct CommandTests {
  private static var samples: [Command] {
    var put = PutRequest(key: Key("key"), value: Bytes(repeating: 7, count: 300))
    put.lease = -5
    put.ignoresLease = true
    var query = RangeQuery(range: KeyRange(prefix: Bytes("p".utf8)))
    query.limit = 9
    query.order = .descending
    query.target = .modRevision
    query.maxModRevision = 1 << 60
    var inner = TransactionRequest()
    inner.success = [.put(put), .range(query)]
    var transaction = TransactionRequest()
    transaction.compares = [
      Compare(range: KeyRange(start: Key("k"), end: .unbounded), target: .value([1, 2]), relation: .notEqual),
      Compare(range: KeyRange(start: Key("k"), end: .single), target: .lease(3), relation: .less),
    ]
    transaction.success = [.transaction(inner)]
    transaction.failure = [.delete(DeleteRequest(range: KeyRange(prefix: [255]), wantsPrevious: true))]
    return [
      .put(put), .delete(DeleteRequest(range: KeyRange(start: Key("a"), end: .before(Key("b"))), wantsPrevious: true)),
      .transaction(transaction), .compact(12), .leaseGrant(1, ttlMilliseconds: 5), .leaseRevoke(.max),
      .leaseRenew(.min), .leaseExpire(ExpiryCandidate(lease: 4, generation: .max)),
      .acquire(AcquireRequest(scope: Key("s"), holder: "hölder", lease: 2, ttlMilliseconds: 3, waits: true)),
      .release(scope: Key("s"), number: 4), .cancelWait(scope: Key("s"), ticket: 9),
      .registerNode(NodeRecord(node: 1, keyID: "kid", publicKey: [1, 2, 3], clientURL: "http://a:1")), .markClock,
      .registerNode(NodeRecord(node: 1, keyID: "kid", publicKey: [1], clientURL: "http://a:1", birth: .max)),
      .forgetNode(.max), .retireKeys(node: .max, isRemoved: true), .retireKeys(node: 1, isRemoved: false),
      .openClient(ttlMilliseconds: 60_000),
      .expireClient(ClientExpiryCandidate(client: 300, generation: 2)),
    ]
  }

  @Test("each kind comes back as it went")
  func roundTrip() throws {
    for command in Self.samples {
      let bytes = Envelope(origin: 3, request: 4, command: command).encoded()
      let read = try Envelope.decode(bytes)
      #expect(read.origin == 3 && read.request == 4)
      #expect("\(read.command)" == "\(command)")
      #expect(read.encodedAgain == bytes)
    }
  }

  @Test("a payload cut short anywhere, or with a byte too many, is refused")
  func truncated() {
    for command in Self.samples {
      let bytes = Envelope(origin: 3, request: 4, command: command).encoded()
      for length in 0..<bytes.count {
        #expect(throws: RequestError.self) { try Envelope.decode(Array(bytes[..<length])) }
      }
      #expect(throws: RequestError.self) { try Envelope.decode(bytes + [0]) }
    }
  }

  @Test("random bytes never trap")
  func noise() {
    var draw = Draw(state: 42)
    for _ in 0..<20_000 {
      var bytes = (0..<Int(draw.next(upperBound: 80 as UInt64))).map { _ in UInt8(truncatingIfNeeded: draw.next()) }
      if !bytes.isEmpty { bytes[0] = 1 }
      if bytes.count > 17 { bytes[17] = [1, 2, 3, 32][Int(draw.next(upperBound: 4 as UInt64))] }
      _ = try? Envelope.decode(bytes)
    }
  }
}

extension Envelope {
  fileprivate var encodedAgain: Bytes { Envelope(origin: origin, request: request, command: command).encoded() }
}
