// Owns what becomes of a state when a new cluster begins with it.
//
// Must never: depend on who does it or when. Every member of the new cluster does it for itself, and all must come to the
// same state.

extension Coordination {
  /// Makes the state that of a new cluster: what ran on the old cluster's time begins anew, and its nodes are no longer
  /// members.
  ///
  /// Leases and remembered clients get their full time again: nobody could renew them while there was no cluster. Grants
  /// stay with their leases, under their numbers, which the higher incarnation makes worth more. The old nodes' keys stay
  /// as those of removed nodes do, so that a token which they signed is known for what it is, and refused as stale.
  /// - Parameters:
  ///   - clock: the cluster clock from which the new cluster counts on.
  ///   - bump: how many revisions are left out, so that those which the old cluster gave out after the copy was taken are
  ///     not given out again with another meaning (etcd#16028).
  ///   - compacting: forgets the history, so that whoever goes on watching from a revision of the old cluster is told to
  ///     read everything anew.
  package mutating func beginAnew(
    clockMilliseconds clock: UInt64, leavingOutRevisions bump: Revision, compacting: Bool
  ) throws(StateError) {
    guard bump >= 0, bump <= Revision(StateLimits.highestRevision) - revision else {
      throw .malformed("revision \(revision) cannot be raised by \(bump)", offset: 0)
    }
    restartLeases(at: clock)
    restartClients(at: clock)
    retireNodes()
    store.leaveOutRevisions(bump)
    // A store that is compacted at its newest revision has nothing more to forget.
    if compacting, store.compactedRevision < revision { try? store.compact(at: revision) }
  }

  private mutating func restartLeases(at clock: UInt64) {
    var restarted: [Lease] = []
    leases.leases.forEach { _, lease in
      var lease = lease
      lease.generation &+= 1
      lease.deadlineMilliseconds = deadline(after: lease.ttlMilliseconds, from: clock)
      restarted.append(lease)
      return true
    }
    leases = LeaseTable(sorted: restarted)
    restartClosings(at: clock)
  }

  /// A scope that is closed stays so for the whole of its time again: who was lost then may be alive still.
  private mutating func restartClosings(at clock: UInt64) {
    var closed: [(Key, Int64)] = []
    scopes.forEach { scope, state in
      if state.isClosed { closed.append((scope, state.lockDelayMilliseconds)) }
      return true
    }
    for (scope, delay) in closed { scopes.close(scope, untilMilliseconds: deadline(after: delay, from: clock)) }
  }

  private mutating func restartClients(at clock: UInt64) {
    var restarted: [ClientRecord] = []
    clients.clients.forEach { _, client in
      var client = client
      client.generation &+= 1
      client.deadlineMilliseconds = deadline(after: client.ttlMilliseconds, from: clock)
      restarted.append(client)
      return true
    }
    clients = ClientTable(sorted: restarted)
  }

  /// The ids may be given to the new cluster's members, since ids are digests of URLs, so the records name nobody.
  private mutating func retireNodes() {
    nodes = nodes.suffix(StateLimits.maxRemovedNodeRecords).map { record in
      var retired = NodeRecord(node: 0, keyID: record.keyID, publicKey: record.publicKey, clientURL: "")
      retired.isRemoved = true
      return retired
    }
  }
}
