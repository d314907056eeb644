// What is under attack, seen from a writer: something that grants, and something that is written to. Scenarios know no more
// of either than this, so that other lock services and other resources can be put in their place.

import Wire

/// Grants authority over scopes to one holder, and keeps it alive for as long as its process runs.
package protocol LockService: Sendable {
  /// - Returns: one for each scope, in their order.
  /// - Throws: where it was not granted within the order's wait.
  func acquire(_ order: AcquireOrder) async throws -> [Held]
  /// Returns when what was acquired last is lost, by this process's own reckoning, or nil where nothing was acquired.
  func waitUntilLost() async -> Loss?
  /// Gives up what is held.
  func release() async
  /// The same, and takes no more orders.
  func close() async
}

/// Takes reads and writes. One that fences compares what a request carries with the highest that it has seen.
package protocol Resource: Sendable {
  /// Never throws: that there was no answer is an answer, with the status 0.
  /// - Parameter proofs: of the authority under which the request is made; none where there is no fence.
  func send(_ request: ResourceRequest, proofs: [String]) async -> ResourceAnswer
}

extension Resource {
  /// A plain read, which shows nothing.
  /// - Throws: `ConformanceError` when it was not answered.
  func mustRead(_ request: ResourceRequest) async throws -> String? {
    let answer = await send(request, proofs: [])
    guard answer.isAccepted else {
      throw ConformanceError("the read \(request.statements) was answered with \(answer.summary)")
    }
    return answer.value
  }
}

/// What a writer acquires.
package struct AcquireOrder: Codable, Sendable {
  /// Fence before grant: whether the answer waits until the resource refuses what is older.
  package enum Barrier: String, Codable, Sendable { case whereRegistered, required, off }

  package var scopes: [String]
  /// How long the holder's lease outlives its last renewal.
  package var milliseconds = 500
  /// How long to stand in line.
  package var waitMilliseconds = 30_000
  package var barrier = Barrier.whereRegistered

  package init(_ scopes: [String]) { self.scopes = scopes }
}

/// Authority that a writer was granted.
package struct Held: Codable, Sendable {
  package let scope: String
  /// 0 where the service has none.
  package let number: Int64
  /// What a request shows to the fence; empty where there is nothing to show.
  package let proof: String
  /// Of the session or lease, so that it can be ended from elsewhere.
  package let lease: Int64
  /// Whether gateways had confirmed the raise when the grant was answered.
  package let isConfirmed: Bool
  /// An adapter's own name for it.
  package var name: String?
  /// How long the lease outlives its last renewal, where the service may have made another length of what was asked for.
  package var leaseMilliseconds: Int?
  /// When the writer knew of it, on the machine's monotonic clock.
  package var nanoseconds: UInt64 = 0

  /// Whether it is of a later grant, by its number and what it shows, as far as the service has such things.
  package func isNewer(than old: Held) -> Bool {
    let hasNone = number == 0 && old.number == 0
    return (hasNone || number > old.number) && (proof.isEmpty && old.proof.isEmpty || proof != old.proof)
  }
}

/// How a holder lost its authority, as its own process knows it.
package struct Loss: Codable, Sendable {
  package let why: String
  /// From when on the process took it for lost, on the machine's monotonic clock.
  package let nanoseconds: UInt64
}

/// A request in words that a resource knows which is no database: it keeps texts by their keys.
package enum TextRequest: Codable, Sendable {
  case read(key: String)
  case write(key: String, value: String)
}

/// One request to a resource.
package struct ResourceRequest: Codable, Sendable {
  package enum Kind: String, Codable, Sendable { case execute, query, request, raise }

  package var kind = Kind.execute
  package var database: String
  /// All or none of them, in one transaction.
  package var statements: [String] = []
  /// The same without SQL, where it can be said.
  package var text: TextRequest?
  /// An Idempotency-Key.
  package var key: String?
  /// How long the writer waits for an answer.
  package var timeoutMilliseconds = 60_000
  /// Whether the writer shows what it holds.
  package var showsProof = true
  /// Shown in the place of what the writer holds, where there are any.
  package var otherProofs: [String]?

  package init(_ database: String, _ statements: String..., kind: Kind = .execute, key: String? = nil) {
    self.database = database
    self.statements = statements
    self.kind = kind
    self.key = key
  }
}

/// What a resource answered.
package struct ResourceAnswer: Codable, Sendable {
  /// As in HTTP; 0 where there was no answer, so the outcome is unknown.
  package let status: Int
  package let body: String
  /// Whether this is the kept answer of an earlier request under the same key.
  package var isReplayed = false
  /// What was read where the resource keeps texts.
  package var text: String?

  package init(status: Int, body: String, isReplayed: Bool = false) {
    self.status = status
    self.body = body
    self.isReplayed = isReplayed
  }

  static func unanswered(_ why: any Error) -> ResourceAnswer {
    ResourceAnswer(status: 0, body: WireConnection.cause(of: why))
  }

  /// Taken, and no statement failed.
  package var isAccepted: Bool { status == 200 && statementError == nil }
  package var isUnanswered: Bool { status == 0 }
  /// Refused by the fence: because of a token, or of the lack of one.
  package var isFenced: Bool { [401, 403, 409].contains(status) }
}
