// How much a state holds, for people.

package struct StateFigures: Sendable, Equatable {
  package let keys: Int
  /// Of keys, live and superseded, tombstones among them.
  package let versions: Int
  package let leases: Int
  /// Scopes that were ever granted, and those that somebody holds.
  package let scopes: Int
  package let grants: Int
  package let waiting: Int
  /// Clients whose requests are remembered.
  package let clients: Int
  package let publicKeys: Int
  package let alarms: Int
  /// Of keys, values and their records.
  package let storeBytes: Int
}

extension Coordination {
  /// Counted by looking at every scope; all else is known.
  package var figures: StateFigures {
    var (grants, waiting) = (0, 0)
    scopes.scopes.forEach { _, scope in
      grants += scope.holder == nil ? scope.sharersCount : 1
      waiting += scope.waitingCount
      return true
    }
    return StateFigures(
      keys: store.live.count, versions: store.live.count + store.superseded.count, leases: leases.count,
      scopes: scopes.scopes.count, grants: grants, waiting: waiting, clients: clients.count, publicKeys: nodes.count,
      alarms: alarms.count, storeBytes: store.sizeBytes)
  }
}
