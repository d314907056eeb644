// Owns the memory of what clients asked for, by which a repeated request is known and answered without being executed
// again (Ongaro's dissertation, 6.3).
//
// Must never: let a request that may have been executed be executed again. What is no longer remembered is refused,
// whether a client was forgotten or only an old request of it.
//
// Invariants: every sequence at or below `forgottenThrough` is refused; one above it is either remembered or was never
// executed. The memory changes in `apply` alone, so all nodes forget the same.

package typealias ClientID = UInt64

/// The name of a request: who asked, and its how-manieth.
package struct ClientSequence: Sendable, Equatable {
  package let client: ClientID
  /// Counts from 1; each request of a client has one of its own, and keeps it when it is sent again.
  package let sequence: UInt64

  package init(client: ClientID, sequence: UInt64) {
    self.client = client
    self.sequence = sequence
  }
}

/// What became of a request, kept as bytes: it goes into snapshots as it is, and holds on to no version of a key.
struct RememberedOutcome: Sendable {
  /// Tells a request that is sent again from another one under its sequence.
  let fingerprint: UInt64
  let outcome: Bytes
}

package struct ClientRecord: Sendable {
  package let id: ClientID
  package let ttlMilliseconds: Int64
  /// Raised by each use.
  package internal(set) var generation: UInt64 = 0
  /// On the cluster clock. The client may be forgotten from this instant on.
  package internal(set) var deadlineMilliseconds: UInt64
  package internal(set) var forgottenThrough: UInt64 = 0
  var remembered = OrderedTree<UInt64, RememberedOutcome>()
  var rememberedBytes = 0

  package var rememberedCount: Int { remembered.count }

  var deadlineKey: DeadlineKey<ClientID> { DeadlineKey(deadlineMilliseconds: deadlineMilliseconds, id: id) }

  /// Keeps an outcome and forgets the oldest ones beyond the bounds, which may be this one.
  mutating func remember(_ sequence: UInt64, _ outcome: RememberedOutcome) {
    remembered.updateValue(outcome, forKey: sequence)
    rememberedBytes += outcome.outcome.count
    while remembered.count > StateLimits.maxRememberedPerClient
      || rememberedBytes > StateLimits.maxRememberedBytesPerClient, let oldest = remembered.first
    {
      remembered.removeValue(forKey: oldest.key)
      rememberedBytes -= oldest.value.outcome.count
      forgottenThrough = oldest.key
    }
  }
}

package struct ClientExpiryCandidate: Sendable, Equatable {
  package let client: ClientID
  package let generation: UInt64

  package init(client: ClientID, generation: UInt64) {
    self.client = client
    self.generation = generation
  }
}

package struct ClientTable: Sendable {
  private(set) var clients = OrderedTree<ClientID, ClientRecord>()
  private var deadlines = OrderedTree<DeadlineKey<ClientID>, Void>()

  init() {}

  /// - Parameter sorted: clients by ascending id.
  init(sorted: [ClientRecord]) {
    clients = OrderedTree(sorted: sorted.map { ($0.id, $0) })
    deadlines = OrderedTree(sorted: sorted.map(\.deadlineKey).sorted().map { ($0, ()) })
  }

  package var count: Int { clients.count }

  package subscript(id: ClientID) -> ClientRecord? { clients[id] }

  /// Clients whose time is over on the cluster clock, the longest overdue first.
  package func expired(at clockMilliseconds: UInt64, limit: Int) -> [ClientExpiryCandidate] {
    var found: [ClientExpiryCandidate] = []
    deadlines.forEach { entry, _ in
      guard entry.deadlineMilliseconds <= clockMilliseconds, found.count < limit else { return false }
      if let client = clients[entry.id] {
        found.append(ClientExpiryCandidate(client: client.id, generation: client.generation))
      }
      return true
    }
    return found
  }

  /// The earliest deadline on the cluster clock.
  package var nextDeadlineMilliseconds: UInt64? { deadlines.first?.key.deadlineMilliseconds }

  mutating func open(_ id: ClientID, ttlMilliseconds: Int64, clock: UInt64) -> ClientRecord {
    if clients.count >= StateLimits.maxClients, let nearest = deadlines.first { remove(nearest.key.id) }
    let ttl = min(max(ttlMilliseconds, StateLimits.minClientTTLMilliseconds), StateLimits.maxClientTTLMilliseconds)
    let record = ClientRecord(
      id: id, ttlMilliseconds: ttl, deadlineMilliseconds: deadline(after: ttl, from: clock))
    clients.updateValue(record, forKey: id)
    deadlines.updateValue((), forKey: record.deadlineKey)
    return record
  }

  /// Moves a client's deadline, because it was heard of.
  /// - Returns: the client, or nil when it is not known (any more).
  mutating func use(_ id: ClientID, clock: UInt64) -> ClientRecord? {
    guard var record = clients[id] else { return nil }
    deadlines.removeValue(forKey: record.deadlineKey)
    record.generation &+= 1
    record.deadlineMilliseconds = max(
      record.deadlineMilliseconds, deadline(after: record.ttlMilliseconds, from: clock))
    deadlines.updateValue((), forKey: record.deadlineKey)
    clients.updateValue(record, forKey: id)
    return record
  }

  /// Nothing happens when the client is gone: the command that it sent may have pushed it out.
  mutating func remember(_ request: ClientSequence, _ outcome: RememberedOutcome) {
    guard var record = clients[request.client] else { return }
    record.remember(request.sequence, outcome)
    clients.updateValue(record, forKey: request.client)
  }

  mutating func remove(_ id: ClientID) {
    guard let record = clients.removeValue(forKey: id) else { return }
    deadlines.removeValue(forKey: record.deadlineKey)
  }
}
